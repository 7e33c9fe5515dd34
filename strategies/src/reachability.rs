//! How a node stays reachable for its DC.

mod tcp_ns;
mod udp_keepalive;

pub use tcp_ns::TcpNs;
pub use udp_keepalive::UdpKeepalive;

#[cfg(test)]
mod testing {
    use ntmobile_wire::address::{DualStack, VirtualAddresses};
    use ntmobile_wire::identifier::{KeyId, Session};
    use ntmobile_wire::key::{NamedKey, Secret};
    use ntmobile_wire::message::{NotificationAssignment, RegistrationResponse};
    use ntmobile_wire::name::Fqdn;
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

    /// What a DC grants: a keepalive interval, and a Notification Server with its own interval.
    pub(super) fn granted(keepalive_s: u32, at_notification_server: Option<u32>) -> RegistrationResponse {
        RegistrationResponse {
            addresses: VirtualAddresses { v4: Ipv4Addr::LOCALHOST, v6: Ipv6Addr::LOCALHOST },
            outer: SocketAddr::from((Ipv4Addr::LOCALHOST, 4500)),
            lifetime_s: 60,
            keepalive_s,
            notification: at_notification_server.map(|keepalive_s| NotificationAssignment {
                server: Fqdn::parse("ns.example").expect("a sound name"),
                addresses: DualStack { v4: Some("192.0.2.1:4500".parse().expect("an address")), v6: None },
                key: NamedKey { id: KeyId(1), secret: Secret::from_bytes([1; 32]) },
                server_session: Session(2),
                keepalive_s,
            }),
            prefix_lengths: (20, 64),
        }
    }
}
