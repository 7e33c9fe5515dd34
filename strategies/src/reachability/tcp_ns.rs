//! `tcp-ns`: a connection to a Notification Server, which NATs keep far longer than a UDP mapping ([003] figure 4).

use super::UdpKeepalive;
use ntmobile_proto::policy::{Maintenance, ReachabilityStrategy};
use ntmobile_wire::message::{Reachability, RegistrationResponse};
use std::time::Duration;

/// How often to keep the connection alive where the DC does not say: hourly, as in the papers.
const DEFAULT_KEEPALIVE: Duration = Duration::from_secs(3_600);

/// A connection to the Notification Server that the DC assigns. Where the DC has none, its other grant is followed.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpNs;

impl ReachabilityStrategy for TcpNs {
    fn name(&self) -> &'static str {
        "tcp-ns"
    }

    fn wanted(&self) -> Reachability {
        Reachability::TcpNs
    }

    fn maintain(&self, granted: &RegistrationResponse) -> Maintenance {
        match &granted.notification {
            Some(assignment) => {
                let keepalive = match assignment.keepalive_s {
                    0 => DEFAULT_KEEPALIVE,
                    seconds => Duration::from_secs(seconds.into()),
                };
                Maintenance::NotificationServer { keepalive }
            }
            None => UdpKeepalive.maintain(granted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::granted;
    use super::*;

    #[test]
    fn connects_to_the_assigned_server_at_its_interval() {
        assert_eq!(TcpNs.wanted(), Reachability::TcpNs);
        let keepalive = Duration::from_secs(1_800);
        assert_eq!(TcpNs.maintain(&granted(20, Some(1_800))), Maintenance::NotificationServer { keepalive });
    }

    #[test]
    fn an_interval_of_zero_means_the_default_not_a_flood() {
        let keepalive = DEFAULT_KEEPALIVE;
        assert_eq!(TcpNs.maintain(&granted(20, Some(0))), Maintenance::NotificationServer { keepalive });
    }

    #[test]
    fn without_a_server_the_datagram_keepalive_is_used() {
        let every = Maintenance::KeepaliveEvery(Duration::from_secs(20));
        assert_eq!(TcpNs.maintain(&granted(20, None)), every);
    }
}
