//! What a Relay Server is told when it is set up.

use crate::shared_keys::Coordinators;
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

/// The settings of an RS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayServerConfig {
    /// Its own name, which its certificate bears.
    pub name: Fqdn,
    /// The DCs it works for.
    pub coordinators: Coordinators,
    /// How many tunnels it relays at once (default 10,000); more are refused as *Overloaded*.
    pub relays: usize,
    /// How many answers of the store may be awaited at once (default 4,096).
    pub requests: usize,
    /// The longest that an idle tunnel is held, whatever its DC asks for (default 1 h).
    pub longest_idle: Duration,
    /// How long the answer to a forwarded Tunnel Request may take (default 10 s).
    pub answer_patience: Duration,
}

impl RelayServerConfig {
    /// An RS with the default times and bounds.
    pub fn new(name: Fqdn) -> Self {
        Self {
            name,
            coordinators: Coordinators::default(),
            relays: 10_000,
            requests: 4_096,
            longest_idle: Duration::from_secs(3_600),
            answer_patience: Duration::from_secs(10),
        }
    }
}
