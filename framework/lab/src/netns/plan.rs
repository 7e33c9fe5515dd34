//! What of a scenario is built where on the real kernel: its hosts, who translates for each network, which servers run. Pure:
//! nothing is touched.

use super::translation::Translation;
use crate::scenario::Scenario;
use crate::scenario::event::Action;
use crate::scenario::load::Unfit;
use crate::scenario::network::{Family, Firewall};
use crate::scenario::problem::ScenarioError;
use crate::world::topology::{ROOT_SERVER, Topology, TopologyError, top_level_server};
use ntmobile_sim::network::{Network, Prefix};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use thiserror::Error;

/// How NATs come to be that the kernel could do as well as the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Translators {
    /// By the kernel, where it does exactly what the scenario says.
    #[default]
    Kernel,
    /// By the simulator's model, all of them.
    Model,
}

/// Why a scenario cannot be planned.
#[derive(Debug, Error)]
pub enum PlanError {
    /// Something in it cannot be had on a real kernel.
    #[error(transparent)]
    Unfit(#[from] ScenarioError),
    /// Its internet cannot be built.
    #[error(transparent)]
    Topology(#[from] TopologyError),
}

/// A server's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKind {
    /// The DNS root.
    Root,
    /// The DNS server of a top-level domain.
    TopLevel,
    /// The AS.
    Account,
    /// A DC.
    Coordinator,
    /// An RS.
    Relay,
    /// An NS.
    Notification,
}

impl ServerKind {
    /// As `ntm serve` calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root | Self::TopLevel => "names",
            Self::Account => "as",
            Self::Coordinator => "dc",
            Self::Relay => "rs",
            Self::Notification => "ns",
        }
    }
}

/// A server to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// What it is called on the command line and in events: `as`, `dc.u1.example`, `root-server`.
    pub label: String,
    /// Its name in the topology.
    pub full_name: String,
    /// Its part.
    pub kind: ServerKind,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// A node to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedNode {
    /// Its name in the scenario.
    pub label: String,
    /// Its name in the network.
    pub full_name: String,
}

/// A router for whose network the kernel translates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The network.
    pub network: String,
    /// What it is called on the command line: `nat.home`.
    pub label: String,
    /// How it translates.
    pub translation: Translation,
    /// The addresses inside; the first is the router's own.
    pub inside: Prefix,
}

/// A scenario as it is to stand on the real kernel.
#[derive(Debug)]
pub struct Plan {
    /// The servers in the order in which they start: each finds what it needs.
    pub servers: Vec<Server>,
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// The routers, by their networks.
    pub routers: BTreeMap<String, Router>,
    /// All that is not inside a router's network: the model of it.
    pub network: Network,
    /// Where everything is in it.
    pub topology: Topology,
}

impl Plan {
    /// Plans a checked scenario.
    pub fn of(scenario: &Scenario, translators: Translators) -> Result<Self, PlanError> {
        ScenarioError::unless_empty(unfit(scenario).into_iter().map(Unfit::into_problem).collect())?;
        let translations = translations(scenario, translators);
        let elsewhere: BTreeSet<String> = translations.keys().cloned().collect();
        let mut network = Network::new(scenario.world.seed);
        let topology = Topology::build_without(scenario, &mut network, &elsewhere)?;
        let routers = translations.into_iter().filter_map(|(name, translation)| {
            let inside = topology.served_elsewhere(&name)?;
            let router = Router { label: format!("nat.{name}"), network: name.clone(), translation, inside };
            Some((name, router))
        });
        Ok(Self {
            servers: servers(scenario, &network, &topology),
            nodes: scenario
                .node
                .iter()
                .map(|(name, node)| PlannedNode { label: name.clone(), full_name: format!("{name}.{}", node.domain) })
                .collect(),
            routers: routers.collect(),
            network,
            topology,
        })
    }

    /// What every host is called on the command line, in the order of the plan.
    pub fn labels(&self) -> Vec<&str> {
        let servers = self.servers.iter().map(|server| server.label.as_str());
        let nodes = self.nodes.iter().map(|node| node.label.as_str());
        let routers = self.routers.values().map(|router| router.label.as_str());
        servers.chain(nodes).chain(routers).collect()
    }
}

fn servers(scenario: &Scenario, network: &Network, topology: &Topology) -> Vec<Server> {
    let account_server = scenario.account_server_name();
    let mut all = vec![(ROOT_SERVER.to_owned(), ROOT_SERVER.to_owned(), ServerKind::Root)];
    for domain in scenario.top_level_domains() {
        let host = top_level_server(&domain);
        all.push((host.clone(), host, ServerKind::TopLevel));
    }
    for name in scenario.servers() {
        let kind = match name.get(..2) {
            Some("as") => ServerKind::Account,
            Some("dc") => ServerKind::Coordinator,
            Some("rs") => ServerKind::Relay,
            _ => ServerKind::Notification,
        };
        let full_name = if kind == ServerKind::Account { account_server.clone() } else { name.clone() };
        all.push((name, full_name, kind));
    }
    // RSs and NSs are asked by their DC as soon as somebody logs in: they come before it.
    all.sort_by_key(|(_, _, kind)| *kind == ServerKind::Coordinator);
    all.into_iter()
        .map(|(label, full_name, kind)| {
            let addresses = topology.host(&full_name).map_or_else(Vec::new, |host| network.addresses(host.node));
            Server { label, full_name, kind, addresses }
        })
        .collect()
}

/// The networks for which the kernel translates.
fn translations(scenario: &Scenario, translators: Translators) -> BTreeMap<String, Translation> {
    if translators == Translators::Model {
        return BTreeMap::new();
    }
    let suits = |(name, network): (&String, &crate::scenario::network::Network)| {
        let translation = Translation::exactly(network.nat.as_ref()?)?;
        // Every link is the model's, so that its delay and loss are; one between two kernels' routers would not be.
        let is_outermost_inside = !scenario.network.values().any(|other| other.behind.as_ref() == Some(name));
        let only_ipv4 = scenario.families(name) == [Family::Ipv4];
        (is_outermost_inside && only_ipv4 && network.firewall == Firewall::Open).then(|| (name.clone(), translation))
    };
    scenario.network.iter().filter_map(suits).collect()
}

/// All that cannot be had.
pub fn unfit(scenario: &Scenario) -> Vec<Unfit> {
    let mut unfit = Vec::new();
    for (index, event) in scenario.event.iter().enumerate() {
        let index = format!("[{index}]");
        match &event.action {
            Action::DiskFull(name) | Action::DiskFree(name) => {
                let key = if matches!(event.action, Action::DiskFull(_)) { "disk-full" } else { "disk-free" };
                let what =
                    format!("the lab has no disk of its own for {}; only the simulator fills it up", name.server);
                unfit.push(Unfit::new(&["event", &index, key], what));
            }
            _ => {}
        }
    }
    for name in scenario.node.keys() {
        if Fqdn::parse(name).is_ok() && ["as", ROOT_SERVER].contains(&name.as_str()) {
            unfit.push(Unfit::new(&["node", name], "a server of the lab is called so; choose another name"));
        }
    }
    unfit
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
