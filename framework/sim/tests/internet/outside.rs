//! Whatever real kernels send: nothing vanishes uncounted, and what comes out is right to the last checksum.

use crate::driven::{milliseconds, prefix};
use bytes::Bytes;
use ntmobile_proto::time::Instant;
use ntmobile_sim::clocked::ClockedNetwork;
use ntmobile_sim::network::{
    FirewallRecord, Fragment, Hairpin, IcmpError, IcmpKind, InterfaceId, LinkRecord, NatRecord, Network, NodeKind,
    Packet, Quoted, Transport, Unreachable, protocol,
};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Two hosts behind a NAT, one behind a firewall, one in the open; two links are narrow.
fn internet(seed: u64) -> (ClockedNetwork, Vec<InterfaceId>) {
    let mut network = Network::new(seed);
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    network.serve(core, prefix("203.0.113.0/24")).expect("a router");
    network.serve(core, prefix("2001:db8::/64")).expect("a router");
    let narrow = LinkRecord { mtu: 600, loss: 0.05, duplication: 0.05, reordering: 0.05, ..milliseconds(3) };
    let nat = NatRecord { hairpin: Hairpin::ExternalSource, ..NatRecord::default() };
    let mut below = |name: &str, kind, link: LinkRecord, prefixes: [&str; 2]| {
        let node = network.add_node(name, kind).expect("a new name");
        for text in prefixes {
            network.serve(node, prefix(text)).expect("a router");
        }
        network.attach(node, core, link).expect("addresses are left");
        node
    };
    let nat = below("nat", NodeKind::Nat(nat), narrow, ["10.0.0.0/24", "2001:db8:1::/64"]);
    let firewall = NodeKind::Firewall(FirewallRecord::default());
    let firewall = below("firewall", firewall, narrow, ["198.51.100.0/24", "2001:db8:2::/64"]);
    let hosts = [("alice", nat), ("bob", nat), ("carol", firewall), ("dave", core)];
    let interfaces = hosts.map(|(name, at)| {
        let host = network.add_node(name, NodeKind::Host).expect("a new name");
        let interface = network.attach(host, at, milliseconds(1)).expect("addresses are left");
        network.open(interface);
        interface
    });
    (ClockedNetwork::new(network), interfaces.to_vec())
}

/// Addresses of the hosts, of the NAT, of nobody, and of whoever may not be spoken to.
const ADDRESSES: [&str; 7] =
    ["10.0.0.2", "10.0.0.3", "198.51.100.2", "203.0.113.4", "203.0.113.2", "203.0.113.99", "192.0.2.1"];
const ADDRESSES_V6: [&str; 5] = ["2001:db8:1::2", "2001:db8:2::2", "2001:db8::4", "2001:db8:1::99", "2001:db8:77::1"];

fn addresses() -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let pair = |texts: &'static [&'static str]| {
        let one = || prop::sample::select(texts).prop_map(|text| text.parse().expect("an address"));
        (one(), one())
    };
    prop_oneof![4 => pair(&ADDRESSES), 1 => pair(&ADDRESSES_V6)]
}

fn payload() -> impl Strategy<Value = Bytes> {
    let zeros = prop_oneof![2usize..100, 500usize..1_500].prop_map(|length| Bytes::from(vec![0; length]));
    prop_oneof![zeros, proptest::collection::vec(any::<u8>(), 2..64).prop_map(Bytes::from)]
}

fn quoted() -> impl Strategy<Value = Quoted> {
    let protocols = prop::sample::select(vec![protocol::ICMP, protocol::UDP, protocol::TCP, 50]);
    let ports = prop::sample::select(vec![0x0800, 0, 1_000, 1_001]);
    (addresses(), ports.clone(), ports, protocols, any::<([u8; 4], u16)>()).prop_map(
        |((source, destination), from, to, protocol, (rest, length))| Quoted {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
            protocol,
            hop_limit: 3,
            dont_fragment: true,
            identification: 7,
            length,
            rest,
        },
    )
}

fn packets() -> impl Strategy<Value = Option<Packet>> {
    let port = || prop::sample::select(vec![1_000u16, 1_001, 80]);
    let kinds = prop::sample::select(vec![
        IcmpKind::PacketTooBig { mtu: 576 },
        IcmpKind::TimeExceeded,
        IcmpKind::Unreachable(Unreachable::Port),
    ]);
    let transport = prop_oneof![
        (port(), port(), payload()).prop_map(|(source, destination, payload)| Transport::Udp {
            source,
            destination,
            payload
        }),
        (port(), port(), any::<[u8; 20]>()).prop_map(|(source, destination, head)| {
            Transport::Tcp { source, destination, segment: Bytes::copy_from_slice(&head) }
        }),
        (any::<bool>(), port(), payload()).prop_map(|(is_request, identifier, rest)| Transport::Echo {
            is_request,
            identifier,
            rest
        }),
        (kinds, quoted()).prop_map(|(kind, quoted)| Transport::Icmp(Box::new(IcmpError { kind, quoted }))),
        (0u16..4, any::<bool>(), payload(), prop::sample::select(vec![protocol::UDP, protocol::ICMP])).prop_map(
            |(unit, more, bytes, protocol)| Transport::Fragment(Fragment { protocol, offset: unit * 8, more, bytes })
        ),
    ];
    (addresses(), transport, any::<bool>(), 0u8..5).prop_map(|((from, to), transport, whole, hops)| {
        let packet = Packet::new(from, to, transport).ok()?;
        Some(packet.with_dont_fragment(whole && from.is_ipv4()).with_hop_limit(hops * 16).with_identification(7))
    })
}

proptest! {
    #[test]
    fn what_comes_out_is_sound_and_nothing_vanishes(
        seed in any::<u64>(),
        sent in proptest::collection::vec((packets(), 0usize..4, 0u64..40), 0..120),
    ) {
        let (mut network, interfaces) = internet(seed);
        let (mut now, mut handed_out) = (Instant::ORIGIN, Vec::new());
        for (packet, from, pause) in sent {
            now += Duration::from_millis(pause);
            // As the edge takes it in: from the bytes that a kernel would send.
            let Some(Ok(packet)) = packet.map(|packet| Packet::admit(&packet.to_bytes())) else { continue };
            // Most leave from where they say that they do.
            let is_of = |interface: &&InterfaceId| {
                network.network().interface_addresses(**interface).any(|address| address == packet.source())
            };
            let owner = interfaces.iter().find(is_of).filter(|_| from != 0);
            network.emit(now, *owner.unwrap_or(&interfaces[from]), packet);
            handed_out.extend(network.advance(now));
        }
        while let Some(at) = network.next_at() {
            handed_out.extend(network.advance(at));
        }
        prop_assert!(handed_out.windows(2).all(|pair| pair[0].at <= pair[1].at));
        for one in &handed_out {
            let bytes = one.packet.to_bytes();
            prop_assert_eq!(Packet::from_bytes(&bytes).map(|again| again.to_bytes()), Ok(bytes));
        }
        let all = network.network().totals();
        prop_assert_eq!(all.delivered, handed_out.len() as u64);
        prop_assert_eq!(
            all.originated + all.duplicated + all.split,
            all.delivered + all.all_dropped() + all.merged + network.network().in_flight()
        );
    }
}
