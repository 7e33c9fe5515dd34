//! `event`: whoever knows the interfaces says so — the host application's callback, the operating system, the simulator.

use ntmobile_proto::policy::{MovementDetection, Observation};

/// Believes reports of changed addresses and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event;

impl MovementDetection for Event {
    fn name(&self) -> &'static str {
        "event"
    }

    fn has_moved(&self, observation: Observation) -> bool {
        matches!(observation, Observation::AddressesChanged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_report_of_changed_addresses_counts() {
        assert!(Event.has_moved(Observation::AddressesChanged));
        assert!(!Event.has_moved(Observation::KeepalivesLost(100)));
        assert!(!Event.has_moved(Observation::OuterAddressChanged));
    }
}
