//! What begins must end, whatever interrupts it: servers that are gone or have forgotten, moves at the wrong moment, an
//! application that leaves. On the bench.

use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_proto::node::{ConnectError, JoinError, Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{connect, coordinator, heard, join, joined, network, notification_server, outcome, say};
use std::collections::BTreeSet;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";

fn choices(changes: &[(Kind, &str)]) -> Choices {
    let mut choices = Choices::default();
    for (kind, name) in changes {
        choices.set(*kind, *name);
    }
    choices
}

fn two_nodes(seed: u64, choices: &Choices) -> Bench {
    let mut bench = network(seed, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    assert!(joined(&mut bench, ALICE) && joined(&mut bench, BOB), "{:?}", bench.counters);
    bench
}

fn assert_connected(bench: &mut Bench, who: &str, waiter: u64) {
    let told = outcome(bench, who, waiter);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{who} {waiter}: {told:?} {:?}", bench.counters);
}

fn tunnels(bench: &mut Bench, who: &str) -> usize {
    bench.at::<Node>(who).machine.tunnels().tunnels().len()
}

#[test]
fn everybody_who_waits_for_a_coordinator_that_is_gone_is_told_not_only_the_first() {
    let choices = Choices::default();
    let mut bench = two_nodes(1, &choices);
    join(&mut bench, "carol@u1.example", &choices, "192.0.2.201", None);
    join(&mut bench, "dave@u2.example", &choices, "192.0.2.202", None);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    bench.set_up("dc.u2.example", false);
    connect(&mut bench, ALICE, "dave.u2.example", 2);
    bench.run_for(Duration::from_secs(5));
    connect(&mut bench, "carol.u1.example", "dave.u2.example", 3);
    bench.run_for(Duration::from_secs(30));
    for (who, waiter) in [(ALICE, 2), ("carol.u1.example", 3)] {
        let told = outcome(&mut bench, who, waiter);
        let why = matches!(told, Some(NodeEvent::ConnectFailed { error: ConnectError::ServerUnreachable(_), .. }));
        assert!(why, "{who}: {told:?} {:?}", bench.counters);
    }
}

/// One key seals the request and the other the response: when the response is lost, the request is still understood.
#[test]
fn a_lost_tunnel_response_costs_a_repetition_not_the_direct_path() {
    for protection in ["one-key", "two-keys"] {
        let mut bench = two_nodes(2, &choices(&[(Kind::Protection, protection)]));
        connect(&mut bench, ALICE, BOB, 1);
        while bench.count("node.tunnel_built") == 0 {
            bench.run_for(Duration::from_millis(1));
        }
        bench.set_up(ALICE, false);
        bench.run_for(Duration::from_millis(15));
        bench.set_up(ALICE, true);
        bench.run_for(Duration::from_secs(3));
        match outcome(&mut bench, ALICE, 1) {
            Some(NodeEvent::Connected { connection, .. }) => assert_eq!(connection.relay, None, "{protection}"),
            told => panic!("{protection}: {told:?} {:?}", bench.counters),
        }
        assert_eq!(bench.count("node.direct_failed"), 0, "{protection}");
    }
}

#[test]
fn a_move_in_the_middle_of_a_set_up_delays_it_by_seconds_at_most() {
    for mover in [ALICE, BOB] {
        for after in (0..160).step_by(5) {
            let mut bench = two_nodes(3, &Choices::default());
            connect(&mut bench, ALICE, BOB, 1);
            bench.run_for(Duration::from_millis(after));
            let outside = (mover == ALICE).then_some("198.51.100.77");
            bench.move_to(mover, &["192.0.2.200"], outside);
            bench.run_for(Duration::from_secs(20));
            let told = outcome(&mut bench, ALICE, 1);
            let stands = matches!(told, Some(NodeEvent::Connected { .. }));
            assert!(stands, "{mover} after {after} ms: {told:?} {:?}", bench.counters);
            assert!(say(&mut bench, ALICE, BOB, b"hello"), "{mover} after {after} ms");
            bench.run_for(Duration::from_secs(1));
            assert_eq!(heard(&bench, BOB, b"hello"), 1, "{mover} after {after} ms {:?}", bench.counters);
        }
    }
}

#[test]
fn both_ends_may_move_at_once_and_keep_their_tunnel() {
    for apart in [0, 5, 15, 25, 40, 100] {
        let mut bench = two_nodes(4, &Choices::default());
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(Duration::from_secs(2));
        bench.move_to(ALICE, &["10.7.7.7"], Some("198.51.100.77"));
        bench.run_for(Duration::from_millis(apart));
        bench.move_to(BOB, &["192.0.2.200"], None);
        bench.run_for(Duration::from_secs(10));
        for who in [ALICE, BOB] {
            let closed = bench.at::<Node>(who).events.iter().any(|(_, e)| matches!(e, NodeEvent::TunnelClosed { .. }));
            assert!(!closed, "{who}, {apart} ms apart: {:?}", bench.counters);
        }
        assert!(say(&mut bench, ALICE, BOB, b"there") && say(&mut bench, BOB, ALICE, b"back"));
        bench.run_for(Duration::from_secs(1));
        assert_eq!((heard(&bench, BOB, b"there"), heard(&bench, ALICE, b"back")), (1, 1), "{apart} ms apart");
    }
}

#[test]
fn a_notification_server_that_has_forgotten_everything_serves_its_nodes_again() {
    let mut bench = two_nodes(5, &choices(&[(Kind::Reachability, "tcp-ns")]));
    bench.lose_store("ns.u2.example");
    let machine = notification_server(&mut bench, "ns.u2.example");
    bench.restart("ns.u2.example", machine);
    bench.run_for(Duration::from_secs(60));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(5));
    assert_connected(&mut bench, ALICE, 1);
}

#[test]
fn nodes_come_back_to_a_coordinator_that_has_forgotten_everything() {
    for login in ["via-as", "via-dc"] {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = two_nodes(6, &choices);
        bench.lose_store("dc.u2.example");
        let machine = coordinator(&mut bench, 1, &choices);
        bench.restart("dc.u2.example", machine);
        bench.run_for(Duration::from_secs(300));
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(Duration::from_secs(60));
        assert_connected(&mut bench, ALICE, 1);
    }
}

/// `via-dc` renews keys without the AS, but what the AS signed ends one day.
#[test]
fn a_node_that_renews_its_key_for_days_still_has_a_voucher_that_holds() {
    let choices = choices(&[(Kind::Login, "via-dc"), (Kind::Agreement, "public-key"), (Kind::Reachability, "tcp-ns")]);
    let mut bench = network(7, &choices);
    let voucher_lifetime = Duration::from_secs(36 * 3_600);
    let config = AccountServerConfig { voucher_lifetime, ..AccountServerConfig::default() };
    let machine = AccountServer::new(config, [9; 32], bench.entropy());
    bench.restart("as.example", machine);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", &choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(4 * 24 * 3_600));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(60));
    assert_connected(&mut bench, ALICE, 1);
}

#[test]
fn who_leaves_is_gone_at_once_tells_the_peer_and_stays_away() {
    let mut bench = two_nodes(8, &Choices::default());
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    bench.command::<Node>(ALICE, NodeCommand::Leave);
    bench.run_for(Duration::from_secs(40));
    assert_eq!((tunnels(&mut bench, ALICE), tunnels(&mut bench, BOB)), (0, 0), "{:?}", bench.counters);
    let said = |bench: &Bench| bench.crossed.iter().filter(|crossed| crossed.from == name(ALICE)).count();
    let before = said(&bench);
    bench.move_to(ALICE, &["10.7.7.7"], Some("198.51.100.77"));
    bench.run_for(Duration::from_secs(25 * 3_600));
    assert_eq!(said(&bench), before, "it neither moves nor renews its key");
    bench.command::<Node>(ALICE, NodeCommand::Join);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 2);
    bench.run_for(Duration::from_secs(2));
    assert_connected(&mut bench, ALICE, 2);
}

#[test]
fn who_waits_for_a_tunnel_is_told_when_its_node_leaves() {
    for after in (0..160).step_by(10) {
        let mut bench = two_nodes(9, &Choices::default());
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(Duration::from_millis(after));
        bench.command::<Node>(ALICE, NodeCommand::Leave);
        assert!(outcome(&mut bench, ALICE, 1).is_some(), "after {after} ms");
    }
}

#[test]
fn a_join_that_its_application_gives_up_is_told() {
    for after in (0..100).step_by(10) {
        let choices = Choices::default();
        let mut bench = network(10, &choices);
        join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
        bench.run_for(Duration::from_millis(after));
        let joined_already = joined(&mut bench, ALICE);
        bench.command::<Node>(ALICE, NodeCommand::Leave);
        bench.run_for(Duration::from_secs(60));
        let events: Vec<_> = bench.at::<Node>(ALICE).events.iter().map(|(_, event)| event.clone()).collect();
        match &events[..] {
            [NodeEvent::JoinFailed(JoinError::Left)] => assert!(!joined_already),
            [NodeEvent::Joined { .. }] => assert!(joined_already),
            other => panic!("after {after} ms: {other:?}"),
        }
    }
}

/// A server that grants keys which end at once must not make a node do nothing but log in.
#[test]
fn a_key_without_a_life_is_refused_at_once() {
    for lifetime in [0, 9] {
        let choices = Choices::default();
        let mut bench = network(11, &choices);
        let config =
            AccountServerConfig { key_lifetime: Duration::from_secs(lifetime), ..AccountServerConfig::default() };
        let machine = AccountServer::new(config, [9; 32], bench.entropy());
        bench.restart("as.example", machine);
        join(&mut bench, "alice@u1.example", &choices, "203.0.113.4", None);
        bench.run_for(Duration::from_secs(60));
        let events: Vec<_> = bench.at::<Node>(ALICE).events.iter().map(|(_, event)| event.clone()).collect();
        assert!(matches!(&events[..], [NodeEvent::JoinFailed(_)]), "{events:?}");
        assert!(bench.tls_frames.len() <= 4, "{} frames", bench.tls_frames.len());
    }
}

/// What was begun and put off ends in the trace too: no span is without its parent.
#[test]
fn a_start_that_is_put_off_leaves_nothing_dangling_in_the_trace() {
    let mut bench = two_nodes(12, &Choices::default());
    bench.sever(ALICE, "dc.u1.example");
    bench.run_for(Duration::from_secs(120));
    bench.mend(ALICE, "dc.u1.example");
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(90));
    assert_connected(&mut bench, ALICE, 1);
    let known: BTreeSet<_> = bench.spans.iter().map(|(_, span)| span.context.span).collect();
    let dangling: Vec<_> = bench
        .spans
        .iter()
        .filter(|(_, span)| span.parent.is_some_and(|parent| !known.contains(&parent)))
        .map(|(who, span)| (who, &span.name))
        .collect();
    assert!(dangling.is_empty(), "{dangling:?} {:?}", bench.counters);
}
