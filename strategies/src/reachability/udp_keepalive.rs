//! `udp-keepalive`: a datagram to the DC, often enough to hold every NAT mapping on the way (20 s in the papers).

use ntmobile_proto::policy::{Maintenance, ReachabilityStrategy};
use ntmobile_wire::message::{Reachability, RegistrationResponse};
use std::time::Duration;

/// *Keepalive* to the DC at the interval that the DC grants.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpKeepalive;

impl ReachabilityStrategy for UdpKeepalive {
    fn name(&self) -> &'static str {
        "udp-keepalive"
    }

    fn wanted(&self) -> Reachability {
        Reachability::UdpKeepalive
    }

    fn maintain(&self, granted: &RegistrationResponse) -> Maintenance {
        match granted.keepalive_s {
            0 => Maintenance::Nothing,
            seconds => Maintenance::KeepaliveEvery(Duration::from_secs(seconds.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::granted;
    use super::*;

    #[test]
    fn keeps_alive_as_often_as_granted() {
        assert_eq!(UdpKeepalive.wanted(), Reachability::UdpKeepalive);
        let every = Maintenance::KeepaliveEvery(Duration::from_secs(20));
        assert_eq!(UdpKeepalive.maintain(&granted(20, None)), every);
        assert_eq!(UdpKeepalive.maintain(&granted(20, Some(3600))), every);
    }

    #[test]
    fn an_interval_of_zero_means_never() {
        assert_eq!(UdpKeepalive.maintain(&granted(0, None)), Maintenance::Nothing);
    }
}
