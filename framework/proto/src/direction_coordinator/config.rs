//! What a Direction Coordinator is told when it is set up.

use crate::policy::Strategies;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// A server of the DC's own domain, known by configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnServer {
    /// Its name, which its certificate bears.
    pub name: Fqdn,
    /// Its signalling and ESP port (UDP).
    pub signalling: DualStack,
    /// Its TLS port (QUIC).
    pub tls: DualStack,
    /// The TCP port that nodes connect to; only Notification Servers have one.
    pub notification: DualStack,
}

/// The settings of a DC.
#[derive(Clone)]
pub struct DirectionCoordinatorConfig {
    /// The DC's own name: the target of its domain's NS record. It lies directly in its domain.
    pub name: Fqdn,
    /// The domain whose nodes it directs.
    pub domain: Fqdn,
    /// Its virtual IPv4 prefix and its length.
    pub virtual_v4: (Ipv4Addr, u8),
    /// Its virtual IPv6 prefix, a /64 of a random RFC 4193 /48.
    pub virtual_v6: Ipv6Addr,
    /// The Account Server's name, which its certificate bears: the one server that may distribute keys.
    pub account_server: Fqdn,
    /// The Account Server's TLS addresses; `None` where they are found by SRV `_ntm-as._udp` of the domain.
    pub account_server_addresses: Option<DualStack>,
    /// Its Relay Servers, in the order of preference.
    pub relays: Vec<OwnServer>,
    /// Its Notification Servers; nodes are spread over them.
    pub notification_servers: Vec<OwnServer>,
    /// The lifetime of K_ntmdc made here (`via-dc`; default 24 h).
    pub node_key_lifetime: Duration,
    /// The lifetime of K_dcdc, K_dcrs and K_dcns (default 24 h).
    pub server_key_lifetime: Duration,
    /// How long a registration kept by `udp-keepalive` holds (default 65 s: three keepalives and some).
    pub registration_lifetime: Duration,
    /// How long a registration kept by a Notification Server holds (default 2 h: two keepalives).
    pub notified_registration_lifetime: Duration,
    /// How often nodes send *Keepalive* (default 20 s).
    pub keepalive: Duration,
    /// How often nodes send *Keepalive* to their Notification Server (default 1 h).
    pub notification_keepalive: Duration,
    /// How long an idle tunnel is held (default 300 s).
    pub tunnel_idle: Duration,
    /// How long the AS may take over a login (`via-dc`; default 8 s: sooner than the node gives up).
    pub login_patience: Duration,
    /// How long a woken node may take to fetch what waits for it (default 15 s).
    pub wake_patience: Duration,
    /// How many applications of one node may hold keys here (default 32); a further one is refused as *Overloaded*, until
    /// one's last key has ended.
    pub applications: usize,
    /// How many K_ntmdc one application may hold (default 4, at least 2). A new one takes the place of the oldest that the
    /// application has not registered with.
    pub node_keys: usize,
    /// How many registrations may wait for the store or for a Notification Server (default 4,096); more are refused as
    /// *Overloaded*. A newer one of the same application takes its place.
    pub registrations: usize,
    /// How many other DCs may share keys with this one at once (default 1,024), two keys each; more are refused as
    /// *Overloaded*.
    pub coordinators: usize,
    /// How many tunnels may be directed at once for nodes of ours (default 65,536). Beyond that, the newest of the node that asked
    /// for the most is refused as *Overloaded*.
    pub directions: usize,
    /// How many directions may be on their way to nodes of ours at once (default 65,536). Beyond that, the newest of the DC with
    /// the most is refused as *Overloaded*; what our own nodes start counts as ours.
    pub deliveries: usize,
    /// How many of them may wait for one node to wake (default 32); beyond that the same.
    pub waiting: usize,
    /// How many relays each other DC may be lent within [`tunnel_idle`](Self::tunnel_idle) for tunnels to our nodes, where it has
    /// no RS (default 1,024); more are refused as *Overloaded*. 0 lends none.
    pub lent_relays: usize,
    /// How it decides.
    pub strategies: Strategies,
}

impl DirectionCoordinatorConfig {
    /// A DC with the default times and no servers of its own.
    pub fn new(
        name: Fqdn,
        domain: Fqdn,
        account_server: Fqdn,
        (virtual_v4, virtual_v6): ((Ipv4Addr, u8), Ipv6Addr),
        strategies: Strategies,
    ) -> Self {
        Self {
            name,
            domain,
            virtual_v4,
            virtual_v6,
            account_server,
            account_server_addresses: None,
            relays: Vec::new(),
            notification_servers: Vec::new(),
            node_key_lifetime: Duration::from_secs(24 * 3_600),
            server_key_lifetime: Duration::from_secs(24 * 3_600),
            registration_lifetime: Duration::from_secs(65),
            notified_registration_lifetime: Duration::from_secs(7_200),
            keepalive: Duration::from_secs(20),
            notification_keepalive: Duration::from_secs(3_600),
            tunnel_idle: Duration::from_secs(300),
            login_patience: Duration::from_secs(8),
            wake_patience: Duration::from_secs(15),
            applications: 32,
            node_keys: 4,
            registrations: 4_096,
            coordinators: 1_024,
            directions: 65_536,
            deliveries: 65_536,
            waiting: 32,
            lent_relays: 1_024,
            strategies,
        }
    }
}

/// A duration in whole seconds, as messages carry it.
pub(super) fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
