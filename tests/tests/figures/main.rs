//! The papers' sequence figures, message by message, as the trace tells them: who sent what to whom, in which order; every
//! conversation one trace across all its entities, with nothing dangling.
//!
//! | file | figures |
//! | --- | --- |
//! | `joining` | login and registration: [003] 2, 3, 4, [004] 2 |
//! | `tunnels` | name resolution and tunnels: [003] 5, 6, 7, [004] 3 |
//! | `movement` | [000] 2 |
//! | `bounds` | how long each takes: exactly its critical path, computed from the sequence and the links alone |

mod bounds;
mod joining;
mod movement;
mod tunnels;

use ntmobile_proto::direction_coordinator::{DirectionCoordinator, DirectionCoordinatorConfig};
use ntmobile_proto::trace::Span;
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::arrows::{arrows, flaws, traces};
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{DOMAINS, connect, coordinator_config, distinct_delays, join, joined, network};
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

const MN: &str = "alice.u1.example";
const CN: &str = "bob.u2.example";
/// Spans, each with who told it.
type Spans = Vec<(Fqdn, Span)>;

/// A choice that differs from the default.
type Change = (Kind, &'static str);

/// Where a NAT shows the two ends.
const NATS: [Option<&str>; 2] = [Some("198.51.100.1"), Some("198.51.100.2")];

/// What the papers call the entities of the bench.
const ROLES: [(&str, &str); 9] = [
    (MN, "MN"),
    (CN, "CN"),
    ("as.example", "AS"),
    ("dc.u1.example", "DC_MN"),
    ("dc.u2.example", "DC_CN"),
    ("rs.u1.example", "RS"),
    ("rs.u2.example", "RS_CN"),
    ("ns.u1.example", "NS"),
    ("ns.u2.example", "NS_CN"),
];

fn choices(changes: &[Change]) -> Choices {
    let mut choices = Choices::default();
    for (kind, name) in changes {
        choices.set(*kind, *name);
    }
    choices
}

/// A network with links of distinct delays in which both ends have joined, behind these NATs.
fn both_joined(choices: &Choices, nats: [Option<&str>; 2]) -> Bench {
    both_join(network(1, choices), choices, nats)
}

fn both_join(mut bench: Bench, choices: &Choices, [mn, cn]: [Option<&str>; 2]) -> Bench {
    distinct_delays(&mut bench);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", mn);
    join(&mut bench, "bob@u2.example", choices, "10.0.0.3", cn);
    bench.run_for(Duration::from_secs(2));
    for who in [MN, CN] {
        assert!(joined(&mut bench, who), "{who}: {:?}", bench.counters);
    }
    bench
}

/// The same, both ends behind NATs, where the domain of MN has no RS.
fn both_joined_and_one_relay(choices: &Choices) -> Bench {
    let mut bench = network(1, choices);
    let (_, coordinator, address) = DOMAINS[0];
    let config = DirectionCoordinatorConfig { relays: Vec::new(), ..coordinator_config(0, choices) };
    let machine = DirectionCoordinator::new(config, bench.entropy());
    bench.place(coordinator, machine, &[address], None);
    both_join(bench, choices, NATS)
}

/// MN asks for CN; gives the spans of that conversation.
fn conversation(bench: &mut Bench) -> Spans {
    connect(bench, MN, CN, 1);
    bench.run_for(Duration::from_secs(2));
    trace_of(bench, "Conversation")
}

/// The spans of the one trace whose root bears this name. The trace is whole, and so is every other on the bench.
fn trace_of(bench: &Bench, root: &str) -> Spans {
    assert_eq!(flaws(&bench.spans), Vec::<String>::new());
    let roots: Vec<_> = bench.spans.iter().filter(|(_, span)| span.parent.is_none() && span.name == root).collect();
    assert_eq!(roots.len(), 1, "{root}");
    let trace = roots[0].1.context.trace;
    let spans: Vec<_> = bench.spans.iter().filter(|(_, span)| span.context.trace == trace).cloned().collect();
    assert_eq!(spans.iter().filter(|(_, span)| span.parent.is_none()).count(), 1, "one root");
    assert_eq!(traces(&spans).len(), 1);
    spans
}

/// The arrows of these spans in the papers' words.
fn figure(spans: &[(Fqdn, Span)]) -> Vec<String> {
    let found = arrows(spans);
    assert!(found.iter().all(|arrow| arrow.sent < arrow.received), "every message takes its time");
    let role = |who: &Fqdn| ROLES.iter().find(|(name, _)| *name == who.as_str()).expect("a role").1;
    found.iter().map(|arrow| format!("{} → {}: {}", role(&arrow.from), role(&arrow.to), arrow.message)).collect()
}

/// Compares line by line, so that a difference shows where it is.
fn assert_figure(spans: &[(Fqdn, Span)], expected: &[&str]) {
    assert_eq!(figure(spans).join("\n"), expected.join("\n"));
}
