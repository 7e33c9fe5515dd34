//! What holds of every network: nothing vanishes, cut packets become whole again, one seed gives one run.

use crate::driven::{Driven, prefix};
use bytes::Bytes;
use ntmobile_proto::time::Instant;
use ntmobile_sim::network::{
    Dependence, FirewallRecord, Fragments, Hairpin, LinkRecord, NatRecord, Network, NodeId, NodeKind, Packet,
    PortAllocation, Refresh,
};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

fn links() -> impl Strategy<Value = LinkRecord> {
    let chances = (0.0..0.3f64, 0.0..0.3f64, 0.0..0.3f64);
    let limits = (proptest::option::of(100_000..10_000_000u64), 1..20usize, proptest::option::of(1_500..10_000usize));
    (0..20_000u64, 0..5_000u64, chances, limits, 68..2_000usize).prop_map(|(delay, jitter, chances, limits, mtu)| {
        LinkRecord {
            delay: Duration::from_micros(delay),
            jitter: Duration::from_micros(jitter),
            loss: chances.0,
            duplication: chances.1,
            reordering: chances.2,
            rate: limits.0,
            queue_packets: limits.1,
            queue_bytes: limits.2,
            mtu,
            ..LinkRecord::default()
        }
    })
}

fn middleboxes() -> impl Strategy<Value = NodeKind> {
    let fragments = prop_oneof![Just(Fragments::Reassemble), Just(Fragments::Drop)];
    let dependence = || prop::sample::select(Dependence::ALL.to_vec());
    let ports =
        prop::sample::select(vec![PortAllocation::Preserving, PortAllocation::Sequential, PortAllocation::Random]);
    let refresh = prop::sample::select(vec![Refresh::Outbound, Refresh::Inbound, Refresh::Both]);
    let hairpin = prop::sample::select(vec![Hairpin::Off, Hairpin::ExternalSource, Hairpin::InternalSource]);
    let nat = (dependence(), dependence(), ports, refresh, hairpin, fragments.clone(), 1..10usize, 1..4u8).prop_map(
        |(mapping, filtering, ports, refresh, hairpin, fragments, max_mappings, addresses)| {
            NodeKind::Nat(NatRecord {
                mapping,
                filtering,
                ports,
                refresh,
                hairpin,
                fragments,
                max_mappings,
                addresses,
                expiry: Duration::from_millis(50),
                ..NatRecord::default()
            })
        },
    );
    let firewall = (any::<bool>(), any::<bool>(), fragments).prop_map(|(blocks_udp, stateful, fragments)| {
        NodeKind::Firewall(FirewallRecord { blocks_udp, stateful, fragments, ..FirewallRecord::default() })
    });
    prop_oneof![3 => nat, 1 => firewall, 1 => Just(NodeKind::Router)]
}

/// One datagram: after how long, from which host, to which, how large, whether it may be cut.
#[derive(Clone, Debug)]
struct Sent {
    after: Duration,
    from: usize,
    to: usize,
    size: usize,
    dont_fragment: bool,
}

fn traffic() -> impl Strategy<Value = Vec<Sent>> {
    let one = (0..20_000u64, 0..4usize, 0..5usize, 0..5_000usize, any::<bool>()).prop_map(
        |(after, from, to, size, dont_fragment)| Sent {
            after: Duration::from_micros(after),
            from,
            to,
            size,
            dont_fragment,
        },
    );
    proptest::collection::vec(one, 1..60)
}

/// Two hosts behind a middlebox, two at the core.
fn build(seed: u64, kind: &NodeKind, links: &[LinkRecord]) -> (Driven, NodeId, Vec<NodeId>) {
    let mut network = Network::new(seed);
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    let middlebox = network.add_node("middlebox", kind.clone()).expect("a new name");
    network.serve(core, prefix("203.0.113.0/24")).expect("a router");
    network.serve(middlebox, prefix("198.51.100.0/24")).expect("a router");
    network.attach(middlebox, core, links[0]).expect("addresses are left");
    let places = [("a", middlebox), ("b", middlebox), ("c", core), ("d", core)];
    let hosts = places.iter().zip(&links[1..]).map(|((name, to), link)| {
        let host = network.add_node(name, NodeKind::Host).expect("a new name");
        network.attach(host, *to, *link).expect("addresses are left");
        host
    });
    let hosts = hosts.collect();
    (Driven::new(network), middlebox, hosts)
}

/// Sends it all, answers to what arrives included; returns everything that was delivered, as bytes.
fn play(seed: u64, kind: &NodeKind, links: &[LinkRecord], traffic: &[Sent]) -> Vec<(Instant, NodeId, Bytes)> {
    let (mut driven, middlebox, hosts) = build(seed, kind, links);
    let outer = driven.ipv4(middlebox);
    let mut log = Vec::new();
    for sent in traffic {
        let until = driven.now + sent.after;
        for delivered in driven.run_until(until) {
            log.push((delivered.at, delivered.host, delivered.packet.to_bytes()));
            if let Some((from, to)) = delivered.packet.endpoints()
                && log.len() % 3 == 0
            {
                let answer = Packet::udp(to, from, Bytes::from_static(b"answer")).expect("one family");
                driven.send(delivered.host, answer);
            }
        }
        driven.now = until;
        let host = hosts[sent.from];
        let to = hosts.get(sent.to).map_or(outer, |to| driven.ipv4(*to));
        let from = SocketAddr::new(driven.ipv4(host), 5_000 + sent.from as u16);
        let packet = Packet::udp(from, SocketAddr::new(to, 5_000), vec![7; sent.size].into()).expect("one family");
        // The host may know by now that it is too big; that is an answer, not a packet.
        if driven.try_send(host, packet.with_dont_fragment(sent.dont_fragment)).is_ok() {
            driven.check_conservation();
        }
    }
    let rest = driven.run();
    log.extend(rest.into_iter().map(|delivered| (delivered.at, delivered.host, delivered.packet.to_bytes())));
    log
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn nothing_vanishes_and_one_seed_gives_one_run(
        seed: u64,
        kind in middleboxes(),
        links in proptest::collection::vec(links(), 5),
        traffic in traffic(),
    ) {
        let first = play(seed, &kind, &links, &traffic);
        prop_assert_eq!(first, play(seed, &kind, &links, &traffic));
    }

    #[test]
    fn cut_and_made_whole_is_the_same(
        size in 0..60_000usize,
        first in 68..9_000usize,
        second in 68..9_000usize,
        seed: u64,
    ) {
        let link = |mtu| LinkRecord { mtu, reordering: 0.3, duplication: 0.1, ..LinkRecord::default() };
        let links = [link(second), link(first), link(first), link(1_500), link(1_500)];
        let (mut driven, _, hosts) = build(seed, &NodeKind::Router, &links);
        let endpoint = |host: usize| SocketAddr::new(driven.ipv4(hosts[host]), 1);
        let payload: Bytes = (0..size).map(|byte| (byte % 251) as u8).collect();
        let packet = Packet::udp(endpoint(0), endpoint(2), payload.clone()).expect("one family");
        driven.send(hosts[0], packet);
        let delivered = driven.run();
        prop_assert!(!delivered.is_empty());
        prop_assert_eq!(crate::driven::Lab::payload_of(&delivered[0].packet), &payload);
    }
}

#[test]
fn another_seed_gives_another_run() {
    let link = LinkRecord { loss: 0.5, jitter: Duration::from_millis(1), ..LinkRecord::default() };
    let sent = Sent { after: Duration::from_millis(1), from: 0, to: 2, size: 10, dont_fragment: false };
    let kind = NodeKind::Nat(NatRecord::default());
    let run = |seed| play(seed, &kind, &[link; 5], &vec![sent.clone(); 50]);
    let (first, second) = (run(1), run(2));
    assert!(!first.is_empty());
    assert_ne!(first, second);
}

#[test]
fn one_more_link_does_not_shift_chance_for_the_others() {
    let link = LinkRecord { loss: 0.5, ..LinkRecord::default() };
    let run = |is_crowded: bool| {
        let mut network = Network::new(7);
        let core = network.add_node("core", NodeKind::Router).expect("a new name");
        network.serve(core, prefix("203.0.113.0/24")).expect("a router");
        if is_crowded {
            let other = network.add_node("other", NodeKind::Host).expect("a new name");
            network
                .attach_with(other, core, link, &[("203.0.113.200".parse().expect("an address"), 24)])
                .expect("fine");
        }
        let [from, to] = ["from", "to"].map(|name| {
            let host = network.add_node(name, NodeKind::Host).expect("a new name");
            network.attach(host, core, link).expect("addresses are left");
            host
        });
        let mut driven = Driven::new(network);
        let endpoint = |host| SocketAddr::new(driven.ipv4(host), 1);
        let packet = crate::driven::udp(endpoint(from), endpoint(to));
        let arrivals = (0..100).map(|_| {
            driven.send(from, packet.clone());
            driven.run().len()
        });
        arrivals.collect::<Vec<_>>()
    };
    let (alone, crowded) = (run(false), run(true));
    assert!(alone.contains(&0) && alone.contains(&1));
    assert_eq!(alone, crowded);
}
