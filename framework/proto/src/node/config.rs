//! What a node is told when it is set up.

use super::Liveness;
use crate::policy::Strategies;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::key::PublicKey;
use ntmobile_wire::message::{CipherSuite, Credential};
use ntmobile_wire::name::{Account, Fqdn};
use std::collections::BTreeMap;
use std::time::Duration;

/// The settings of one application on one device.
#[derive(Clone)]
pub struct NodeConfig {
    /// The account it logs in with.
    pub account: Account,
    /// What it proves itself with.
    pub credential: Credential,
    /// Which application of the device it is (default 0).
    pub application: ApplicationId,
    /// The Account Server's name.
    pub account_server: Fqdn,
    /// The Account Server's TLS addresses; `None` where they are found by SRV `_ntm-as._udp` of the account's domain.
    pub account_server_addresses: Option<DualStack>,
    /// Public keys that are believed without the AS's word, by node (default none). A pinned node's key is believed only as
    /// pinned.
    pub pins: BTreeMap<Fqdn, PublicKey>,
    /// The cipher that this node runs best (default AES-128-GCM).
    pub suite: CipherSuite,
    /// How often a tunnel's NAT mapping is refreshed when nothing else is sent (default 20 s).
    pub nat_keepalive: Duration,
    /// How old a tunnel key grows before the end that started the tunnel renews it (default 1 h).
    pub rekey_after: Duration,
    /// How it finds out that the other end of a tunnel is gone (default: 10 s without any sign, then 10 s of asking).
    pub liveness: Liveness,
    /// How long a started direct tunnel may take before the relay is asked for (default 5 s).
    pub direct_patience: Duration,
    /// How long a join that nobody answers is begun again before the application is told (default 30 s).
    pub join_patience: Duration,
    /// How long a failed registration waits before it is tried again (default 5 s).
    pub registration_pause: Duration,
    /// How many negotiations of tunnels may be under way at once (default 256); a direction beyond that is refused as
    /// *Overloaded*.
    pub negotiations: usize,
    /// How many tunnels may stand at once, replaced ones that still receive included (default 4,096); a direction beyond that
    /// is refused as *Overloaded*.
    pub tunnels: usize,
    /// How it decides.
    pub strategies: Strategies,
}

impl NodeConfig {
    /// A node with the default times, as the device's default application.
    pub fn new(account: Account, credential: Credential, account_server: Fqdn, strategies: Strategies) -> Self {
        Self {
            account,
            credential,
            application: ApplicationId(0),
            account_server,
            account_server_addresses: None,
            pins: BTreeMap::new(),
            suite: CipherSuite::Aes128Gcm,
            nat_keepalive: Duration::from_secs(20),
            rekey_after: Duration::from_secs(3_600),
            liveness: Liveness::default(),
            direct_patience: Duration::from_secs(5),
            join_patience: Duration::from_secs(30),
            registration_pause: Duration::from_secs(5),
            negotiations: 256,
            tunnels: 4_096,
            strategies,
        }
    }
}
