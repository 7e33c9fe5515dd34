//! The file of a DC.

use super::common::{HostSettings, RemoteServer, ServerSettings};
use super::{Check, Prefix4, Prefix6, SettingsFile, Written};
use ntmobile_proto::direction_coordinator::{DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::policy::Strategies;
use ntmobile_settings::units::TimeSpan;
use ntmobile_strategies::registry::Kind;
use ntmobile_strategies::{Choices, Registry, UnknownStrategy};
use ntmobile_wire::name::Fqdn;
use serde::Deserialize;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A file for `ntm serve dc`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CoordinatorFile {
    /// Who it is.
    pub server: ServerSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// What it coordinates.
    pub domain: DomainSettings,
    /// The AS. Its addresses may be left out where DNS knows its name.
    pub account_server: RemoteServer,
    /// Its RSs, in the order of preference.
    #[serde(default)]
    pub relay: Vec<RemoteServer>,
    /// Its NSs; nodes are spread over them.
    #[serde(default)]
    pub notification_server: Vec<RemoteServer>,
    /// How long things last.
    #[serde(default)]
    pub times: CoordinatorTimes,
    /// How it decides.
    #[serde(default)]
    pub plugins: CoordinatorPlugins,
}

/// `[domain]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DomainSettings {
    /// Its name; the DC's own is inside.
    pub name: Written<Fqdn>,
    /// Its virtual IPv4 prefix; the name's hash picks a /20 of 100.64.0.0/10 where none is given.
    pub virtual_ipv4: Option<Written<Prefix4>>,
    /// Its virtual IPv6 /64; drawn at the first start and kept in the state directory where none is given.
    pub virtual_ipv6: Option<Written<Prefix6>>,
    /// How long others may keep what the domain's DNS says.
    #[serde(default = "default_ttl")]
    pub dns_ttl: TimeSpan,
}

fn default_ttl() -> TimeSpan {
    ntmobile_settings::units::secs(300)
}

/// `[times]` of a DC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CoordinatorTimes {
    /// The lifetime of K_ntmdc made here (`via-dc`).
    pub node_key_lifetime: TimeSpan,
    /// The lifetime of K_dcdc, K_dcrs and K_dcns.
    pub server_key_lifetime: TimeSpan,
    /// How often nodes send a keepalive.
    pub keepalive: TimeSpan,
    /// How long a registration kept by `udp-keepalive` holds.
    pub registration_lifetime: TimeSpan,
    /// How often nodes send a keepalive to their NS.
    pub notification_keepalive: TimeSpan,
    /// How long a registration kept by an NS holds.
    pub notified_registration_lifetime: TimeSpan,
    /// How long an idle tunnel is held.
    pub tunnel_idle: TimeSpan,
    /// How long the AS may take over a login (`via-dc`).
    pub login_patience: TimeSpan,
    /// How long a woken node may take to fetch what waits for it.
    pub wake_patience: TimeSpan,
}

impl Default for CoordinatorTimes {
    fn default() -> Self {
        let name = || Fqdn::parse("dc.example").expect("a name");
        let strategies = Registry::builtin().choose(&Choices::default()).expect("the defaults are registered");
        let prefixes = ((Ipv4Addr::UNSPECIFIED, 20), Ipv6Addr::UNSPECIFIED);
        let config = DirectionCoordinatorConfig::new(name(), name(), name(), prefixes, strategies);
        Self {
            node_key_lifetime: config.node_key_lifetime.into(),
            server_key_lifetime: config.server_key_lifetime.into(),
            keepalive: config.keepalive.into(),
            registration_lifetime: config.registration_lifetime.into(),
            notification_keepalive: config.notification_keepalive.into(),
            notified_registration_lifetime: config.notified_registration_lifetime.into(),
            tunnel_idle: config.tunnel_idle.into(),
            login_patience: config.login_patience.into(),
            wake_patience: config.wake_patience.into(),
        }
    }
}

/// `[plugins]` of a DC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CoordinatorPlugins {
    /// Which way it sends a tunnel.
    pub path: String,
    /// How two ends meet at an RS.
    pub relay_handshake: String,
}

impl Default for CoordinatorPlugins {
    fn default() -> Self {
        let Choices { path, relay_handshake, .. } = Choices::default();
        Self { path, relay_handshake }
    }
}

impl CoordinatorFile {
    /// The machine's settings, with the virtual prefixes that count.
    pub fn config(
        &self,
        virtual_v4: (Ipv4Addr, u8),
        virtual_v6: Ipv6Addr,
    ) -> Result<DirectionCoordinatorConfig, UnknownStrategy> {
        let account_server = &self.account_server;
        let at_known_place = (!account_server.addresses.is_empty()).then(|| account_server.at(account_server.tls_port));
        let name = self.server.name.0.clone();
        let prefixes = (virtual_v4, virtual_v6);
        let (domain, account_server) = (self.domain.name.0.clone(), account_server.name.0.clone());
        let times = &self.times;
        Ok(DirectionCoordinatorConfig {
            account_server_addresses: at_known_place,
            relays: self.relay.iter().map(own_server).collect(),
            notification_servers: self.notification_server.iter().map(own_server).collect(),
            node_key_lifetime: times.node_key_lifetime.duration(),
            server_key_lifetime: times.server_key_lifetime.duration(),
            keepalive: times.keepalive.duration(),
            registration_lifetime: times.registration_lifetime.duration(),
            notification_keepalive: times.notification_keepalive.duration(),
            notified_registration_lifetime: times.notified_registration_lifetime.duration(),
            tunnel_idle: times.tunnel_idle.duration(),
            login_patience: times.login_patience.duration(),
            wake_patience: times.wake_patience.duration(),
            ..DirectionCoordinatorConfig::new(name, domain, account_server, prefixes, self.strategies()?)
        })
    }

    fn strategies(&self) -> Result<Strategies, UnknownStrategy> {
        let mut choices = Choices::default();
        choices.set(Kind::Path, &self.plugins.path);
        choices.set(Kind::RelayHandshake, &self.plugins.relay_handshake);
        Registry::builtin().choose(&choices)
    }
}

fn own_server(server: &RemoteServer) -> OwnServer {
    OwnServer {
        name: server.name.0.clone(),
        signalling: server.at(server.signalling_port),
        tls: server.at(server.tls_port),
        notification: server.at(server.notification_port),
    }
}

impl SettingsFile for CoordinatorFile {
    const EXAMPLE: &'static str = include_str!("examples/dc.toml");

    fn check(&self, check: &mut Check<'_>) {
        let (own, domain) = (&self.server.name.0, &self.domain.name.0);
        if own.parent().as_ref() != Some(domain) {
            let what = format_args!("{own} does not lie directly in the domain {domain}, as in dc.{domain}");
            check.wrong(&["server", "name"], what);
        }
        let lists = [("relay", &self.relay), ("notification-server", &self.notification_server)];
        for (list, servers) in lists {
            for (index, server) in servers.iter().enumerate() {
                if server.addresses.is_empty() {
                    let path = [list, &format!("[{index}]"), "addresses"];
                    check.wrong(&path, "nodes are told the addresses: give at least one");
                }
            }
        }
        let registry = Registry::builtin();
        check.known(&["plugins", "path"], &self.plugins.path, &registry.names(Kind::Path));
        let handshakes = registry.names(Kind::RelayHandshake);
        check.known(&["plugins", "relay-handshake"], &self.plugins.relay_handshake, &handshakes);
        if self.relay.is_empty() && self.plugins.path == "always-relay" {
            check.wrong(&["plugins", "path"], "\"always-relay\" needs a [[relay]]");
        }
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
        self.server.resolve(directory);
    }
}
