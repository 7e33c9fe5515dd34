//! A scenario: what exists in a world and what happens in it, as data.
//!
//! The same types are read from TOML ([`Scenario::from_toml`], [`Layers`](load::Layers) for overrides), built in Rust
//! ([`Scenario::builder`]) and written back ([`Scenario::to_toml`]). Whatever the way, [`Scenario::check`] has looked at it
//! before anything runs: an unknown key, plugin or name is an error that says where it is written and what is known there.

pub mod builder;
pub mod builtin;
mod check;
pub mod entity;
pub mod event;
pub mod load;
pub mod network;
pub mod plugin;

pub use ntmobile_settings::units;

/// What is wrong with a scenario, said so that it can be put right.
pub mod problem {
    pub use ntmobile_settings::problem::Problem;
    /// A scenario that cannot be run, and everything that is wrong with it.
    pub use ntmobile_settings::problem::SettingsError as ScenarioError;
}

use entity::{AccountServer, Domain, Node};
use event::{Action, Event, Move, Traffic};
use network::{Family, Network};
use plugin::{Kind, Plugins};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use units::{Percent, TimeSpan, secs};

/// What exists and what happens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Scenario {
    /// One sentence on what it shows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Seed, duration, epoch.
    pub world: World,
    /// Choices of plugins that count everywhere.
    #[serde(skip_serializing_if = "is_default")]
    pub plugins: Plugins,
    /// The AS.
    #[serde(skip_serializing_if = "is_default")]
    pub account_server: AccountServer,
    /// Root and top-level name servers.
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Dns,
    /// What befalls packets on their way across the core of the internet.
    #[serde(skip_serializing_if = "is_default")]
    pub core: Core,
    /// Domains by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub domain: BTreeMap<String, Domain>,
    /// Access networks by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub network: BTreeMap<String, Network>,
    /// Nodes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node: BTreeMap<String, Node>,
    /// What happens, when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event: Vec<Event>,
    /// Who talks to whom.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<Traffic>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `[world]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct World {
    /// Everything that is left to chance follows from it: one seed, one run, byte for byte.
    pub seed: u64,
    /// How long is simulated.
    pub duration: TimeSpan,
    /// Wall-clock time at the start, in seconds since 1970: certificates and traces bear it. Never 0.
    pub epoch: u64,
}

impl Default for World {
    fn default() -> Self {
        // 2026-01-01 00:00:00 UTC.
        Self { seed: 1, duration: secs(60), epoch: 1_767_225_600 }
    }
}

/// `[dns]`: the servers above the domains' own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Dns {
    /// One-way delay between the root server's site and the core of the internet.
    pub root_delay: TimeSpan,
    /// The same for the server of each top-level domain.
    pub top_level_delay: TimeSpan,
    /// How long resolvers keep an answer.
    pub ttl: TimeSpan,
}

impl Default for Dns {
    fn default() -> Self {
        Self { root_delay: units::ms(10), top_level_delay: units::ms(8), ttl: secs(3_600) }
    }
}

/// `[core]`: the middle of the internet, which every packet crosses once that goes from one network or site to another, in
/// either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Core {
    /// How often a packet is lost.
    #[serde(skip_serializing_if = "is_default")]
    pub loss: Percent,
    /// How often a packet comes twice.
    #[serde(skip_serializing_if = "is_default")]
    pub duplication: Percent,
    /// How often a packet is overtaken by those behind it.
    #[serde(skip_serializing_if = "is_default")]
    pub reordering: Percent,
}

impl Scenario {
    /// The plugin of a kind that counts at a node. `None` if there is no such node.
    pub fn at_node(&self, kind: Kind, node: &str) -> Option<&str> {
        let node = self.node.get(node)?;
        node.choice(kind).or_else(|| self.at_domain(kind, &node.domain))
    }

    /// The plugin of a kind that counts at a domain. `None` if there is no such domain.
    pub fn at_domain(&self, kind: Kind, domain: &str) -> Option<&str> {
        let domain = self.domain.get(domain)?;
        Some(domain.choice(kind).unwrap_or_else(|| self.generally(kind)))
    }

    /// The plugin of a kind that counts at the AS.
    pub fn at_account_server(&self, kind: Kind) -> &str {
        self.account_server.choice(kind).unwrap_or_else(|| self.generally(kind))
    }

    /// The plugin of a kind where nothing more particular is chosen.
    pub fn generally(&self, kind: Kind) -> &str {
        self.plugins.choice(kind).unwrap_or_else(|| kind.default_name())
    }

    /// The names of all servers, as events call them: `as`, then each domain's DC, RSs and NSs.
    pub fn servers(&self) -> Vec<String> {
        let mut names = vec!["as".to_owned()];
        for (domain, table) in &self.domain {
            names.push(format!("dc.{domain}"));
            names.extend((1..=table.relays).map(|n| format!("rs{n}.{domain}")));
            names.extend((1..=table.notification_servers).map(|n| format!("ns{n}.{domain}")));
        }
        names
    }

    /// The AS's full name. Events call it `as`.
    pub fn account_server_name(&self) -> String {
        let top_level = self.top_level_domains().into_iter().next();
        format!("as.{}", top_level.as_deref().unwrap_or("example"))
    }

    /// The top-level domains that the domains lie in, in order.
    pub fn top_level_domains(&self) -> BTreeSet<String> {
        self.domain.keys().filter_map(|domain| Some(domain.rsplit_once('.')?.1.to_owned())).collect()
    }

    /// The address families that an access network gives out.
    pub fn families(&self, network: &str) -> Vec<Family> {
        let mut outwards =
            std::iter::successors(self.network.get(network), |inner| self.network.get(inner.behind.as_ref()?))
                .take(self.network.len());
        let decided = outwards.find_map(|network| match (&network.families[..], &network.nat) {
            ([], None) => None,
            ([], Some(_)) => Some(vec![Family::Ipv4]),
            (named, _) => Some(named.to_vec()),
        });
        decided.unwrap_or_else(|| vec![Family::Ipv4, Family::Ipv6])
    }

    /// Whether a NAT is anywhere between an access network and the core.
    pub fn is_behind_nat(&self, network: &str) -> bool {
        let outwards =
            std::iter::successors(self.network.get(network), |inner| self.network.get(inner.behind.as_ref()?));
        // A scenario that is not checked may go in a circle.
        outwards.take(self.network.len()).any(|network| network.nat.is_some())
    }

    /// How many networks are between an access network and the core.
    pub fn depth_of(&self, network: &str) -> usize {
        let outer = |name: &&str| self.network.get(*name)?.behind.as_deref();
        // A scenario that is not checked may go in a circle.
        std::iter::successors(Some(network), outer).take(self.network.len()).count()
    }

    /// Every movement.
    pub fn moves(&self) -> impl Iterator<Item = &Move> {
        self.event.iter().filter_map(|event| match &event.action {
            Action::Move(action) => Some(action),
            _ => None,
        })
    }

    /// As TOML text that reads back to the same scenario.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field of a scenario has a form in TOML")
    }
}

#[cfg(test)]
mod tests;
