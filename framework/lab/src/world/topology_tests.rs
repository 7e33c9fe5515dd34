//! The tree is the scenario's, and delays in it are what a packet really takes.

use super::*;
use crate::scenario::builtin::BUILTIN;
use crate::scenario::network::{Firewall, Nat};
use crate::scenario::units::{ms, secs};

fn quickstart() -> (Network, Topology) {
    let scenario = BUILTIN[0].scenario().expect("a sound scenario");
    let mut network = Network::new(scenario.world.seed);
    let topology = Topology::build(&scenario, &mut network).expect("it can be built");
    (network, topology)
}

fn one_way(topology: &Topology, from: &str, to: &str) -> u128 {
    topology.one_way(from, to).expect("both are attached").as_millis()
}

#[test]
fn delays_add_up_along_the_only_way() {
    let (_, topology) = quickstart();
    assert_eq!(one_way(&topology, "alice.u1.example", "dave.u2.example"), 8 + 2);
    assert_eq!(one_way(&topology, "dave.u2.example", "alice.u1.example"), 8 + 2);
    assert_eq!(one_way(&topology, "alice.u1.example", "dc.u1.example"), 8 + 4);
    let within = topology.one_way("dc.u1.example", "rs1.u1.example").expect("both are there");
    assert_eq!(within, Duration::from_micros(500));
    assert_eq!(one_way(&topology, "dc.u1.example", "dc.u2.example"), 4 + 6);
    assert_eq!(one_way(&topology, "erin.u1.example", "dave.u2.example"), 3 + 15 + 2, "two NATs in a row");
    assert_eq!(one_way(&topology, "erin.u1.example", "bob.u2.example"), 3, "both behind the same carrier");
}

#[test]
fn a_host_that_moves_is_elsewhere() {
    let (mut network, mut topology) = quickstart();
    let host = topology.host("erin.u1.example").expect("she exists").node;
    let before = network.addresses(host);
    topology.detach("erin.u1.example", &mut network).expect("she is attached");
    assert!(topology.one_way("erin.u1.example", "dave.u2.example").is_err());
    assert!(network.addresses(host).is_empty());
    topology.attach("erin.u1.example", "lte", &mut network).expect("there is room");
    assert_eq!(one_way(&topology, "erin.u1.example", "dave.u2.example"), 20 + 2);
    assert_ne!(network.addresses(host), before);
}

#[test]
fn addresses_say_on_which_side_of_a_nat_a_host_is() {
    let (network, topology) = quickstart();
    let addresses = |name: &str| network.addresses(topology.host(name).expect("it exists").node);
    let is_private = |address: &IpAddr| matches!(address, IpAddr::V4(address) if address.is_private());
    assert!(addresses("alice.u1.example").iter().all(is_private));
    assert!(addresses("erin.u1.example").iter().all(is_private));
    assert_eq!(addresses("dave.u2.example").len(), 2, "both families");
    assert!(!addresses("dave.u2.example").iter().any(is_private));
    assert!(matches!(addresses("frank.u2.example")[..], [IpAddr::V6(_)]));
    assert_eq!(addresses("dc.u1.example").len(), 2, "servers are dual stack");
}

#[test]
fn the_same_scenario_gives_the_same_addresses() {
    let all = |(network, topology): (Network, Topology)| {
        topology.hosts().map(|(name, place)| (name.to_owned(), network.addresses(place.node))).collect::<Vec<_>>()
    };
    assert_eq!(all(quickstart()), all(quickstart()));
}

#[test]
fn a_network_has_room_for_whoever_may_come() {
    let mut builder = Scenario::builder()
        .duration(secs(1))
        .domain("u1.example", |domain| domain)
        .network("crowd", |network| network.nat(Nat::home()).delay(ms(1)));
    for number in 0..300 {
        builder = builder.node(format!("n{number}"), |node| node.domain("u1.example").network("crowd"));
    }
    let scenario = builder.build().expect("a sound scenario");
    let mut network = Network::new(1);
    Topology::build(&scenario, &mut network).expect("there is room for all");
}

#[test]
fn a_network_may_have_a_nat_and_a_firewall() {
    let scenario = Scenario::builder()
        .duration(secs(1))
        .domain("u1.example", |domain| domain)
        .network("office", |network| network.nat(Nat::home()).firewall(Firewall::BlocksUdp).delay(ms(7)))
        .node("alice", |node| node.domain("u1.example").network("office"))
        .build()
        .expect("a sound scenario");
    let mut network = Network::new(1);
    let topology = Topology::build(&scenario, &mut network).expect("it can be built");
    assert_eq!(one_way(&topology, "alice.u1.example", "dc.u1.example"), 7 + 2);
}
