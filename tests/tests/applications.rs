//! Two applications on one device, each with its own tunnel to the same peer: what concerns one leaves the other alone.

use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{Node, NodeCommand, NodeEvent};
use ntmobile_proto::packet::Tunnel;
use ntmobile_strategies::registry::Choices;
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{at, join, join_as, network, node_config};
use ntmobile_wire::identifier::ApplicationId;
use std::sync::Arc;
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
/// Where Bob's two applications are on the bench; a bench host has one signalling port.
const PLACES: [(&str, &str); 2] = [("bob@u2.example", "203.0.113.5"), ("bob2@u2.example", "203.0.113.6")];

/// Alice talks to two applications of Bob's device, of which the second is asked about in every test: whoever looks for a
/// tunnel to Bob by his name alone meets the first.
fn talking(rekey_after: Duration) -> Bench {
    let choices = Choices::default();
    let mut bench = network(51, &choices);
    bench.passwords.insert("alice@u1.example".to_owned(), "right".to_owned());
    let mut config = node_config("alice@u1.example", &choices, "right");
    config.rekey_after = rekey_after;
    let machine = Node::new(config, bench.entropy());
    join_as(&mut bench, machine, "alice@u1.example", "203.0.113.4", None);
    bench.passwords.insert("bob@u2.example".to_owned(), "right".to_owned());
    for (application, (place, address)) in (1..).zip(PLACES) {
        let mut config = node_config("bob@u2.example", &choices, "right");
        config.application = ApplicationId(application);
        let machine = Node::new(config, bench.entropy());
        join_as(&mut bench, machine, place, address, None);
    }
    bench.run_for(Duration::from_secs(2));
    for application in [1, 2] {
        let application = ApplicationId(application);
        let command = NodeCommand::Connect { waiter: application.0.into(), peer: name(BOB), application };
        bench.command::<Node>(ALICE, command);
    }
    bench.run_for(Duration::from_secs(2));
    assert_eq!(bench.count("node.tunnel_built"), 4, "{:?}", bench.counters);
    bench
}

/// Alice's tunnel to one of Bob's applications.
fn tunnel(bench: &mut Bench, application: u32) -> Option<Arc<Tunnel>> {
    let tunnels = bench.at::<Node>(ALICE).machine.tunnels().tunnels();
    tunnels.into_iter().find(|tunnel| tunnel.settings().application == ApplicationId(application))
}

#[test]
fn one_application_closes_its_own_tunnel_only() {
    let mut bench = talking(Duration::from_secs(3_600));
    bench.command::<Node>("bob2.u2.example", NodeCommand::Leave);
    bench.run_for(Duration::from_secs(1));
    let closed: Vec<_> = bench
        .at::<Node>(ALICE)
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            NodeEvent::TunnelClosed { peer, reason } => Some((peer.clone(), *reason)),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [(Peer { name: name(BOB), application: ApplicationId(2) }, "closed")]);
    assert!(tunnel(&mut bench, 1).is_some() && tunnel(&mut bench, 2).is_none());
}

#[test]
fn both_tunnels_get_new_keys() {
    let mut bench = talking(Duration::from_secs(60));
    bench.run_for(Duration::from_secs(75));
    for application in [1, 2] {
        let generation = tunnel(&mut bench, application).map(|tunnel| tunnel.generation());
        assert_eq!(generation, Some(1), "application {application}: {:?}", bench.counters);
    }
}

#[test]
fn one_application_is_followed_to_another_address_and_the_other_stays_where_it_is() {
    let mut bench = talking(Duration::from_secs(3_600));
    let far_end = bench.at::<Node>("bob2.u2.example").machine.tunnels().tunnels().remove(0);
    let (_, packet) = far_end.control(b"no message, but an authentic packet").expect("it fits");
    bench.arrive(ALICE, at("203.0.113.77"), packet);
    bench.run_for(Duration::from_secs(1));
    let hops = [1, 2].map(|application| tunnel(&mut bench, application).map(|tunnel| tunnel.next_hop()));
    assert_eq!(hops, [Some(at("203.0.113.5")), Some(at("203.0.113.77"))]);
}

#[test]
fn a_message_through_a_tunnel_that_was_replaced_is_not_taken_for_one_through_the_new() {
    let choices = Choices::default();
    let mut bench = network(52, &choices);
    join(&mut bench, "alice@u1.example", &choices, "203.0.113.4", None);
    join(&mut bench, "bob@u2.example", &choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    let command = NodeCommand::Connect { waiter: 1, peer: name(BOB), application: ApplicationId(0) };
    bench.command::<Node>(ALICE, command);
    bench.run_for(Duration::from_secs(2));
    let old = bench.at::<Node>(BOB).machine.tunnels().tunnels().remove(0);
    bench.move_to(ALICE, &["203.0.113.14"], None);
    bench.run_for(Duration::from_secs(2));
    assert_eq!(bench.count("node.tunnel_built"), 4, "{:?}", bench.counters);
    let (_, packet) = old.control(b"whatever").expect("it fits");
    bench.arrive(ALICE, at("203.0.113.5"), packet);
    bench.run_for(Duration::from_secs(1));
    assert_eq!(bench.count("node.control_stale"), 1, "{:?}", bench.counters);
    assert_eq!(bench.count("node.control_malformed"), 0);
}
