//! NATs between real sockets: who is seen as whom, and who may answer (RFC 4787).

use crate::site::{Host, Living, Plan, delay, hears_nothing, receive};
use ntmobile_sim::network::{Dependence, NatRecord, NodeId, NodeKind, PortAllocation};
use std::net::{SocketAddr, UdpSocket};

/// A host behind a NAT, and two outside with two sockets each.
struct Lab {
    living: Living,
    nat: NodeId,
    inside: UdpSocket,
    outside: [UdpSocket; 3],
    /// Two of one host, one of the other.
    endpoints: [SocketAddr; 3],
    _hosts: Vec<Host>,
}

impl Lab {
    fn new(record: NatRecord) -> Self {
        let mut plan = Plan::new();
        let nat = plan.below_core("nat", NodeKind::Nat(record), delay(2), &["192.168.1.0/24"]);
        let core = plan.core;
        let [alice, carol, dave] =
            [("alice", nat), ("carol", core), ("dave", core)].map(|(name, at)| plan.host(name, at, delay(1)));
        let living = plan.live(&[&alice, &carol, &dave]);
        let inside = alice.udp(5_000);
        let outside = [carol.udp(1), carol.udp(2), dave.udp(1)];
        let endpoints = [carol.at(1), carol.at(2), dave.at(1)];
        Self { living, nat, inside, outside, endpoints, _hosts: vec![alice, carol, dave] }
    }

    /// As whom the inside is seen from one of the outside endpoints.
    fn seen_at(&self, outside: usize) -> SocketAddr {
        self.inside.send_to(b"out", self.endpoints[outside]).expect("the device takes it");
        receive(&self.outside[outside]).1
    }

    fn answers(&self, outside: usize, to: SocketAddr, gets_in: bool) {
        self.outside[outside].send_to(b"in", to).expect("the device takes it");
        if gets_in {
            assert_eq!(receive(&self.inside), (b"in".to_vec(), self.endpoints[outside]));
        } else {
            hears_nothing(&self.inside);
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_full_cone_shows_one_endpoint_and_lets_everybody_in() {
    let record = NatRecord { filtering: Dependence::EndpointIndependent, ..NatRecord::default() };
    let lab = Lab::new(record);
    let seen = lab.seen_at(0);
    assert!(seen.ip().to_string().starts_with("203.0.113."), "{seen}");
    for outside in 0..3 {
        lab.answers(outside, seen, true);
    }
    assert_eq!([lab.seen_at(1), lab.seen_at(2)], [seen, seen]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_symmetric_nat_shows_another_endpoint_to_everybody_and_lets_only_that_one_in() {
    let lab = Lab::new(NatRecord {
        mapping: Dependence::AddressAndPortDependent,
        ports: PortAllocation::Random,
        ..NatRecord::default()
    });
    let seen = lab.seen_at(0);
    assert_ne!(lab.seen_at(1), seen);
    assert_ne!(lab.seen_at(2), seen);
    lab.answers(0, seen, true);
    lab.answers(1, seen, false);
    lab.answers(2, seen, false);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_restricted_cone_lets_in_whose_address_was_sent_to() {
    let lab = Lab::new(NatRecord { filtering: Dependence::AddressDependent, ..NatRecord::default() });
    let seen = lab.seen_at(0);
    lab.answers(1, seen, true);
    lab.answers(2, seen, false);
    assert_eq!(lab.seen_at(2), seen);
    lab.answers(2, seen, true);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_nat_that_was_switched_off_has_forgotten() {
    let lab = Lab::new(NatRecord { ports: PortAllocation::Random, ..NatRecord::default() });
    let seen = lab.seen_at(0);
    lab.answers(0, seen, true);
    let nat = lab.nat;
    lab.living.internet.network(|network| {
        network.set_node_up(nat, false);
        network.set_node_up(nat, true);
    });
    lab.answers(0, seen, false);
    let again = lab.seen_at(0);
    assert_ne!(again, seen, "a new mapping has a port of its own");
    lab.answers(0, again, true);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_ping_and_large_datagrams_cross_a_nat() {
    let lab = Lab::new(NatRecord::default());
    let [alice, carol, _] = &lab._hosts[..] else { panic!("three hosts") };
    alice.namespace.must(&format!("ping -n -c 2 -i 0.1 -w 20 {}", carol.ipv4));
    alice.namespace.must(&format!("ping -n -c 2 -i 0.1 -w 20 -s 4000 {}", carol.ipv4));
    let large: Vec<u8> = (0..4_000u32).map(|number| number as u8).collect();
    lab.inside.send_to(&large, lab.endpoints[0]).expect("the device takes it");
    let (arrived, seen) = receive(&lab.outside[0]);
    assert!(arrived == large);
    lab.outside[0].send_to(&large, seen).expect("the device takes it");
    assert!(receive(&lab.inside).0 == large);
}
