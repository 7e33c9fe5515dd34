//! What a small network does: routes, movement, fragments, errors, conservation.

mod outside;

use super::*;
use crate::agenda::Agenda;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// A network with the agenda that drives it.
pub(super) struct Driven {
    pub(super) network: Network,
    pub(super) agenda: Agenda<NetworkEvent>,
    pub(super) now: Instant,
}

impl Driven {
    pub(super) fn new(network: Network) -> Self {
        Self { network, agenda: Agenda::new(), now: Instant::ORIGIN }
    }

    pub(super) fn send(&mut self, host: NodeId, packet: Packet) {
        self.network.send(self.now, host, packet).expect("the host can send");
        self.collect();
    }

    pub(super) fn udp(&mut self, host: NodeId, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        self.send(host, Packet::udp(from, to, Bytes::copy_from_slice(payload)).expect("one family"));
    }

    fn collect(&mut self) {
        for (at, event) in self.network.drain_scheduled() {
            self.agenda.schedule(at, event);
        }
    }

    /// Lets everything happen that is under way; returns what was delivered, and when.
    pub(super) fn run(&mut self) -> Vec<(Instant, NodeId, Packet)> {
        let mut delivered: Vec<_> =
            self.network.drain_delivered().map(|(node, packet)| (self.now, node, packet)).collect();
        while let Some((at, event)) = self.agenda.pop() {
            self.now = at;
            self.network.handle(at, event);
            self.collect();
            delivered.extend(self.network.drain_delivered().map(|(node, packet)| (at, node, packet)));
        }
        self.check_conservation();
        delivered
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    pub(super) fn check_conservation(&self) {
        let all = self.network.totals();
        assert_eq!(
            all.originated + all.duplicated + all.split,
            all.delivered + all.all_dropped() + all.merged + self.network.in_flight(),
            "{all:?}"
        );
    }
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn milliseconds(count: u64) -> LinkRecord {
    LinkRecord::with_delay(Duration::from_millis(count))
}

/// A core with two access networks, and a host in each.
struct World {
    driven: Driven,
    access: [NodeId; 2],
    hosts: [NodeId; 2],
    interfaces: [InterfaceId; 2],
}

fn world(link: LinkRecord) -> World {
    let mut network = Network::new(7);
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    network.serve(core, prefix("203.0.113.0/24")).expect("a router");
    network.serve(core, prefix("2001:db8::/64")).expect("a router");
    let mut make = |name: &str, served: [&str; 2]| {
        let access = network.add_node(name, NodeKind::Router).expect("a new name");
        for served in served {
            network.serve(access, prefix(served)).expect("a router");
        }
        network.attach(access, core, milliseconds(10)).expect("addresses are left");
        let host = network.add_node(&format!("host of {name}"), NodeKind::Host).expect("a new name");
        let interface = network.attach(host, access, link).expect("addresses are left");
        (access, host, interface)
    };
    let (access_a, host_a, interface_a) = make("a", ["198.51.100.0/25", "2001:db8:a::/64"]);
    let (access_b, host_b, interface_b) = make("b", ["198.51.100.128/25", "2001:db8:b::/64"]);
    World {
        driven: Driven::new(network),
        access: [access_a, access_b],
        hosts: [host_a, host_b],
        interfaces: [interface_a, interface_b],
    }
}

impl World {
    fn endpoint(&self, host: usize, ipv4: bool) -> SocketAddr {
        let addresses = self.driven.network.addresses(self.hosts[host]);
        let address = addresses.into_iter().find(|address| address.is_ipv4() == ipv4);
        SocketAddr::new(address.expect("an address of the family"), 1_000 + host as u16)
    }
}

#[test]
fn packets_find_their_way_and_take_the_sum_of_the_delays() {
    for ipv4 in [true, false] {
        let mut world = world(milliseconds(3));
        let (from, to) = (world.endpoint(0, ipv4), world.endpoint(1, ipv4));
        world.driven.udp(world.hosts[0], from, to, b"hello");
        let delivered = world.driven.run();
        assert_eq!(delivered.len(), 1);
        let (at, node, packet) = &delivered[0];
        assert_eq!((*at, *node), (Instant(26_000_000), world.hosts[1]));
        assert_eq!(packet.endpoints(), Some((from, to)));
        assert_eq!(packet.hop_limit(), DEFAULT_HOP_LIMIT - 3);
    }
}

#[test]
fn a_host_that_moves_gets_another_address_and_its_old_one_falls_silent() {
    let mut world = world(milliseconds(3));
    let (from, old) = (world.endpoint(0, true), world.endpoint(1, true));
    let mover = world.hosts[1];
    world.driven.udp(world.hosts[0], from, old, b"lost on the way");
    world.driven.network.detach(world.interfaces[1]);
    world.driven.network.attach(mover, world.access[0], milliseconds(3)).expect("addresses are left");
    let new = world.endpoint(1, true);
    assert_ne!(old.ip(), new.ip());
    world.driven.udp(world.hosts[0], from, old, b"to the old address");
    world.driven.udp(world.hosts[0], from, new, b"to the new address");
    let delivered = world.driven.run();
    assert_eq!(delivered.len(), 1);
    assert_eq!(delivered[0].2.destination(), new.ip());
    assert_eq!(world.driven.network.totals().dropped(DropReason::NoSuchHost), 2);
    let stale = Packet::udp(old, from, Bytes::new()).expect("one family");
    assert_eq!(world.driven.network.send(world.driven.now, mover, stale), Err(SendError::NotOurAddress(old.ip())));
}

#[test]
fn a_host_with_two_interfaces_sends_by_the_source_address_and_prefers_one() {
    let mut world = world(milliseconds(3));
    let host = world.hosts[0];
    let first = world.endpoint(0, true).ip();
    let second = world.driven.network.attach(host, world.access[1], milliseconds(1)).expect("addresses are left");
    assert_eq!(world.driven.network.addresses(host).len(), 4);
    assert_eq!(world.driven.network.source_for(host, "192.0.2.1".parse().expect("an address")), Some(first));
    let neighbour = world.endpoint(1, true);
    let near = world.driven.network.source_for(host, neighbour.ip()).expect("a source");
    assert_ne!(near, first, "the interface in the same network is nearer");
    world.driven.network.prefer(second);
    assert_eq!(world.endpoint(0, true).ip(), near);
    for (source, delay) in [(first, 26), (near, 4)] {
        let start = world.driven.now;
        world.driven.udp(host, SocketAddr::new(source, 1), neighbour, b"x");
        let delivered = world.driven.run();
        assert_eq!(delivered[0].0.since(start), Duration::from_millis(delay));
    }
    world.driven.network.set_link_up(second, false);
    assert_eq!(world.driven.network.source_for(host, neighbour.ip()), Some(first));
}

#[test]
fn ipv4_is_fragmented_on_the_way_and_made_whole_at_the_host() {
    let mut world = world(LinkRecord { mtu: 9_000, ..milliseconds(1) });
    let (from, to) = (world.endpoint(0, true), world.endpoint(1, true));
    let payload: Vec<u8> = (0..4_000u32).map(|byte| byte as u8).collect();
    world.driven.udp(world.hosts[0], from, to, &payload);
    let delivered = world.driven.run();
    let Transport::Udp { payload: received, .. } = delivered[0].2.transport() else { panic!("no datagram") };
    assert_eq!(received, &payload);
    assert_eq!(world.driven.network.totals().split, 2);
    assert_eq!(world.driven.network.totals().merged, 2);
}

#[test]
fn a_path_too_narrow_is_reported_and_remembered() {
    for ipv4 in [true, false] {
        let mut world = world(LinkRecord { mtu: 9_000, ..milliseconds(1) });
        let (from, to) = (world.endpoint(0, ipv4), world.endpoint(1, ipv4));
        let packet = Packet::udp(from, to, vec![0; 4_000].into()).expect("one family").with_dont_fragment(ipv4);
        world.driven.send(world.hosts[0], packet.clone());
        let delivered = world.driven.run();
        let Transport::Icmp(error) = delivered[0].2.transport() else { panic!("no error") };
        assert_eq!(error.kind, IcmpKind::PacketTooBig { mtu: 1_500 });
        assert_eq!((error.quoted.source, error.quoted.destination), (from, to));
        let again = world.driven.network.send(world.driven.now, world.hosts[0], packet.clone());
        if ipv4 {
            assert_eq!(again, Err(SendError::TooBig { mtu: 1_500 }));
        } else {
            // IPv6 is fragmented by its sender.
            assert_eq!(again, Ok(()));
            world.driven.collect();
            assert_eq!(world.driven.run().len(), 1);
        }
        world.driven.wait(Duration::from_secs(601));
        let later = world.driven.network.path_mtu(world.driven.now, world.hosts[0], from.ip(), to.ip());
        assert_eq!(later, 9_000);
    }
}

#[test]
fn hops_run_out_and_unknown_networks_are_reported() {
    let mut world = world(milliseconds(1));
    let (from, to) = (world.endpoint(0, true), world.endpoint(1, true));
    let nowhere: SocketAddr = "192.0.2.1:1".parse().expect("an address");
    let kinds = [
        (Packet::udp(from, to, Bytes::new()).expect("fine").with_hop_limit(2), IcmpKind::TimeExceeded),
        (Packet::udp(from, nowhere, Bytes::new()).expect("fine"), IcmpKind::Unreachable(Unreachable::Network)),
    ];
    for (packet, kind) in kinds {
        world.driven.send(world.hosts[0], packet);
        let delivered = world.driven.run();
        let Transport::Icmp(error) = delivered[0].2.transport() else { panic!("no error") };
        assert_eq!((delivered[0].1, error.kind), (world.hosts[0], kind));
        assert_eq!(delivered[0].2.source(), "203.0.113.1".parse::<IpAddr>().expect("an address"));
    }
}

#[test]
fn a_node_that_is_off_loses_what_comes_to_it() {
    let mut world = world(milliseconds(1));
    let (from, to) = (world.endpoint(0, true), world.endpoint(1, true));
    world.driven.network.set_node_up(world.hosts[1], false);
    world.driven.udp(world.hosts[0], from, to, b"x");
    assert!(world.driven.run().is_empty());
    assert_eq!(world.driven.network.counters(world.hosts[1]).dropped(DropReason::NodeDown), 1);
    world.driven.network.set_node_up(world.hosts[1], true);
    world.driven.udp(world.hosts[0], from, to, b"x");
    assert_eq!(world.driven.run().len(), 1);
}

#[test]
fn a_host_reaches_itself() {
    let mut world = world(milliseconds(1));
    let own = world.endpoint(0, true);
    world.driven.udp(world.hosts[0], own, own, b"x");
    let delivered = world.driven.run();
    assert_eq!((delivered[0].0, delivered[0].1), (Instant::ORIGIN, world.hosts[0]));
}

#[test]
fn impossible_networks_are_refused() {
    let mut network = Network::new(1);
    let host = network.add_node("host", NodeKind::Host).expect("a new name");
    let router = network.add_node("router", NodeKind::Router).expect("a new name");
    assert_eq!(network.add_node("host", NodeKind::Router), Err(BuildError::NameTaken("host".into())));
    assert_eq!(network.serve(host, prefix("192.0.2.0/24")), Err(BuildError::NotARouter("host".into())));
    assert_eq!(network.serve(router, prefix("192.0.2.0/32")), Err(BuildError::PrefixTooSmall(prefix("192.0.2.0/32"))));
    assert_eq!(network.attach(router, router, milliseconds(1)), Err(BuildError::ToItself("router".into())));
    network.serve(router, prefix("192.0.2.0/30")).expect("a router");
    network.attach(host, router, milliseconds(1)).expect("one address is left");
    assert!(matches!(network.attach(host, router, milliseconds(1)), Err(BuildError::PoolEmpty { .. })));
}

#[test]
fn a_detached_uplink_leaves_the_other_one_as_default() {
    let mut world = world(milliseconds(1));
    let host = world.hosts[0];
    world.driven.network.attach(host, world.access[1], milliseconds(1)).expect("addresses are left");
    world.driven.network.detach(world.interfaces[0]);
    world.driven.network.detach(world.interfaces[0]);
    let (from, to) = (world.endpoint(0, true), world.endpoint(1, true));
    world.driven.udp(host, from, to, b"x");
    assert_eq!(world.driven.run().len(), 1);
}

#[test]
fn a_network_with_two_uplinks_stays_reachable_by_the_one_that_is_left() {
    let mut world = world(milliseconds(1));
    let first = world.driven.network.interfaces(world.access[1])[0];
    let core = world.driven.network.node_of(world.driven.network.peer_of(first));
    world.driven.network.attach(world.access[1], core, milliseconds(10)).expect("addresses are left");
    let (from, to) = (world.endpoint(0, true), world.endpoint(1, true));
    world.driven.network.detach(first);
    world.driven.udp(world.hosts[0], from, to, b"there");
    world.driven.udp(world.hosts[1], to, from, b"and back");
    assert_eq!(world.driven.run().len(), 2);
    // Now the other one, which was announced later.
    let again = world.driven.network.attach(world.access[1], core, milliseconds(10)).expect("addresses are left");
    world.driven.network.detach(again);
    world.driven.udp(world.hosts[0], from, to, b"there");
    assert_eq!(world.driven.run().len(), 1);
    let last = world.driven.network.interfaces(world.access[1])[1];
    world.driven.network.detach(last);
    world.driven.udp(world.hosts[0], from, to, b"nowhere");
    let delivered = world.driven.run();
    let Transport::Icmp(error) = delivered[0].2.transport() else { panic!("no error") };
    assert_eq!(error.kind, IcmpKind::Unreachable(Unreachable::Network));
}
