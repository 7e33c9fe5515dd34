//! `keepalive-failure`: no help from the host; the node concludes from its own keepalives that it has moved.

use ntmobile_proto::policy::{MovementDetection, Observation};

/// Takes unanswered keepalives, or another outer address than before, for a movement. What the host reports is ignored, so
/// that experiments see what detection costs where no such report exists.
#[derive(Clone, Copy, Debug)]
pub struct KeepaliveFailure {
    /// How many keepalives in a row must stay unanswered (default 2).
    pub lost: u32,
}

impl Default for KeepaliveFailure {
    fn default() -> Self {
        Self { lost: 2 }
    }
}

impl MovementDetection for KeepaliveFailure {
    fn name(&self) -> &'static str {
        "keepalive-failure"
    }

    fn has_moved(&self, observation: Observation) -> bool {
        match observation {
            Observation::AddressesChanged => false,
            Observation::KeepalivesLost(lost) => lost >= self.lost,
            Observation::OuterAddressChanged => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lost_keepalive_is_chance_two_are_a_movement() {
        let detection = KeepaliveFailure::default();
        assert!(!detection.has_moved(Observation::KeepalivesLost(1)));
        assert!(detection.has_moved(Observation::KeepalivesLost(2)));
        assert!(detection.has_moved(Observation::KeepalivesLost(3)));
    }

    #[test]
    fn another_outer_address_is_a_movement_and_a_report_of_the_host_is_not() {
        let detection = KeepaliveFailure::default();
        assert!(detection.has_moved(Observation::OuterAddressChanged));
        assert!(!detection.has_moved(Observation::AddressesChanged));
    }
}
