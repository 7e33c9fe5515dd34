//! The file of a name server for closed networks: a root that hands domains to their DCs.

use super::common::HostSettings;
use super::{Check, SettingsFile, Written};
use ntmobile_actors::dns::ZoneRecords;
use ntmobile_settings::units::{TimeSpan, secs};
use ntmobile_wire::name::Fqdn;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::Path;

/// A file for `ntm serve names`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NamesFile {
    /// The server and its zone.
    pub names: NamesSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// The domains that it hands on.
    #[serde(default)]
    pub domain: Vec<ZoneRecord>,
    /// Hosts of its own.
    #[serde(default)]
    pub entry: Vec<HostRecord>,
}

/// `[names]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NamesSettings {
    /// The name of the server.
    pub server: Written<Fqdn>,
    /// Its addresses; its interfaces' where none are given.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The addresses that its port is opened on; all where none are given.
    #[serde(default)]
    pub listen: Vec<IpAddr>,
    /// Where its zone begins; the root where nothing is given.
    pub zone: Option<Written<Fqdn>>,
    /// How long others may keep what it says.
    #[serde(default = "default_ttl")]
    pub ttl: TimeSpan,
}

fn default_ttl() -> TimeSpan {
    secs(300)
}

/// `[[domain]]`: a domain that is handed to its own name server, which is its DC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ZoneRecord {
    /// The domain.
    pub name: Written<Fqdn>,
    /// Its DC's name.
    pub server: Written<Fqdn>,
    /// Its DC's addresses.
    pub addresses: Vec<IpAddr>,
}

/// `[[entry]]`: a host, such as the AS.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostRecord {
    /// Its name.
    pub name: Written<Fqdn>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl NamesFile {
    /// What it serves; `own` are the addresses of its interfaces.
    pub fn zone(&self, own: &[IpAddr]) -> ZoneRecords {
        let server = &self.names.server.0;
        let addresses = if self.names.addresses.is_empty() { own } else { &self.names.addresses };
        let mut zone = ZoneRecords::new(self.names.zone.as_ref().map(|zone| zone.0.clone()), vec![server.clone()]);
        zone.ttl_s = u32::try_from(self.names.ttl.duration().as_secs()).unwrap_or(u32::MAX);
        zone = zone.with_host(server, addresses);
        for entry in &self.entry {
            zone = zone.with_host(&entry.name, &entry.addresses);
        }
        for domain in &self.domain {
            zone = zone.with_delegation(&domain.name, &domain.server, &domain.addresses);
        }
        zone
    }
}

impl SettingsFile for NamesFile {
    const EXAMPLE: &'static str = include_str!("examples/names.toml");

    fn check(&self, check: &mut Check<'_>) {
        let Some(zone) = &self.names.zone else { return };
        let named = [("domain", self.domain.iter().map(|domain| &domain.name).collect::<Vec<_>>())]
            .into_iter()
            .chain([("entry", self.entry.iter().map(|entry| &entry.name).collect())]);
        for (list, names) in named {
            for (index, name) in names.into_iter().enumerate() {
                if !name.is_within(zone) {
                    let path = [list, &format!("[{index}]"), "name"];
                    check.wrong(&path, format_args!("{} is not inside the zone {}", name.0, zone.0));
                }
            }
        }
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
    }
}
