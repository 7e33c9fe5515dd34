//! The entities of a scenario: the account server, domains with their servers, and nodes.

use super::plugin::choosing;
use super::units::{Size, TimeSpan, ms};
use ntmobile_auth_plugins::{Cost, CostError};
use serde::{Deserialize, Serialize};

/// How the AS hashes passwords: argon2id's parameters. The defaults are small, since a run hashes for every node; figures
/// of login times are to be read beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Hashing {
    /// Memory to fill.
    pub memory: Size,
    /// Passes over it.
    pub passes: u32,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { memory: Size(64 << 10), passes: 1 }
    }
}

impl Hashing {
    /// The same as argon2id takes it, within its bounds.
    pub fn cost(self) -> Result<Cost, CostError> {
        Cost::new(u32::try_from(self.memory.0 / 1_024).unwrap_or(u32::MAX), self.passes, 1)
    }
}

/// One-way delay from a site to the core of the internet, where nothing else is said.
pub const SITE_DELAY: TimeSpan = ms(2);

choosing! {
    /// `[account-server]`: the one place with credentials.
    pub struct AccountServer {
        /// One-way delay between its site and the core of the internet.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub delay: Option<TimeSpan>,
        /// How passwords are hashed.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub hashing: Option<Hashing>,
    }
    chooses { storage Storage, }
}

choosing! {
    /// `[domain."u1.example"]`: a DC with its zone, its allotment of virtual addresses, and the servers it manages.
    pub struct Domain {
        /// How many RSs it manages: `rs1.…`, `rs2.…`.
        #[serde(skip_serializing_if = "is_zero")]
        pub relays: u8,
        /// How many NSs it manages: `ns1.…`, `ns2.…`.
        #[serde(skip_serializing_if = "is_zero")]
        pub notification_servers: u8,
        /// Its virtual IPv4 prefix, as `100.64.16.0/20`; a hash of the domain's name picks one where none is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_ipv4: Option<String>,
        /// Its virtual IPv6 /64, as `fd12:3456:789a:1::/64`; drawn from the seed where none is given.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub virtual_ipv6: Option<String>,
        /// One-way delay between its site and the core of the internet.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub delay: Option<TimeSpan>,
    }
    chooses {
        auth Auth,
        login Login,
        reachability Reachability,
        movement Movement,
        handover Handover,
        agreement Agreement,
        protection Protection,
        suite Suite,
        path Path,
        relay_handshake RelayHandshake,
        storage Storage,
    }
}

choosing! {
    /// `[node.alice]`: a host with one application of NTMobile, named `alice` in its domain.
    pub struct Node {
        /// The domain whose DC it belongs to.
        pub domain: String,
        /// The network it is attached to at the start.
        #[serde(skip_serializing_if = "String::is_empty")]
        pub network: String,
        /// Instead of `network`, for a host with several interfaces: the network of each, the preferred one first.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub interfaces: Vec<String>,
        /// When it starts; at once where nothing is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub start: Option<TimeSpan>,
    }
    chooses {
        auth Auth,
        login Login,
        reachability Reachability,
        movement Movement,
        handover Handover,
        agreement Agreement,
        protection Protection,
        suite Suite,
    }
}

impl Node {
    /// The networks it is attached to at the start, the preferred one first.
    pub fn networks(&self) -> impl Iterator<Item = &str> {
        let single = (!self.network.is_empty()).then_some(self.network.as_str());
        single.into_iter().chain(self.interfaces.iter().map(String::as_str))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands skip_serializing_if a reference")]
fn is_zero(n: &u8) -> bool {
    *n == 0
}
