//! What a node tells of the ways to a peer that it has tried, and how long a round trip takes.

use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{Attempt, ConnectError, Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::Choices;
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{connect, join, joined, network};
use ntmobile_wire::message::DirectionReason;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const NAT: &str = "198.51.100.1";

/// Alice and Bob have joined from behind these NATs.
fn behind(alice: Option<&str>, bob: Option<&str>) -> Bench {
    let choices = Choices::default();
    let mut bench = network(7, &choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", alice);
    join(&mut bench, "bob@u2.example", &choices, "10.0.0.3", bob);
    bench.run_for(Duration::from_secs(2));
    assert!(joined(&mut bench, ALICE) && joined(&mut bench, BOB), "{:?}", bench.counters);
    bench
}

/// What a node's last tunnel took, and what was tried for it.
fn built(bench: &mut Bench, who: &str) -> (Duration, Vec<Attempt>) {
    let events = &bench.at::<Node>(who).events;
    let built = events.iter().rev().find_map(|(_, event)| match event {
        NodeEvent::TunnelBuilt { took, attempts, .. } => Some((*took, attempts.clone())),
        _ => None,
    });
    built.unwrap_or_else(|| panic!("{who} has no tunnel: {events:?}"))
}

#[test]
fn a_direct_path_that_failed_is_told_before_the_relay() {
    // Bob is in the open as far as his coordinator knows, and there is a wall between them.
    let mut bench = behind(Some(NAT), None);
    bench.sever(ALICE, BOB);
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(20));
    let (took, attempts) = built(&mut bench, ALICE);
    let [direct, relayed] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((direct.reason, direct.relay.as_ref()), (DirectionReason::NewTunnel, None));
    assert!(direct.candidates.iter().any(|at| at.ip().to_string() == "10.0.0.3"), "{direct:?}");
    assert!(matches!(direct.outcome, Err(ConnectError::TimedOut { .. })), "{direct:?}");
    assert_eq!((relayed.reason, &relayed.relay), (DirectionReason::DirectFailed, &Some(name("rs.u1.example"))));
    let next_hop = relayed.outcome.as_ref().expect("the relay is there");
    assert!(relayed.candidates.contains(next_hop), "{relayed:?}");
    assert!(took >= direct.took + relayed.took && direct.took > relayed.took, "{took:?} of {attempts:?}");
    // The called end has tried for itself.
    let (_, attempts) = built(&mut bench, BOB);
    assert!(attempts.last().is_some_and(|last| last.relay.is_some() && last.outcome.is_ok()), "{attempts:?}");
}

#[test]
fn a_move_is_told_with_how_long_it_took_since_the_node_knew() {
    let mut bench = behind(None, None);
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    let moved = bench.now;
    bench.move_to(ALICE, &["10.9.9.9"], None);
    bench.run_for(Duration::from_secs(10));
    let events = &bench.at::<Node>(ALICE).events;
    let told = events.iter().find_map(|(at, event)| match event {
        NodeEvent::TunnelBuilt { handover: true, took, .. } => Some((*at, *took)),
        _ => None,
    });
    let (at, took) = told.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!(took, at.since(moved));
}

#[test]
fn what_was_tried_in_vain_is_told() {
    let mut bench = behind(None, None);
    bench.sever(ALICE, BOB);
    bench.set_up("rs.u1.example", false);
    bench.set_up("rs.u2.example", false);
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(120));
    let events = &bench.at::<Node>(ALICE).events;
    let told = events.iter().find_map(|(_, event)| match event {
        NodeEvent::TunnelFailed { peer, error, attempts } => Some((peer.clone(), error.clone(), attempts.clone())),
        _ => None,
    });
    let (peer, error, attempts) = told.unwrap_or_else(|| panic!("{events:?}"));
    assert_eq!((peer.name, error), (name(BOB), ConnectError::NoRelay));
    assert!(attempts.first().is_some_and(|first| first.relay.is_none() && first.outcome.is_err()), "{attempts:?}");
}

#[test]
fn a_round_trip_is_measured_inside_the_tunnel_one_at_a_time() {
    let mut bench = behind(None, None);
    bench.set_delay(ALICE, BOB, Duration::from_millis(35));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    let peer = Peer::named(name(BOB));
    for _ in 0..3 {
        bench.command::<Node>(ALICE, NodeCommand::Measure { peer: peer.clone() });
    }
    bench.run_for(Duration::from_secs(2));
    let events = &bench.at::<Node>(ALICE).events;
    let told: Vec<_> = events
        .iter()
        .filter_map(|(_, event)| match event {
            NodeEvent::RoundTrip { peer, took } => Some((peer.clone(), *took)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(peer, Duration::from_millis(70))]);
}
