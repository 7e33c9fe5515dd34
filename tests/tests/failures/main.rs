//! What goes wrong, and what the application is told: each failure is one typed error, within the time that the book's page on
//! failures says; and when the cause is gone, everything works again without help.
//!
//! | file | subject |
//! | --- | --- |
//! | `joining` | a node that cannot join |
//! | `connecting` | a tunnel that cannot be had |
//! | `full_disks` | a server that cannot store anything any more |
//! | `healing` | servers that come back |

mod connecting;
mod full_disks;
mod healing;
mod joining;

use ntmobile_proto::node::{ConnectError, JoinError, Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{connect, join, joined, network};
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const DC_MN: &str = "dc.u1.example";
const DC_CN: &str = "dc.u2.example";
/// Where a NAT shows the two ends.
const NATS: [Option<&str>; 2] = [Some("198.51.100.1"), Some("198.51.100.2")];
/// What the links of the bench add to a time-out: a dozen messages of 10 ms and a look-up.
const ON_THE_WAY: Duration = Duration::from_millis(300);

fn choices(changes: &[(Kind, &str)]) -> Choices {
    let mut choices = Choices::default();
    for (kind, name) in changes {
        choices.set(*kind, *name);
    }
    choices
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A network in which both ends have joined, behind these NATs.
fn both_joined(choices: &Choices, [mn, cn]: [Option<&str>; 2]) -> Bench {
    let mut bench = network(1, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", mn);
    join(&mut bench, "bob@u2.example", choices, "10.0.0.3", cn);
    bench.run_for(seconds(2.0));
    for who in [ALICE, BOB] {
        assert!(joined(&mut bench, who), "{who}: {:?}", bench.counters);
    }
    bench
}

/// How joining failed, and how long it took; the node was told to join just now.
fn join_failure(bench: &mut Bench, who: &str) -> (JoinError, Duration) {
    let started = bench.now;
    bench.run_for(seconds(120.0));
    let told: Vec<_> = bench.at::<Node>(who).events.drain(..).collect();
    let failures: Vec<_> = told
        .iter()
        .filter_map(|(at, event)| match event {
            NodeEvent::JoinFailed(error) => Some((error.clone(), at.since(started))),
            NodeEvent::Joined { .. } => panic!("{who} has joined"),
            _ => None,
        })
        .collect();
    assert_eq!(failures.len(), 1, "{who} is told once: {told:?}");
    failures[0].clone()
}

/// How a tunnel that Alice asks for fails, and how long it took.
fn connect_failure(bench: &mut Bench, peer: &str, waiter: u64) -> (ConnectError, Duration) {
    let started = bench.now;
    connect(bench, ALICE, peer, waiter);
    bench.run_for(seconds(120.0));
    let told: Vec<_> = bench.at::<Node>(ALICE).events.clone();
    let failures: Vec<_> = told
        .iter()
        .filter_map(|(at, event)| match event {
            NodeEvent::ConnectFailed { waiter: who, error } if *who == waiter => {
                Some((error.clone(), at.since(started)))
            }
            NodeEvent::Connected { waiter: who, .. } if *who == waiter => panic!("connected to {peer}"),
            _ => None,
        })
        .collect();
    assert_eq!(failures.len(), 1, "Alice is told once about {peer}: {told:?}, {:?}", bench.counters);
    failures[0].clone()
}

/// The failure came neither later than documented nor so early that the documentation is idle.
fn assert_within(took: Duration, documented: Duration, what: &str) {
    assert!(took <= documented + ON_THE_WAY, "{what}: {took:?}, documented {documented:?}");
    assert!(took + seconds(1.0) >= documented, "{what}: {took:?} already, documented {documented:?}");
}

/// Both ends talk: Alice asks, and is connected within a moment.
fn assert_connects(bench: &mut Bench, waiter: u64) {
    connect(bench, ALICE, BOB, waiter);
    bench.run_for(seconds(3.0));
    let events = &bench.at::<Node>(ALICE).events;
    let told =
        events.iter().any(|(_, event)| matches!(event, NodeEvent::Connected { waiter: who, .. } if *who == waiter));
    let events = format!("{events:?}");
    assert!(told, "{events} {:?}", bench.counters);
}
