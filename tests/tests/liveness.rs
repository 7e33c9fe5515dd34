//! A standing tunnel whose other end dies, starts anew or only listens, on the bench.

use bytes::Bytes;
use ntmobile_proto::node::{ConnectError, Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::Choices;
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{connect, heard, join, network, node, open_packets, outcome, say};
use ntmobile_wire::datagram::encode_source_unknown;
use ntmobile_wire::identifier::{Session, Transaction};
use ntmobile_wire::message::SourceUnknown;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const TICK: Duration = Duration::from_millis(100);

/// Alice behind a NAT has a tunnel to Bob, through a relay where Bob is behind another.
fn talking(seed: u64, bob_outside: Option<&str>) -> Bench {
    let choices = Choices::default();
    let mut bench = network(seed, &choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", &choices, "203.0.113.5", bob_outside);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    let told = outcome(&mut bench, ALICE, 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {:?}", bench.counters);
    bench
}

/// Alice goes on talking until Bob hears her; how long that takes.
fn talk_until_heard(bench: &mut Bench, limit: Duration) -> Duration {
    let began = bench.now;
    while bench.now.since(began) < limit {
        let words = format!("at {:?}", bench.now);
        say(bench, ALICE, BOB, words.as_bytes());
        bench.run_for(TICK);
        if heard(bench, BOB, words.as_bytes()) > 0 {
            return bench.now.since(began);
        }
    }
    panic!("not heard within {limit:?}: {:?}", bench.counters);
}

fn restart_bob(bench: &mut Bench) {
    let machine = node(bench, "bob@u2.example", &Choices::default());
    bench.restart(BOB, machine);
    open_packets(bench, BOB);
    bench.run_for(Duration::ZERO);
    bench.command::<Node>(BOB, NodeCommand::Join);
}

fn closed(bench: &mut Bench, who: &str) -> Vec<&'static str> {
    let events = &bench.at::<Node>(who).events;
    let reason = |event: &NodeEvent| match event {
        NodeEvent::TunnelClosed { reason, .. } => Some(*reason),
        _ => None,
    };
    events.iter().filter_map(|(_, event)| reason(event)).collect()
}

fn tunnels(bench: &mut Bench, who: &str) -> usize {
    bench.at::<Node>(who).machine.tunnels().tunnels().len()
}

/// On a direct path the new process says that it does not have the tunnel: Alice asks at once, for 10 s.
#[test]
fn a_peer_that_starts_anew_hears_again_within_seconds() {
    let mut bench = talking(61, None);
    restart_bob(&mut bench);
    let took = talk_until_heard(&mut bench, Duration::from_secs(60));
    assert!(took <= Duration::from_secs(11), "{took:?} {:?}", bench.counters);
    assert_eq!(closed(&mut bench, ALICE), ["peer silent"]);
    let probe = bench.spans.iter().find(|(_, span)| span.name == "Tunnel Probe").expect("the trace shows it");
    assert!(probe.1.failure.is_some() && probe.1.end.since(probe.1.start) == Duration::from_secs(10));
}

/// Through a relay nobody says so: 10 s of silence, then 10 s of asking.
#[test]
fn a_peer_behind_a_relay_that_starts_anew_hears_again_after_twenty_seconds() {
    let mut bench = talking(62, Some("198.51.100.2"));
    restart_bob(&mut bench);
    let took = talk_until_heard(&mut bench, Duration::from_secs(60));
    assert!(took <= Duration::from_secs(21), "{took:?} {:?}", bench.counters);
    assert_eq!(closed(&mut bench, ALICE), ["peer silent"]);
}

#[test]
fn a_peer_that_is_dead_ends_the_tunnel_and_whoever_asks_for_it_is_told() {
    for bob_outside in [None, Some("198.51.100.2")] {
        let mut bench = talking(63, bob_outside);
        bench.set_up(BOB, false);
        for _ in 0..220 {
            say(&mut bench, ALICE, BOB, b"are you there?");
            bench.run_for(TICK);
        }
        assert_eq!(closed(&mut bench, ALICE), ["peer silent"], "{:?}", bench.counters);
        connect(&mut bench, ALICE, BOB, 2);
        bench.run_for(Duration::from_secs(20));
        let told = outcome(&mut bench, ALICE, 2);
        let is_typed = matches!(
            told,
            Some(NodeEvent::ConnectFailed {
                error: ConnectError::PeerAsleep(_) | ConnectError::PeerNotRegistered(_),
                ..
            })
        );
        assert!(is_typed, "{told:?} {:?}", bench.counters);
        assert_eq!(tunnels(&mut bench, ALICE), 0);
    }
}

#[test]
fn a_peer_that_only_listens_is_asked_once_in_ten_seconds_and_keeps_its_tunnel() {
    for loss in [0.0, 0.1] {
        let mut bench = talking(64, None);
        bench.trouble.loss = loss;
        for _ in 0..1_200 {
            assert!(say(&mut bench, ALICE, BOB, b"listen"));
            bench.run_for(TICK);
        }
        assert_eq!(closed(&mut bench, ALICE), [""; 0], "{:?}", bench.counters);
        let asked = bench.count("node.peer_probed");
        assert!((6..=12).contains(&asked), "{asked} times in two minutes, loss {loss}");
    }
}

#[test]
fn a_tunnel_that_nobody_uses_is_not_asked_about() {
    let mut bench = talking(65, None);
    bench.run_for(Duration::from_secs(250));
    assert_eq!(bench.count("node.peer_probed"), 0);
    assert_eq!(tunnels(&mut bench, ALICE), 1);
}

/// Anybody may say that a tunnel does not exist, as often as they like.
#[test]
fn a_lie_about_a_tunnel_costs_one_question_in_ten_seconds() {
    let mut bench = talking(66, None);
    let tunnel = bench.at::<Node>(ALICE).machine.tunnels().tunnels().remove(0);
    let lie = SourceUnknown { spi: tunnel.settings().spi_out };
    let lie: Bytes = encode_source_unknown(Transaction(0), Session(6), &lie);
    for _ in 0..1_000 {
        bench.inject(ALICE, tunnel.next_hop(), lie.clone());
        bench.run_for(TICK);
    }
    let asked = bench.count("node.peer_probed");
    assert!((9..=10).contains(&asked), "{asked} times in 100 s: {:?}", bench.counters);
    assert_eq!((closed(&mut bench, ALICE).len(), bench.count("node.peer_silent")), (0, 0));
    assert_eq!(tunnels(&mut bench, ALICE), 1);
}

/// A node that is nowhere has no reason to think that its peers are gone.
#[test]
fn a_node_on_the_move_keeps_its_tunnels_however_long_that_takes() {
    let mut bench = talking(67, None);
    bench.sever(ALICE, "dc.u1.example");
    bench.sever(ALICE, BOB);
    bench.move_to(ALICE, &["10.7.7.7"], Some("198.51.100.77"));
    for _ in 0..400 {
        say(&mut bench, ALICE, BOB, b"is anybody there?");
        bench.run_for(TICK);
    }
    bench.mend(ALICE, "dc.u1.example");
    bench.mend(ALICE, BOB);
    let took = talk_until_heard(&mut bench, Duration::from_secs(30));
    assert!(took <= Duration::from_secs(15), "{took:?}");
    assert_eq!(closed(&mut bench, ALICE), [""; 0], "{:?}", bench.counters);
}

/// The answer to a packet without a tunnel goes to whoever sent it, no more often than five times a second.
#[test]
fn packets_for_no_tunnel_are_answered_sparingly() {
    let mut bench = talking(68, None);
    restart_bob(&mut bench);
    let before = bench.crossed.len();
    for _ in 0..200 {
        say(&mut bench, ALICE, BOB, b"a flood");
        bench.run_for(Duration::from_millis(5));
    }
    let is_answer = |bytes: &Bytes| ntmobile_wire::datagram::decode_source_unknown(bytes).is_ok();
    let crossed =
        bench.crossed[before..].iter().filter(|crossed| crossed.from == name(BOB) && is_answer(&crossed.bytes));
    let answers = crossed.count();
    assert!((2..=6).contains(&answers), "{answers} in a second");
}
