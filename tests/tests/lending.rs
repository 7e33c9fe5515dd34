//! A tunnel that needs an RS where only one of the two domains has one, or neither: the peer's DC lends its own.

use ntmobile_proto::direction_coordinator::{DirectionCoordinator, OwnServer};
use ntmobile_proto::node::{ConnectError, Node, NodeEvent};
use ntmobile_proto::relay_server::RelayServer;
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Trouble, name};
use ntmobile_tests::network::{
    DOMAINS, RELAYS, connect, coordinator_config, distinct_delays, heard, join, joined, network, outcome, say,
};
use ntmobile_wire::name::Fqdn;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const NATS: [Option<&str>; 2] = [Some("198.51.100.1"), Some("198.51.100.2")];

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// What differs at the DC of one of the domains.
#[derive(Clone, Copy, Default)]
struct Domain {
    has_relay: bool,
    lends: Option<usize>,
}

const WITH: Domain = Domain { has_relay: true, lends: None };
const WITHOUT: Domain = Domain { has_relay: false, lends: None };

/// Alice of the first domain and Bob of the second have joined, behind these NATs.
fn both_joined(choices: &Choices, domains: [Domain; 2], [alice, bob]: [Option<&str>; 2]) -> Bench {
    let mut bench = network(1, choices);
    distinct_delays(&mut bench);
    for (index, domain) in domains.into_iter().enumerate() {
        let mut config = coordinator_config(index, choices);
        if !domain.has_relay {
            config.relays = Vec::<OwnServer>::new();
        }
        config.lent_relays = domain.lends.unwrap_or(config.lent_relays);
        let machine = DirectionCoordinator::new(config, bench.entropy());
        bench.place(DOMAINS[index].1, machine, &[DOMAINS[index].2], None);
    }
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", alice);
    join(&mut bench, "bob@u2.example", choices, "10.0.0.3", bob);
    bench.run_for(seconds(2.0));
    for who in [ALICE, BOB] {
        assert!(joined(&mut bench, who), "{who}: {:?}", bench.counters);
    }
    bench
}

/// Through which relay a node is told that its tunnel goes.
fn relay_of(bench: &mut Bench, who: &str, waiter: u64) -> Option<Fqdn> {
    match outcome(bench, who, waiter) {
        Some(NodeEvent::Connected { connection, .. }) => connection.relay,
        other => panic!("{who}: {other:?}, {:?}", bench.counters),
    }
}

fn assert_talk(bench: &mut Bench, text: &str) {
    for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
        assert!(say(bench, from, to, text.as_bytes()), "{from} has a tunnel");
        bench.run_for(seconds(1.0));
        assert_eq!(heard(bench, to, text.as_bytes()), 1, "{from} to {to}: {text}");
    }
}

fn handshakes() -> [Choices; 2] {
    ["forwarded", "rendezvous"].map(|handshake| {
        let mut choices = Choices::default();
        choices.set(Kind::RelayHandshake, handshake);
        choices
    })
}

#[test]
fn a_first_tunnel_goes_through_whichever_relay_there_is() {
    for choices in handshakes() {
        for trouble in [0.0, 0.2] {
            for (domains, relay) in [([WITHOUT, WITH], RELAYS[1].0), ([WITH, WITHOUT], RELAYS[0].0)] {
                for (from, to) in [(ALICE, BOB), (BOB, ALICE)] {
                    let mut bench = both_joined(&choices, domains, NATS);
                    bench.trouble = Trouble { loss: trouble, duplication: trouble, reordering: trouble };
                    connect(&mut bench, from, to, 1);
                    bench.run_for(seconds(if trouble > 0.0 { 60.0 } else { 2.0 }));
                    assert_eq!(relay_of(&mut bench, from, 1), Some(name(relay)), "{from} to {to}");
                    bench.trouble = Trouble::default();
                    assert_talk(&mut bench, "over the one there is");
                    assert_eq!(bench.sizes(relay).of("relays"), 1);
                }
            }
        }
    }
}

/// Alice's domain has no RS. She moves while her tunnel goes through Bob's, and keeps it: without being told that it has ended, and
/// as soon as any handover.
#[test]
fn a_node_whose_domain_has_no_relay_moves_and_keeps_its_relayed_tunnel() {
    for choices in handshakes() {
        let took = [WITH, WITHOUT].map(|own| {
            let mut bench = both_joined(&choices, [own, WITH], NATS);
            connect(&mut bench, BOB, ALICE, 1);
            bench.run_for(seconds(2.0));
            assert_eq!(relay_of(&mut bench, BOB, 1), Some(name(RELAYS[1].0)));
            bench.move_to(ALICE, &["10.7.0.1"], Some("198.51.100.71"));
            let moved = bench.now;
            bench.run_for(seconds(2.0));
            let events = &bench.at::<Node>(ALICE).events;
            let closed = events.iter().find(|(_, event)| matches!(event, NodeEvent::TunnelClosed { .. }));
            assert_eq!(closed, None);
            let built = events.iter().find_map(|(at, event)| match event {
                NodeEvent::TunnelBuilt { handover: true, .. } => Some(at.since(moved)),
                _ => None,
            });
            assert_talk(&mut bench, "after the move");
            built.unwrap_or_else(|| panic!("{:?}", bench.counters))
        });
        assert!(took[1] < took[0] + seconds(0.1), "{took:?}");
    }
}

#[test]
fn without_a_relay_anywhere_the_failure_is_told_at_once() {
    let nobody = [[WITHOUT, WITHOUT], [WITHOUT, Domain { lends: Some(0), ..WITH }]];
    for domains in nobody {
        let mut bench = both_joined(&Choices::default(), domains, NATS);
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(seconds(1.0));
        match outcome(&mut bench, ALICE, 1) {
            Some(NodeEvent::ConnectFailed { error: ConnectError::NoRelay, .. }) => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(bench.count("signalling.retransmitted"), 0);
    }
}

/// A tunnel that was direct and would have to be relayed after a move, which it cannot be.
#[test]
fn a_move_to_where_only_a_relay_would_help_ends_the_tunnel() {
    let mut bench = both_joined(&Choices::default(), [WITHOUT, WITHOUT], [None, NATS[1]]);
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(seconds(2.0));
    assert_eq!(relay_of(&mut bench, ALICE, 1), None);
    bench.move_to(ALICE, &["10.7.0.1"], Some("198.51.100.71"));
    bench.run_for(seconds(1.0));
    let events = &bench.at::<Node>(ALICE).events;
    let closed =
        events.iter().any(|(_, event)| matches!(event, NodeEvent::TunnelClosed { reason: "handover failed", .. }));
    assert!(closed, "{events:?}");
}

/// The own RS is there and down: the other domain's takes over, at once while the own one rests.
#[test]
fn the_other_relay_takes_over_when_the_own_one_is_down() {
    let choices = Choices::default();
    let mut bench = both_joined(&choices, [WITH, WITH], NATS);
    join(&mut bench, "carol@u2.example", &choices, "10.0.0.4", Some("198.51.100.3"));
    bench.run_for(seconds(2.0));
    bench.set_up(RELAYS[0].0, false);
    for (waiter, peer, patience) in [(1, BOB, 10.5), (2, "carol.u2.example", 0.5)] {
        connect(&mut bench, ALICE, peer, waiter);
        bench.run_for(seconds(patience));
        assert_eq!(relay_of(&mut bench, ALICE, waiter), Some(name(RELAYS[1].0)));
    }
}

/// The lending domain's RS has lost its key with its DC.
#[test]
fn a_lent_relay_that_has_lost_its_key_is_asked_under_another() {
    let mut bench = both_joined(&Choices::default(), [WITHOUT, WITH], NATS);
    connect(&mut bench, BOB, ALICE, 1);
    bench.run_for(seconds(400.0));
    ntmobile_tests::network::place_relay(&mut bench, RELAYS[1].0, RELAYS[1].1);
    connect(&mut bench, ALICE, BOB, 2);
    bench.run_for(seconds(13.5));
    assert_eq!(relay_of(&mut bench, ALICE, 2), Some(name(RELAYS[1].0)));
}

/// A DC that asks for relays without end gets its share, whatever it calls them; one that is a member of no domain none.
#[test]
fn a_coordinator_is_lent_no_more_than_its_share() {
    let choices = Choices::default();
    let mut bench = both_joined(&choices, [WITHOUT, Domain { lends: Some(2), ..WITH }], NATS);
    for (number, asker) in ["carol", "dave", "erin"].into_iter().enumerate() {
        let outside = format!("198.51.100.{}", 10 + number);
        join(&mut bench, &format!("{asker}@u1.example"), &choices, &format!("10.0.1.{number}"), Some(&outside));
        bench.run_for(seconds(2.0));
        connect(&mut bench, &format!("{asker}.u1.example"), BOB, 1);
        bench.run_for(seconds(2.0));
    }
    let relayed = bench.at::<RelayServer>(RELAYS[1].0).machine.table().len();
    assert_eq!(relayed, 2);
    let told = outcome(&mut bench, "erin.u1.example", 1);
    assert!(matches!(told, Some(NodeEvent::ConnectFailed { error: ConnectError::NoRelay, .. })), "{told:?}");
    // Idle tunnels have ended in the meantime.
    bench.run_for(seconds(400.0));
    connect(&mut bench, "erin.u1.example", BOB, 2);
    bench.run_for(seconds(2.0));
    assert_eq!(relay_of(&mut bench, "erin.u1.example", 2), Some(name(RELAYS[1].0)));
}
