//! The files of an AS, an RS and an NS.

use super::common::{HostSettings, ServerSettings, default_notification_port};
use super::{Check, SettingsFile, Written};
use ntmobile_auth_plugins::{Cost, CostError, Registry};
use ntmobile_proto::account_server::AccountServerConfig;
use ntmobile_proto::notification_server::NotificationServerConfig;
use ntmobile_proto::relay_server::RelayServerConfig;
use ntmobile_proto::shared_keys::Coordinators;
use ntmobile_settings::units::{Size, TimeSpan};
use ntmobile_wire::name::Fqdn;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// A file for `ntm serve as`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AccountServerFile {
    /// Who it is.
    pub server: ServerSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// How accounts prove to be their owners'.
    #[serde(default)]
    pub accounts: AccountsSettings,
    /// How long things last.
    #[serde(default)]
    pub times: AccountServerTimes,
}

/// `[accounts]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AccountsSettings {
    /// The ways to authenticate that it takes, asked in this order; all where none are named.
    pub authentication: Vec<String>,
    /// Memory that argon2id fills for a password set from now on.
    pub hashing_memory: Size,
    /// Passes over it.
    pub hashing_passes: u32,
}

impl Default for AccountsSettings {
    fn default() -> Self {
        let (memory_kib, hashing_passes, _one_lane) = Cost::RECOMMENDED.parts();
        Self { authentication: Vec::new(), hashing_memory: Size(u64::from(memory_kib) << 10), hashing_passes }
    }
}

impl AccountsSettings {
    /// What guessing a password costs; argon2id has bounds.
    pub fn cost(&self) -> Result<Cost, CostError> {
        Cost::new(u32::try_from(self.hashing_memory.0 >> 10).unwrap_or(u32::MAX), self.hashing_passes, 1)
    }
}

/// `[times]` of an AS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AccountServerTimes {
    /// The lifetime of K_ntmdc made here (`via-as`).
    pub key_lifetime: TimeSpan,
    /// How long a voucher for a node's public key holds.
    pub voucher_lifetime: TimeSpan,
    /// How long a login may take before it is given up.
    pub patience: TimeSpan,
}

impl Default for AccountServerTimes {
    fn default() -> Self {
        let AccountServerConfig { key_lifetime, voucher_lifetime, patience, .. } = AccountServerConfig::default();
        Self { key_lifetime: key_lifetime.into(), voucher_lifetime: voucher_lifetime.into(), patience: patience.into() }
    }
}

impl AccountServerFile {
    /// The machine's settings.
    pub fn config(&self) -> AccountServerConfig {
        AccountServerConfig {
            key_lifetime: self.times.key_lifetime.duration(),
            voucher_lifetime: self.times.voucher_lifetime.duration(),
            patience: self.times.patience.duration(),
            ..AccountServerConfig::default()
        }
    }
}

impl SettingsFile for AccountServerFile {
    const EXAMPLE: &'static str = include_str!("examples/as.toml");

    fn check(&self, check: &mut Check<'_>) {
        if let Err(error) = self.accounts.cost() {
            check.wrong(&["accounts", "hashing-memory"], error);
        }
        let known = Registry::builtin().names();
        for (index, name) in self.accounts.authentication.iter().enumerate() {
            check.known(&["accounts", "authentication", &format!("[{index}]")], name, &known);
        }
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
        self.server.resolve(directory);
    }
}

/// A file for `ntm serve rs`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RelayServerFile {
    /// Who it is.
    pub server: ServerSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// Its duty.
    pub relay: RelaySettings,
}

/// `[relay]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RelaySettings {
    /// The DCs that it works for.
    pub coordinators: Vec<Written<Fqdn>>,
    /// How many tunnels it relays at once; more are refused.
    #[serde(default = "default_tunnels")]
    pub tunnels: usize,
    /// The longest that an idle tunnel is held, whatever its DC asks for.
    #[serde(default = "default_longest_idle")]
    pub longest_idle: TimeSpan,
    /// How many threads forward packets; 0 for one for each processor, four at most.
    #[serde(default)]
    pub threads: usize,
}

fn relay_defaults() -> RelayServerConfig {
    RelayServerConfig::new(Fqdn::parse("rs.example").expect("a name"))
}

fn default_tunnels() -> usize {
    relay_defaults().relays
}

fn default_longest_idle() -> TimeSpan {
    relay_defaults().longest_idle.into()
}

impl RelayServerFile {
    /// The machine's settings.
    pub fn config(&self) -> RelayServerConfig {
        RelayServerConfig {
            coordinators: admitted(&self.relay.coordinators),
            relays: self.relay.tunnels,
            longest_idle: self.relay.longest_idle.duration(),
            ..RelayServerConfig::new(self.server.name.0.clone())
        }
    }
}

impl SettingsFile for RelayServerFile {
    const EXAMPLE: &'static str = include_str!("examples/rs.toml");

    fn check(&self, check: &mut Check<'_>) {
        if self.relay.coordinators.is_empty() {
            check.wrong(&["relay", "coordinators"], "it works for nobody; name a DC, such as \"dc.u1.example\"");
        }
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
        self.server.resolve(directory);
    }
}

/// A file for `ntm serve ns`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NotificationServerFile {
    /// Who it is.
    pub server: ServerSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// Its duty.
    pub notification: NotificationSettings,
}

/// `[notification]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NotificationSettings {
    /// The DCs that it works for.
    pub coordinators: Vec<Written<Fqdn>>,
    /// The TCP port that nodes connect to.
    #[serde(default = "default_notification_port")]
    pub port: u16,
    /// How often nodes send a keepalive; a connection that is silent for twice as long is closed.
    #[serde(default = "default_keepalive")]
    pub keepalive: TimeSpan,
    /// How many applications of nodes may be announced at once.
    #[serde(default = "default_nodes")]
    pub nodes: usize,
}

fn notification_defaults() -> NotificationServerConfig {
    NotificationServerConfig::new(Fqdn::parse("ns.example").expect("a name"))
}

fn default_keepalive() -> TimeSpan {
    notification_defaults().keepalive.into()
}

fn default_nodes() -> usize {
    notification_defaults().nodes
}

impl NotificationServerFile {
    /// The machine's settings.
    pub fn config(&self) -> NotificationServerConfig {
        NotificationServerConfig {
            coordinators: admitted(&self.notification.coordinators),
            keepalive: self.notification.keepalive.duration(),
            nodes: self.notification.nodes,
            ..NotificationServerConfig::new(self.server.name.0.clone())
        }
    }
}

impl SettingsFile for NotificationServerFile {
    const EXAMPLE: &'static str = include_str!("examples/ns.toml");

    fn check(&self, check: &mut Check<'_>) {
        if self.notification.coordinators.is_empty() {
            check.wrong(&["notification", "coordinators"], "it works for nobody; name a DC, such as \"dc.u1.example\"");
        }
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
        self.server.resolve(directory);
    }
}

fn admitted(coordinators: &[Written<Fqdn>]) -> Coordinators {
    let names: BTreeSet<Fqdn> = coordinators.iter().map(|name| name.0.clone()).collect();
    Coordinators { admitted: Some(names), ..Coordinators::default() }
}
