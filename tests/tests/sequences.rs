//! The sequences between machines, on the bench: each completes, whatever is lost, repeated or started at once.

use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Trouble};
use ntmobile_tests::network::{at, connect, every_choice, join, joined, network, outcome};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, Session, Transaction};
use ntmobile_wire::key::{PublicKey, SecretText};
use ntmobile_wire::message::{Credential, LoginRequest};
use ntmobile_wire::name::Account;
use std::time::Duration;

fn two_nodes(seed: u64, choices: &Choices) -> Bench {
    let mut bench = network(seed, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", None);
    bench
}

fn assert_joined(bench: &mut Bench) {
    for who in ["alice.u1.example", "bob.u2.example"] {
        let is_joined = joined(bench, who);
        let counters = bench.counters.clone();
        assert!(is_joined, "{who}: {:?}, {counters:?}", bench.at::<Node>(who).events);
    }
}

fn assert_connected(bench: &mut Bench, who: &str, waiter: u64) {
    match outcome(bench, who, waiter) {
        Some(NodeEvent::Connected { .. }) => {}
        other => panic!("{who}: {other:?}, {:?}", bench.counters),
    }
}

#[test]
fn two_nodes_join_and_talk_directly_from_either_end() {
    for (from, to) in [("alice.u1.example", "bob.u2.example"), ("bob.u2.example", "alice.u1.example")] {
        let mut bench = two_nodes(1, &Choices::default());
        bench.run_for(Duration::from_secs(1));
        assert_joined(&mut bench);
        connect(&mut bench, from, to, 7);
        bench.run_for(Duration::from_secs(1));
        assert_connected(&mut bench, from, 7);
        let tables: Vec<_> = [from, to].iter().map(|who| bench.at::<Node>(who).machine.tunnels().tunnels()).collect();
        assert_eq!((tables[0].len(), tables[1].len()), (1, 1));
        assert_eq!(tables[0][0].settings().spi_in, tables[1][0].settings().spi_out);
        assert_eq!(tables[0][0].settings().spi_out, tables[1][0].settings().spi_in);
    }
}

#[test]
fn every_sequence_completes_when_a_third_is_lost_and_much_is_repeated_and_overtaken() {
    for seed in 0..40 {
        let mut bench = two_nodes(seed, &Choices::default());
        bench.trouble = Trouble { loss: 0.3, duplication: 0.2, reordering: 0.2 };
        bench.run_for(Duration::from_secs(120));
        assert_joined(&mut bench);
        connect(&mut bench, "alice.u1.example", "bob.u2.example", 1);
        bench.run_for(Duration::from_secs(120));
        assert_connected(&mut bench, "alice.u1.example", 1);
    }
}

/// The delay is 10 ms, a whole set-up takes less than 200: every millisecond between is a different interleaving.
#[test]
fn both_ends_starting_at_once_get_one_tunnel_at_every_interleaving() {
    for first in ["alice.u1.example", "bob.u2.example"] {
        let second = if first.starts_with("alice") { "bob.u2.example" } else { "alice.u1.example" };
        for offset in 0..200 {
            let mut bench = two_nodes(offset, &Choices::default());
            bench.run_for(Duration::from_secs(1));
            connect(&mut bench, first, second, 1);
            bench.run_for(Duration::from_millis(offset));
            connect(&mut bench, second, first, 2);
            bench.run_for(Duration::from_secs(60));
            assert_connected(&mut bench, first, 1);
            assert_connected(&mut bench, second, 2);
            let ours = bench.at::<Node>(first).machine.tunnels().tunnels();
            let theirs = bench.at::<Node>(second).machine.tunnels().tunnels();
            assert_eq!((ours.len(), theirs.len()), (1, 1), "offset {offset} ms");
            assert_eq!(ours[0].settings().spi_in, theirs[0].settings().spi_out, "offset {offset} ms");
        }
    }
}

#[test]
fn a_node_that_moves_keeps_its_peer_by_signalling_again() {
    for mover in ["alice.u1.example", "bob.u2.example"] {
        let other = if mover.starts_with("alice") { "bob.u2.example" } else { "alice.u1.example" };
        let mut bench = two_nodes(3, &Choices::default());
        bench.run_for(Duration::from_secs(1));
        connect(&mut bench, "alice.u1.example", "bob.u2.example", 1);
        bench.run_for(Duration::from_secs(1));
        let before = bench.at::<Node>(other).machine.tunnels().tunnels()[0].settings().spi_out;
        let outside = mover.starts_with("alice").then_some("198.51.100.77");
        bench.move_to(mover, &["192.0.2.200"], outside);
        bench.run_for(Duration::from_secs(2));
        let handed_over = bench
            .at::<Node>(mover)
            .events
            .iter()
            .any(|(_, event)| matches!(event, NodeEvent::TunnelBuilt { handover: true, .. }));
        assert!(handed_over, "{mover}: {:?}", bench.counters);
        bench.run_for(Duration::from_secs(60));
        let after = bench.at::<Node>(other).machine.tunnels().tunnels();
        assert_eq!(after.len(), 1, "the old tunnel is retired");
        assert_ne!(after[0].settings().spi_out, before, "new keys, new SPIs");
        assert_eq!(after[0].settings().peer.as_str(), mover);
    }
}

#[test]
fn an_idle_tunnel_ends_on_both_sides() {
    let mut bench = two_nodes(4, &Choices::default());
    bench.run_for(Duration::from_secs(1));
    connect(&mut bench, "alice.u1.example", "bob.u2.example", 1);
    bench.run_for(Duration::from_secs(299));
    assert_eq!(bench.at::<Node>("alice.u1.example").machine.tunnels().tunnels().len(), 1);
    bench.run_for(Duration::from_secs(10));
    for who in ["alice.u1.example", "bob.u2.example"] {
        assert_eq!(bench.at::<Node>(who).machine.tunnels().tunnels().len(), 0, "{who}");
    }
}

#[test]
fn every_combination_of_what_concerns_a_direct_tunnel_works() {
    let kinds = [Kind::Login, Kind::Reachability, Kind::Agreement, Kind::Protection, Kind::Movement];
    let combinations = every_choice(&kinds);
    assert_eq!(combinations.len(), 32);
    for choices in combinations {
        let mut bench = two_nodes(5, &choices);
        bench.run_for(Duration::from_secs(2));
        for who in ["alice.u1.example", "bob.u2.example"] {
            assert!(joined(&mut bench, who), "{who} with {choices:?}: {:?}", bench.counters);
        }
        connect(&mut bench, "bob.u2.example", "alice.u1.example", 1);
        bench.run_for(Duration::from_secs(2));
        let told = outcome(&mut bench, "bob.u2.example", 1);
        assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{choices:?}: {told:?} {:?}", bench.counters);
    }
}

/// Bob, who is reachable, starts: Alice is directed first and sends; her Tunnel Request overtakes Bob's Route Direction.
#[test]
fn a_tunnel_request_that_overtakes_its_direction_costs_no_retransmission() {
    let mut bench = two_nodes(6, &Choices::default());
    bench.run_for(Duration::from_secs(1));
    connect(&mut bench, "bob.u2.example", "alice.u1.example", 1);
    let started = bench.now;
    bench.run_for(Duration::from_secs(1));
    assert_connected(&mut bench, "bob.u2.example", 1);
    assert_eq!(bench.counters.get("signalling.retransmitted"), None, "{:?}", bench.counters);
    assert_eq!(bench.counters.get("node.early_tunnel_request"), Some(&1));
    let bob = bench.at::<Node>("bob.u2.example");
    let connected = bob.events.iter().find(|(_, event)| matches!(event, NodeEvent::Connected { .. }));
    // DNS 20, Key Sharing 40, then eight steps of 10: request, information asked and told, direction down to Alice in two,
    // acknowledgement back in two, direction to Bob.
    assert_eq!(connected.map(|(at, _)| at.since(started)), Some(Duration::from_millis(20 + 40 + 80)));
}

/// A node whose DC takes long to ask the AS logs in once more on another connection, in the same words: that is the same login.
#[test]
fn a_login_at_the_coordinator_that_comes_again_is_one_login() {
    let mut bench = network(8, &Choices::default());
    bench.passwords.insert("alice@u1.example".to_owned(), "right".to_owned());
    let message = LoginRequest {
        account: Account::parse("alice@u1.example").expect("an account"),
        credential: Credential::Password(SecretText::new("right")),
        application: ApplicationId(0),
        public_key: PublicKey([5; 32]),
    };
    let frame = Frame { transaction: Transaction(9), session: Session(7), message: message.into(), trace: None };
    for _ in 0..2 {
        bench.inject_tls("dc.u1.example", at("198.51.100.1"), None, frame.encode());
        bench.run_for(Duration::from_millis(1));
    }
    bench.run_for(Duration::from_secs(2));
    assert_eq!((bench.count("account.authenticated"), bench.count("tls.request_repeated")), (1, 1));
    assert_eq!(bench.sizes("dc.u1.example").of("keys"), 1, "{:?}", bench.sizes("dc.u1.example"));
}
