//! A node that leaves while its tunnel is being replaced: at that moment its two ends do not have the same tunnel standing, and the
//! other end must notice all the same.

use ntmobile_proto::node::{Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::Choices;
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{connect, join, network, outcome, say};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{Session, Transaction};
use ntmobile_wire::message::Close;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";

/// Alice and Bob have a tunnel, and she has moved.
fn moving() -> Bench {
    let choices = Choices::default();
    let mut bench = network(61, &choices);
    join(&mut bench, "alice@u1.example", &choices, "203.0.113.4", None);
    join(&mut bench, "bob@u2.example", &choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    assert!(matches!(outcome(&mut bench, ALICE, 1), Some(NodeEvent::Connected { .. })));
    bench.move_to(ALICE, &["203.0.113.14"], None);
    bench
}

/// How often a node has been told that a tunnel was built.
fn built(bench: &mut Bench, who: &str) -> usize {
    let events = &bench.at::<Node>(who).events;
    events.iter().filter(|(_, event)| matches!(event, NodeEvent::TunnelBuilt { .. })).count()
}

fn run_until_built_again(bench: &mut Bench, who: &str) {
    for _ in 0..2_000 {
        if built(bench, who) == 2 {
            return;
        }
        bench.run_for(Duration::from_millis(1));
    }
    panic!("{who} has no new tunnel: {:?}", bench.counters);
}

fn assert_closed(bench: &mut Bench, who: &str) {
    let events = &bench.at::<Node>(who).events;
    let closed: Vec<_> = events.iter().filter(|(_, event)| matches!(event, NodeEvent::TunnelClosed { .. })).collect();
    assert!(matches!(closed[..], [(_, NodeEvent::TunnelClosed { reason: "closed", .. })]), "{closed:?}");
    // Those that a newer one has replaced receive for half a minute more.
    bench.run_for(Duration::from_secs(31));
    assert_eq!(bench.at::<Node>(who).machine.tunnels().len(), 0);
    assert_eq!(bench.sizes(who).of("peers"), 0);
}

/// Bob has the new tunnel when Alice, who waits for his response, leaves: she closes the old one, which is all that she has.
#[test]
fn the_end_that_has_the_new_tunnel_already_hears_it_in_the_old() {
    let mut bench = moving();
    run_until_built_again(&mut bench, BOB);
    assert_eq!(built(&mut bench, ALICE), 1);
    bench.command::<Node>(ALICE, NodeCommand::Leave);
    bench.run_for(Duration::from_millis(500));
    assert_closed(&mut bench, BOB);
}

/// Bob has the new tunnel and leaves at once; his Close overtakes the response that Alice waits for.
#[test]
fn the_end_that_has_the_old_tunnel_still_hears_it_in_the_new() {
    let mut bench = moving();
    run_until_built_again(&mut bench, BOB);
    // The response is on its way; nothing else of his arrives so soon.
    bench.set_delay(BOB, ALICE, Duration::from_millis(1));
    bench.command::<Node>(BOB, NodeCommand::Leave);
    bench.run_for(Duration::from_millis(500));
    assert_eq!(built(&mut bench, ALICE), 1, "what is closed before it stands is not told of");
    assert_closed(&mut bench, ALICE);
}

/// A tunnel that Bob has spoken through since is not closed by what he said in the one before.
#[test]
fn a_close_that_comes_late_in_the_old_tunnel_leaves_the_new_one_alone() {
    let mut bench = moving();
    let old = bench.at::<Node>(BOB).machine.tunnels().tunnels().remove(0);
    run_until_built_again(&mut bench, ALICE);
    assert!(say(&mut bench, BOB, ALICE, b"through the new one"));
    bench.run_for(Duration::from_millis(500));
    let close = Frame { transaction: Transaction(1), session: Session(1), message: Close.into(), trace: None };
    let (_, packet) = old.control(&close.encode()).expect("it fits");
    bench.arrive(ALICE, bench.seen_at(&name(BOB)), packet);
    bench.run_for(Duration::from_millis(500));
    assert_eq!(bench.count("node.control_stale"), 1);
    assert!(say(&mut bench, ALICE, BOB, b"and it stands"));
}
