//! Interfaces that lead out of the model: what passes them is left as it is, and only what belongs there passes.

use super::*;

/// The usual two hosts, whose network layers are outside.
fn open_world(link: LinkRecord) -> World {
    let mut world = world(link);
    for interface in world.interfaces {
        world.driven.network.open(interface);
    }
    world
}

impl World {
    fn emit(&mut self, host: usize, packet: Packet) -> Vec<(InterfaceId, Packet)> {
        self.driven.network.emit(self.driven.now, self.interfaces[host], packet);
        self.driven.collect();
        assert!(self.driven.run().is_empty(), "nothing is for the model's own hosts");
        self.driven.network.drain_handed_out().collect()
    }

    fn datagram(&self, from: usize, to: usize, ipv4: bool, length: usize) -> Packet {
        Packet::udp(self.endpoint(from, ipv4), self.endpoint(to, ipv4), vec![7; length].into()).expect("one family")
    }
}

#[test]
fn a_packet_crosses_as_it_is_but_for_its_hops() {
    for ipv4 in [true, false] {
        let mut world = open_world(milliseconds(3));
        let sent = world.datagram(0, 1, ipv4, 100).with_identification(if ipv4 { 4_711 } else { 0 });
        let handed_out = world.emit(0, sent.clone());
        assert_eq!(world.driven.now, Instant(26_000_000));
        assert_eq!(handed_out, [(world.interfaces[1], sent.with_hop_limit(DEFAULT_HOP_LIMIT - 3))]);
    }
}

#[test]
fn fragments_stay_fragments() {
    let mut world = open_world(milliseconds(3));
    let whole = world.datagram(0, 1, true, 4_000).with_identification(4_711);
    for piece in fragment::split(&whole, 1_500).expect("wide enough") {
        let handed_out = world.emit(0, piece.clone());
        assert_eq!(handed_out, [(world.interfaces[1], piece.with_hop_limit(DEFAULT_HOP_LIMIT - 3))]);
    }
}

#[test]
fn what_does_not_fit_the_link_is_cut_or_answered_at_once() {
    for ipv4 in [true, false] {
        let mut world = open_world(milliseconds(3));
        let sent = world.datagram(0, 1, ipv4, 1_600).with_dont_fragment(ipv4);
        let handed_out = world.emit(0, sent.clone());
        let [(interface, answer)] = &handed_out[..] else { panic!("one answer, not {handed_out:?}") };
        let Transport::Icmp(error) = answer.transport() else { panic!("an error, not {answer:?}") };
        assert_eq!((*interface, error.kind), (world.interfaces[0], IcmpKind::PacketTooBig { mtu: 1_500 }));
        assert_eq!(world.driven.now, Instant::ORIGIN, "the link is not crossed");
    }
    let mut world = open_world(milliseconds(3));
    assert_eq!(world.emit(0, world.datagram(0, 1, true, 1_600)).len(), 2);
}

#[test]
fn nobody_borrows_anothers_name() {
    let mut world = open_world(milliseconds(3));
    let borrowed = world.datagram(1, 0, true, 100);
    assert!(world.emit(0, borrowed).is_empty());
    let host = world.hosts[0];
    assert_eq!(world.driven.network.counters(host).dropped(DropReason::ForeignSource), 1);
}

#[test]
fn a_delegated_prefix_leads_out_until_its_interface_is_gone() {
    let mut world = open_world(milliseconds(3));
    let behind: SocketAddr = "192.0.2.9:9".parse().expect("an address");
    let there = || Packet::udp(world_endpoint(), behind, Bytes::new()).expect("one family");
    fn world_endpoint() -> SocketAddr {
        "198.51.100.130:1001".parse().expect("an address")
    }
    assert_eq!(world.endpoint(1, true), world_endpoint());
    let unreachable = world.emit(1, there());
    assert!(matches!(unreachable[0].1.transport(), Transport::Icmp(_)), "nobody knows the prefix yet");
    world.driven.network.delegate(world.interfaces[0], prefix("192.0.2.0/24"));
    assert_eq!(world.emit(1, there())[0].0, world.interfaces[0]);
    let back = Packet::udp(behind, world_endpoint(), Bytes::new()).expect("one family");
    assert_eq!(world.emit(0, back.clone())[0].0, world.interfaces[1]);
    world.driven.network.detach(world.interfaces[0]);
    assert!(!world.driven.network.is_open(world.interfaces[0]));
    assert!(matches!(world.emit(1, there())[0].1.transport(), Transport::Icmp(_)));
    assert!(world.emit(0, back).is_empty());
    assert_eq!(world.driven.network.counters(world.hosts[0]).dropped(DropReason::LinkDown), 1);
}

#[test]
fn a_host_that_is_off_neither_sends_nor_receives() {
    let mut world = open_world(milliseconds(3));
    world.driven.network.set_node_up(world.hosts[0], false);
    assert!(world.emit(0, world.datagram(0, 1, true, 100)).is_empty());
    assert!(world.emit(1, world.datagram(1, 0, true, 100)).is_empty());
    assert_eq!(world.driven.network.counters(world.hosts[0]).dropped(DropReason::NodeDown), 2);
}
