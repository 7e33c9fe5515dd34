//! ICMP errors across NATs: translated with the packet that they are about, and ending no mapping (RFC 4787 REQ-12 and
//! REQ-13, RFC 5508).

use crate::driven::{Delivered, Lab, milliseconds, udp};
use bytes::Bytes;
use ntmobile_sim::network::{
    DropReason, Hairpin, IcmpError, IcmpKind, LinkRecord, NatRecord, Packet, SendError, Transport, Unreachable,
};
use std::net::SocketAddr;

fn error_of(delivered: &Delivered) -> &IcmpError {
    match delivered.packet.transport() {
        Transport::Icmp(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

const PORT_UNREACHABLE: IcmpKind = IcmpKind::Unreachable(Unreachable::Port);

#[test]
fn an_error_from_outside_comes_to_the_sender_and_ends_no_mapping_req_12() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let (source, destination) = (lab.inner(0, 5_000), lab.outer(0, 9));
    let sent = udp(source, destination);
    lab.driven.send(lab.inside[0], sent.clone());
    let arrived = lab.driven.run().remove(0);
    let seen = arrived.endpoints().0;
    let error = Packet::icmp_error(destination.ip(), PORT_UNREACHABLE, &arrived.packet).expect("an error");
    lab.driven.send(lab.outside[0], error);
    let delivered = lab.driven.run();
    assert_eq!(delivered[0].host, lab.inside[0]);
    assert_eq!(error_of(&delivered[0]).kind, PORT_UNREACHABLE);
    assert_eq!(error_of(&delivered[0]).quoted.source, source);
    assert_eq!(error_of(&delivered[0]).quoted.destination, destination);
    // The quoted bytes are again what the sender sent, its checksum included.
    assert_eq!(error_of(&delivered[0]).quoted.rest, sent.to_bytes()[24..28]);
    assert_eq!(lab.probe_out((0, 5_000), (0, 9)), Some(seen));
}

#[test]
fn an_error_from_inside_names_the_outer_endpoint() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    let carol = lab.outer(0, 1);
    lab.driven.send(lab.outside[0], udp(carol, outer));
    let arrived = lab.driven.run().remove(0);
    let error = Packet::icmp_error(lab.inner(0, 0).ip(), PORT_UNREACHABLE, &arrived.packet).expect("an error");
    lab.driven.send(lab.inside[0], error);
    let delivered = lab.driven.run();
    assert_eq!(delivered[0].host, lab.outside[0]);
    assert_eq!(delivered[0].packet.source(), outer.ip());
    assert_eq!(error_of(&delivered[0]).quoted.source, carol);
    assert_eq!(error_of(&delivered[0]).quoted.destination, outer);
}

#[test]
fn an_error_about_nothing_is_dropped() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    let invented = udp(SocketAddr::new(outer.ip(), outer.port() ^ 0x100), lab.outer(0, 1));
    let error = Packet::icmp_error(lab.outer(0, 0).ip(), PORT_UNREACHABLE, &invented).expect("an error");
    lab.driven.send(lab.outside[0], error);
    assert!(lab.driven.run().is_empty());
    assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::NatNoMapping), 1);
}

#[test]
fn errors_come_back_through_the_hairpin() {
    let mut lab = Lab::with_nat(NatRecord { hairpin: Hairpin::ExternalSource, ..NatRecord::default() });
    let alice = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    let bob = lab.probe_out((1, 6_000), (0, 1)).expect("the probe gets out");
    for (host, port, to) in [(1, 6_000, alice), (0, 5_000, bob)] {
        let source = lab.inner(host, port);
        lab.driven.send(lab.inside[host], udp(source, to));
    }
    let arrived = lab.driven.run().pop().expect("alice's probe");
    assert_eq!(arrived.host, lab.inside[1]);
    let error = Packet::icmp_error(lab.inner(1, 0).ip(), PORT_UNREACHABLE, &arrived.packet).expect("an error");
    lab.driven.send(lab.inside[1], error);
    let delivered = lab.driven.run();
    assert_eq!(delivered[0].host, lab.inside[0]);
    assert_eq!(error_of(&delivered[0]).quoted.source, lab.inner(0, 5_000));
    assert_eq!(error_of(&delivered[0]).quoted.destination, bob);
}

#[test]
fn a_packet_too_big_is_reported_in_the_senders_own_terms_req_13() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let narrow = LinkRecord { mtu: 1_000, ..milliseconds(1) };
    let outer = lab.probe_out((0, 5_000), (0, 1)).expect("the probe gets out");
    // Narrow on the NAT's outer link, then on its inner one: the NAT itself reports, to either side.
    let uplink = lab.driven.network.interfaces(lab.middlebox)[0];
    let inner_link = lab.driven.network.interfaces(lab.inside[0])[0];
    let (alice, carol) = (lab.inner(0, 5_000), lab.outer(0, 1));
    for (link, sender, source, destination) in
        [(uplink, lab.inside[0], alice, carol), (inner_link, lab.outside[0], carol, outer)]
    {
        lab.driven.network.set_link(link, narrow).expect("a sensible link");
        let packet = Packet::udp(source, destination, Bytes::from(vec![0; 1_200])).expect("one family");
        lab.driven.send(sender, packet.clone().with_dont_fragment(true));
        let delivered = lab.driven.run();
        assert_eq!(delivered.len(), 1);
        assert_eq!(delivered[0].host, sender);
        assert_eq!(error_of(&delivered[0]).kind, IcmpKind::PacketTooBig { mtu: 1_000 });
        assert_eq!(error_of(&delivered[0]).quoted.source, source);
        assert_eq!(error_of(&delivered[0]).quoted.destination, destination);
        let again = lab.driven.try_send(sender, packet.clone().with_dont_fragment(true));
        assert_eq!(again, Err(SendError::TooBig { mtu: 1_000 }));
        lab.driven.send(sender, packet);
        assert_eq!(lab.driven.run().len(), 1, "cut, it passes");
        lab.driven.network.set_link(link, milliseconds(1)).expect("a sensible link");
    }
}

#[test]
fn a_nat_counts_as_a_hop() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let (source, destination) = (lab.inner(0, 5_000), lab.outer(0, 1));
    let mut reporters = Vec::new();
    for hops in 1..=3 {
        lab.driven.send(lab.inside[0], udp(source, destination).with_hop_limit(hops));
        let delivered = lab.driven.run();
        if delivered[0].host == lab.inside[0] {
            assert_eq!(error_of(&delivered[0]).kind, IcmpKind::TimeExceeded);
            assert_eq!(error_of(&delivered[0]).quoted.source, source);
        }
        reporters.push(delivered[0].packet.source().to_string());
    }
    assert_eq!(reporters, ["10.0.0.1", "203.0.113.1", "203.0.113.2"]);
}
