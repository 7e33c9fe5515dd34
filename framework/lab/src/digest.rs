//! What the report says of a run, gathered from its manifest, its results and its trace. Nothing else of the run is needed,
//! so a report can be written again from a directory alone.

use crate::netns::conditions::LabRecord;
use crate::record::{self, Manifest, RecordError, RunDirectory, State};
use crate::report::Report;
use crate::report::data::{
    Conversation, Counter, Diagram, Distribution, Failure, Lab, Move, Network, Node, Path, Plugin, RoundTrip, Run,
    Site, Topology,
};
use crate::scenario::Scenario;
use crate::scenario::entity::SITE_DELAY;
use crate::scenario::event::Action;
use crate::scenario::network::{Family, Firewall, Link, Network as AccessNetwork};
use crate::scenario::plugin::Kind;
use crate::scenario::problem::ScenarioError;
use ntmobile_telemetry::conversation::{self as telemetry, CONVERSATION, HANDOVER, NEW_TUNNEL, Trace};
use ntmobile_telemetry::read::{ReadError, Recording};
use ntmobile_telemetry::sequence::Sequence;
use std::collections::BTreeMap;
use std::time::Duration;
use thiserror::Error;

/// How many diagrams and rows go on the page: more than anybody looks through, less than a browser minds.
const MOST_DIAGRAMS: usize = 80;
const MOST_CONVERSATIONS: usize = 500;
const MOST_FAILURES: usize = 100;

/// Why a run cannot be reported.
#[derive(Debug, Error)]
pub enum DigestError {
    /// Its directory cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Its scenario cannot be read; it comes from another version.
    #[error("the manifest's scenario: {0}")]
    Scenario(#[from] ScenarioError),
    /// Its trace cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Trace {
        /// Which.
        path: std::path::PathBuf,
        /// Where and how.
        source: ReadError,
    },
}

/// Gathers the report of the run in a directory.
pub fn digest(directory: &RunDirectory) -> Result<Report, DigestError> {
    let manifest = directory.manifest()?;
    let scenario = Scenario::from_toml("scenario", &manifest.scenario_toml)?;
    let path = directory.trace_path();
    let recording = Recording::open(&path).map_err(|source| DigestError::Trace { path, source })?;
    let results = directory.results()?;
    let told = recording.conversations();
    let epoch = recording.epoch.unwrap_or_default();
    let (diagrams, diagrams_left_out) = diagrams(&recording, &told);
    let mut conversations: Vec<Conversation> =
        results.iter().take(MOST_CONVERSATIONS).map(|row| conversation(&scenario, row)).collect();
    for row in &mut conversations {
        let Some(index) = told_of(row, &told, epoch) else { continue };
        row.reason = told[index].because().map(str::to_owned);
        row.diagram = Some(index).filter(|&index| index < diagrams.len());
    }
    let mut failures = failures(&results, &recording);
    let failures_left_out = failures.len().saturating_sub(MOST_FAILURES);
    failures.truncate(MOST_FAILURES);
    Ok(Report {
        run: run(&manifest, &scenario),
        topology: topology(&scenario),
        conversations,
        conversations_left_out: results.len().saturating_sub(MOST_CONVERSATIONS),
        diagrams,
        diagrams_left_out,
        counters: counters(&recording),
        distributions: distributions(&recording),
        failures,
        failures_left_out,
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn run(manifest: &Manifest, scenario: &Scenario) -> Run {
    let mut plugins: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
    for (entity, choices) in &manifest.plugins {
        for (kind, name) in choices {
            let order = Kind::ALL.iter().position(|known| known.key() == kind).unwrap_or(usize::MAX);
            plugins.entry((order, name.clone())).or_default().push(entity.clone());
        }
    }
    let key = |order: usize| Kind::ALL.get(order).map_or("", |kind| kind.key()).to_owned();
    Run {
        scenario: manifest.scenario.clone(),
        summary: scenario.summary.clone(),
        seed: manifest.seed,
        complete: manifest.state == State::Complete,
        version: manifest.program.version.clone(),
        revision: manifest.program.revision.clone(),
        simulated: (manifest.simulated_s * 1e9).round() as u64,
        events: manifest.events,
        command: match &manifest.lab {
            None => format!("ntm run {} --seed {}", manifest.scenario, manifest.seed),
            Some(_) => format!("sudo ntm lab run {} --seed {}", manifest.scenario, manifest.seed),
        },
        lab: manifest.lab.as_ref().map(lab),
        plugins: plugins
            .into_iter()
            .map(|((order, name), entities)| Plugin { kind: key(order), name, entities })
            .collect(),
        files: [
            ("manifest.json", "seed, versions, plugins, the scenario with every override in it"),
            ("results.csv", "a row for each conversation"),
            ("trace.otlp.jsonl", "every step of every entity, as OpenTelemetry spans and metrics"),
            ("capture.pcapng", "every packet; wireshark/ is a configuration that decrypts it"),
        ]
        .map(|(name, what)| (name.to_owned(), what.to_owned()))
        .to_vec(),
    }
}

/// What a run on the real kernel was like.
fn lab(record: &LabRecord) -> Lab {
    let machine = &record.machine;
    let kernel: Vec<String> =
        record.kernel_nats.iter().map(|(network, translation)| format!("{network} ({translation})")).collect();
    let kernel = if kernel.is_empty() { "none".to_owned() } else { kernel.join(", ") };
    let lateness = format!(
        "median {:.3} ms, 99 % within {:.3} ms, worst {:.3} ms; {} lost of {}",
        machine.late_median_ms, machine.late_p99_ms, machine.late_worst_ms, machine.packets_lost, machine.packets
    );
    let processors = format!(
        "{}; idle {:.0} %, stolen {:.1} %, load {:.1} before and {:.1} after",
        machine.processors,
        machine.idle * 1e2,
        machine.steal * 1e2,
        machine.load_before,
        machine.load_after
    );
    let facts = [
        ("Nodes", format!("model {}", record.model)),
        ("NAT by the kernel", kernel),
        ("Packets late at delivery", lateness),
        ("Processors", processors),
    ];
    Lab { facts: facts.map(|(name, value)| (name.to_owned(), value)).to_vec(), overload: record.overload.clone() }
}

fn topology(scenario: &Scenario) -> Topology {
    let account_server = Site {
        name: "Account Server".to_owned(),
        servers: vec!["as".to_owned()],
        delay: scenario.account_server.delay.unwrap_or(SITE_DELAY).as_nanos(),
    };
    let servers = scenario.servers();
    let domains = scenario.domain.iter().map(|(name, domain)| Site {
        name: name.clone(),
        servers: servers
            .iter()
            .filter_map(|server| server.strip_suffix(&format!(".{name}")))
            .map(str::to_owned)
            .collect(),
        delay: domain.delay.unwrap_or(SITE_DELAY).as_nanos(),
    });
    let mut networks: Vec<(usize, &String)> =
        scenario.network.keys().map(|name| (scenario.depth_of(name), name)).collect();
    networks.sort();
    Topology {
        sites: std::iter::once(account_server).chain(domains).collect(),
        networks: networks.into_iter().map(|(_, name)| network(scenario, name, &scenario.network[name])).collect(),
        nodes: scenario
            .node
            .iter()
            .map(|(name, node)| Node {
                name: name.clone(),
                domain: node.domain.clone(),
                networks: node.networks().map(str::to_owned).collect(),
            })
            .collect(),
        moves: scenario
            .event
            .iter()
            .filter_map(|event| match &event.action {
                Action::Move(action) => {
                    Some(Move { node: action.node.clone(), to: Some(action.to.clone()), at: event.at.as_nanos() })
                }
                _ => None,
            })
            .collect(),
    }
}

fn network(scenario: &Scenario, name: &str, network: &AccessNetwork) -> Network {
    let families: Vec<&str> = scenario
        .families(name)
        .iter()
        .map(|family| match family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        })
        .collect();
    Network {
        name: name.to_owned(),
        behind: network.behind.clone(),
        nat: network.nat.map(|nat| nat.to_string()),
        nat_record: network.nat.map(|nat| nat.in_full()).unwrap_or_default(),
        firewall: match network.firewall {
            Firewall::Open => None,
            Firewall::Stateful => Some("answers only".to_owned()),
            Firewall::BlocksUdp => Some("no UDP".to_owned()),
        },
        families: families.join(" + "),
        delay: network.link.delay.as_nanos(),
        link: peculiarities(&network.link),
    }
}

/// What a link does besides taking time.
fn peculiarities(link: &Link) -> String {
    let mut parts = Vec::new();
    parts.extend((link.jitter.as_nanos() > 0).then(|| format!("jitter {}", link.jitter)));
    for (what, share) in [("loss", link.loss), ("duplication", link.duplication), ("reordering", link.reordering)] {
        parts.extend((share.probability() > 0.0).then(|| format!("{what} {share}")));
    }
    parts.extend(link.rate.map(|rate| rate.to_string()));
    parts.extend(link.mtu.map(|mtu| format!("MTU {mtu}")));
    parts.join(", ")
}

fn conversation(scenario: &Scenario, row: &record::Conversation) -> Conversation {
    let at = |node: &str| scenario.node.get(node).and_then(|node| node.networks().next()).unwrap_or("?");
    Conversation {
        from: row.from.clone(),
        to: row.to.clone(),
        networks: format!("{} ↔ {}", at(&row.from), at(&row.to)),
        kind: row.kind.clone(),
        start: row.start.0,
        path: row.path.as_ref().map(|path| match path {
            record::Path::Direct => Path::Direct,
            record::Path::Relayed(relay) => Path::Relayed(relay.clone()),
        }),
        reason: None,
        set_up: row.set_up.map(nanos),
        set_up_round_trips: row.set_up_round_trips,
        bound: row.bound.map(nanos),
        sent: row.sent,
        lost: row.lost(),
        bytes: row.bytes,
        transfer: row.transfer.map(nanos),
        round_trip: row.round_trip.map(|trips| RoundTrip {
            least: nanos(trips.least),
            median: nanos(trips.median),
            most: nanos(trips.most),
        }),
        gap: row.gap.map(nanos),
        failure: row.failure.clone(),
        diagram: None,
    }
}

/// Diagrams of conversations first, then of logins and registrations; each in order of time.
fn diagrams(recording: &Recording, conversations: &[telemetry::Conversation<'_>]) -> (Vec<Diagram>, usize) {
    let epoch = recording.epoch.unwrap_or_default();
    let mut diagrams: Vec<Diagram> = conversations
        .iter()
        .map(|conversation| Diagram {
            title: format!("{} → {}", host(conversation.node), host(conversation.peer)),
            occasion: match conversation.reason {
                NEW_TUNNEL => "new tunnel".to_owned(),
                reason => reason.replace('-', " "),
            },
            conversation: true,
            start: conversation.trace.start().saturating_sub(epoch),
            sequence: Sequence::of(&conversation.trace),
        })
        .collect();
    let told: Vec<_> = conversations.iter().map(|conversation| conversation.trace.root().context.trace).collect();
    let others = recording.traces().into_iter().filter(|trace| !told.contains(&trace.root().context.trace));
    diagrams.extend(others.filter_map(|trace| of_joining(&trace, epoch)));
    let left_out = diagrams.len().saturating_sub(MOST_DIAGRAMS);
    diagrams.truncate(MOST_DIAGRAMS);
    (diagrams, left_out)
}

/// A login or registration; keepalives and other small change have no diagram.
fn of_joining(trace: &Trace<'_>, epoch: u64) -> Option<Diagram> {
    let root = trace.root();
    matches!(&*root.name, "Login" | "Registration" | "Join").then(|| Diagram {
        title: host(&root.entity).to_owned(),
        occasion: root.name.to_lowercase(),
        conversation: false,
        start: trace.start().saturating_sub(epoch),
        sequence: Sequence::of(trace),
    })
}

/// What the trace tells of how a conversation was set up: the last one of the two that began no later than its first packet.
fn told_of(row: &Conversation, told: &[telemetry::Conversation<'_>], epoch: u64) -> Option<usize> {
    let latest = row.start + row.set_up.unwrap_or_default();
    told.iter().rposition(|told| {
        let ends = [host(told.node), host(told.peer)];
        let same = ends == [row.from.as_str(), row.to.as_str()] || ends == [row.to.as_str(), row.from.as_str()];
        same && told.trace.start().saturating_sub(epoch) <= latest
    })
}

fn host(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn counters(recording: &Recording) -> Vec<Counter> {
    let mut by_name: BTreeMap<&String, Vec<(String, u64)>> = BTreeMap::new();
    for (entity, counters) in &recording.counters {
        for (name, count) in counters {
            by_name.entry(name).or_default().push((entity.clone(), *count));
        }
    }
    by_name.into_iter().map(|(name, entities)| Counter { name: name.clone(), entities }).collect()
}

fn distributions(recording: &Recording) -> Vec<Distribution> {
    let mut all = Vec::new();
    for (entity, distributions) in &recording.distributions {
        for (name, distribution) in distributions {
            let mean = distribution.sum / distribution.count.max(1) as f64;
            all.push(Distribution {
                name: name.clone(),
                entity: entity.clone(),
                unit: distribution.unit.clone(),
                count: distribution.count,
                mean,
                min: distribution.min.unwrap_or(mean),
                max: distribution.max.unwrap_or(mean),
            });
        }
    }
    all
}

/// Conversations that failed, and whatever else a node set out for in vain: a login, a registration, a handover; in order of
/// time.
fn failures(results: &[record::Conversation], recording: &Recording) -> Vec<Failure> {
    let epoch = recording.epoch.unwrap_or_default();
    let mut failures: Vec<Failure> = results
        .iter()
        .filter_map(|row| {
            Some(Failure {
                at: Some(row.start.0),
                entity: row.from.clone(),
                what: format!("{} to {}", row.kind, row.to),
                why: row.failure.clone()?,
            })
        })
        .collect();
    let failed = |from: &str, to: &str| {
        results.iter().any(|row| row.failure.is_some() && row.from == host(from) && row.to == host(to))
    };
    for span in &recording.spans {
        let Some(why) = &span.failure else { continue };
        let what = match (&*span.name, span.text("ntm.peer")) {
            // The row of the results says it already.
            (CONVERSATION, Some(peer)) if failed(&span.entity, peer) => continue,
            (CONVERSATION | HANDOVER, Some(peer)) => format!("{} with {}", span.name.to_lowercase(), host(peer)),
            ("Login" | "Registration", _) => span.name.to_lowercase(),
            _ => continue,
        };
        let at = Some(span.start.saturating_sub(epoch));
        failures.push(Failure { at, entity: host(&span.entity).to_owned(), what, why: why.clone() });
    }
    failures.sort_by_key(|failure| failure.at);
    failures
}

#[cfg(test)]
#[path = "digest_tests.rs"]
mod tests;
