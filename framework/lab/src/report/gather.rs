//! From what a run leaves behind to the report's data.

use super::data::{
    Conversation, Counter, Diagram, Distribution, Failure, Move, Network, Node, Plugin, Report, Site, Topology,
};
use crate::scenario::Scenario;
use crate::scenario::event::Action;
use crate::scenario::network::{self, Family, Firewall, Nat};
use ntmobile_telemetry::conversation::{CONVERSATION, Trace, stands_for};
use ntmobile_telemetry::read::Recording;
use ntmobile_telemetry::sequence::Sequence;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many diagrams of conversations a page holds; those that failed come first.
const MOST_CONVERSATIONS: usize = 60;

/// How many diagrams of nodes that join.
const MOST_JOINING: usize = 24;

/// How long after its beginning a conversation that came to nothing can still have started its trace.
const PATIENCE: u64 = 30_000_000_000;

impl Topology {
    /// The world of a scenario at its beginning, and who moves in it.
    pub fn of(scenario: &Scenario) -> Self {
        let account_server = scenario.account_server.delay.unwrap_or(crate::scenario::entity::SITE_DELAY);
        let mut sites = vec![Site {
            name: "Account Server".into(),
            servers: vec!["as".into()],
            delay: nanos(account_server.duration()),
        }];
        sites.extend(scenario.domain.iter().map(|(name, domain)| {
            Site {
                name: name.clone(),
                servers: std::iter::once("dc".to_owned())
                    .chain((1..=domain.relays).map(|number| format!("rs{number}")))
                    .chain((1..=domain.notification_servers).map(|number| format!("ns{number}")))
                    .collect(),
                delay: nanos(domain.delay.unwrap_or(crate::scenario::entity::SITE_DELAY).duration()),
            }
        }));
        let nodes = scenario.node.iter().map(|(name, node)| Node {
            name: name.clone(),
            domain: node.domain.clone(),
            networks: node.networks().map(str::to_owned).collect(),
        });
        let moves = scenario.event.iter().filter_map(|event| match &event.action {
            Action::Move(action) => {
                let at = nanos(event.at.duration());
                Some(Move { node: action.node.clone(), to: Some(action.to.clone()), at })
            }
            _ => None,
        });
        Self { sites, networks: networks(scenario), nodes: nodes.collect(), moves: moves.collect() }
    }

    /// The networks that a node is in during the run, in order.
    pub fn networks_of(&self, node: &str) -> String {
        let first = self.nodes.iter().find(|known| known.name == node).into_iter().flat_map(|node| &node.networks);
        let moves =
            self.moves.iter().filter(|movement| movement.node == node).filter_map(|movement| movement.to.as_ref());
        first.chain(moves).map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Networks in such an order that each comes after the one that it is behind.
fn networks(scenario: &Scenario) -> Vec<Network> {
    let mut ordered: Vec<Network> = Vec::new();
    let mut waiting: Vec<_> = scenario.network.iter().collect();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|(name, network)| {
            let placed = |parent: &String| ordered.iter().any(|placed| placed.name == *parent);
            let ready = network.behind.as_ref().is_none_or(placed);
            if ready {
                ordered.push(describe(name, network));
            }
            !ready
        });
        // Networks behind each other, or behind one that is not: the scenario's check refuses them.
        if waiting.len() == before {
            break;
        }
    }
    ordered
}

fn describe(name: &str, network: &network::Network) -> Network {
    let family = |family: &Family| match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let link = &network.link;
    let mut remarks = Vec::new();
    if link.loss.probability() > 0.0 {
        remarks.push(format!("loss {}", link.loss));
    }
    if !link.jitter.duration().is_zero() {
        remarks.push(format!("jitter {}", link.jitter));
    }
    if let Some(rate) = link.rate {
        remarks.push(rate.to_string());
    }
    Network {
        name: name.to_owned(),
        behind: network.behind.clone(),
        nat: network.nat.map(|nat| nat_name(&nat).to_owned()),
        firewall: match network.firewall {
            Firewall::Open => None,
            Firewall::Stateful => Some("stateful firewall".to_owned()),
            Firewall::BlocksUdp => Some("firewall blocks UDP".to_owned()),
        },
        families: network.families.iter().map(family).collect::<Vec<_>>().join(", "),
        delay: nanos(link.delay.duration()),
        link: remarks.join(" · "),
    }
}

/// The preset that a NAT is, if it is one to the last field.
fn nat_name(nat: &Nat) -> &'static str {
    let presets = network::NAT_PRESETS.iter();
    presets.map(|(name, _)| *name).find(|name| Nat::preset(name) == Some(Some(*nat))).unwrap_or("custom")
}

/// Choices of plugins by what was chosen, from choices by who chose.
pub fn plugins(by_entity: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<Plugin> {
    let mut by_choice: BTreeMap<(&String, &String), Vec<String>> = BTreeMap::new();
    for (entity, choices) in by_entity {
        for (kind, name) in choices {
            by_choice.entry((kind, name)).or_default().push(entity.clone());
        }
    }
    let plugin =
        |((kind, name), entities): ((&String, &String), _)| Plugin { kind: kind.clone(), name: name.clone(), entities };
    by_choice.into_iter().map(plugin).collect()
}

impl Report {
    /// Adds what the trace of the run tells: diagrams, each linked from the conversation that it belongs to, counters and
    /// distributions, and the failures of all. `epoch` is the run's origin in seconds since 1970. Call it when the
    /// conversations are in.
    pub fn add_recording(&mut self, recording: &Recording, epoch: u64) {
        let epoch = recording.epoch.unwrap_or(epoch.saturating_mul(1_000_000_000));
        let traces = recording.traces();
        let (talks, rest): (Vec<_>, Vec<_>) = traces.iter().partition(|trace| &*trace.root().name == CONVERSATION);
        let joins: Vec<_> =
            rest.into_iter().filter(|trace| matches!(&*trace.root().name, "Login" | "Registration")).collect();
        self.diagrams_left_out =
            talks.len().saturating_sub(MOST_CONVERSATIONS) + joins.len().saturating_sub(MOST_JOINING);
        let mut kept = talks;
        // Stable: of those alike the earlier come first.
        kept.sort_by_key(|trace| trace.root().failure.is_none());
        kept.truncate(MOST_CONVERSATIONS);
        kept.sort_by_key(|trace| trace.start());
        for trace in kept {
            self.add_conversation(trace, epoch);
        }
        for trace in joins.iter().take(MOST_JOINING) {
            let root = trace.root();
            self.diagrams.push(diagram(root.entity.to_string(), root.name.to_lowercase(), trace, epoch));
        }
        self.add_metrics(recording);
        self.add_failures(&joins, epoch);
    }

    fn add_conversation(&mut self, trace: &Trace<'_>, epoch: u64) {
        let root = trace.root();
        let node = root.text("ntm.node").unwrap_or(&root.entity);
        let peer = root.text("ntm.peer").unwrap_or("nobody");
        let reason = root.text("ntm.reason").unwrap_or("new-tunnel");
        let index = self.diagrams.len();
        let diagram = diagram(format!("{} → {}", host(node), host(peer)), reason.replace('-', " "), trace, epoch);
        let start = diagram.start;
        self.diagrams.push(Diagram { conversation: true, ..diagram });
        if reason != "new-tunnel" {
            return;
        }
        let begun_by = |row: &Conversation| {
            let latest = row.start.saturating_add(row.set_up.unwrap_or(PATIENCE));
            (row.start..=latest).contains(&start) && stands_for(&row.from, node) && stands_for(&row.to, peer)
        };
        for row in self.conversations.iter_mut().filter(|row| row.diagram.is_none() && begun_by(row)) {
            row.diagram = Some(index);
        }
    }

    fn add_metrics(&mut self, recording: &Recording) {
        let mut by_name: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
        for (entity, counters) in &recording.counters {
            for (name, count) in counters {
                by_name.entry(name).or_default().push((entity.clone(), *count));
            }
        }
        self.counters.extend(by_name.into_iter().map(|(name, entities)| Counter { name: name.to_owned(), entities }));
        for (entity, distributions) in &recording.distributions {
            for (name, values) in distributions.iter().filter(|(_, values)| values.count > 0) {
                self.distributions.push(Distribution {
                    name: name.clone(),
                    entity: entity.clone(),
                    unit: values.unit.clone(),
                    count: values.count,
                    mean: values.sum / values.count as f64,
                    min: values.min.unwrap_or_default(),
                    max: values.max.unwrap_or_default(),
                });
            }
        }
    }

    fn add_failures(&mut self, joins: &[&Trace<'_>], epoch: u64) {
        let conversations = self.conversations.iter().filter_map(|row| {
            Some(Failure {
                at: Some(row.start),
                entity: row.from.clone(),
                what: format!("conversation with {}", row.to),
                why: row.failure.clone()?,
            })
        });
        let joins = joins.iter().filter_map(|trace| {
            let root = trace.root();
            Some(Failure {
                at: Some(trace.start().saturating_sub(epoch)),
                entity: root.entity.to_string(),
                what: root.name.to_lowercase(),
                why: root.failure.clone()?,
            })
        });
        self.failures.extend(conversations.chain(joins));
        self.failures.sort_by_key(|failure| failure.at);
    }
}

fn diagram(title: String, occasion: String, trace: &Trace<'_>, epoch: u64) -> Diagram {
    let start = trace.start().saturating_sub(epoch);
    Diagram { title, occasion, conversation: false, start, sequence: Sequence::of(trace) }
}

fn host(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "gather_tests.rs"]
mod tests;
