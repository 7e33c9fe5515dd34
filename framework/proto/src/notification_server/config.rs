//! What a Notification Server is told when it is set up.

use crate::shared_keys::Coordinators;
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

/// The settings of an NS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationServerConfig {
    /// Its own name, which its certificate bears.
    pub name: Fqdn,
    /// The DCs it works for.
    pub coordinators: Coordinators,
    /// How often its nodes send *Keepalive* (default 1 h); a connection silent for twice as long is closed.
    pub keepalive: Duration,
    /// How long a new connection may take to register (default 10 s).
    pub registration_patience: Duration,
    /// How long a node may take to acknowledge a Notification (default 8 s).
    pub wake_patience: Duration,
    /// How many applications of nodes may be announced at once (default 100,000).
    pub nodes: usize,
    /// How many connections may be open that have not registered yet (default 1,024).
    pub unregistered_streams: usize,
    /// How many answers of nodes and of the store may be awaited at once (default 4,096).
    pub requests: usize,
}

impl NotificationServerConfig {
    /// An NS with the default times and bounds.
    pub fn new(name: Fqdn) -> Self {
        Self {
            name,
            coordinators: Coordinators::default(),
            keepalive: Duration::from_secs(3_600),
            registration_patience: Duration::from_secs(10),
            wake_patience: Duration::from_secs(8),
            nodes: 100_000,
            unregistered_streams: 1_024,
            requests: 4_096,
        }
    }
}
