//! Echoes across middleboxes: the answer finds whoever asked, and nobody inside is asked from outside (RFC 5508 §3).

use crate::driven::{Delivered, Lab, milliseconds};
use bytes::Bytes;
use ntmobile_sim::network::{DropReason, FirewallRecord, IcmpKind, LinkRecord, NatRecord, NodeKind, Packet, Transport};
use std::net::IpAddr;

const REST: Bytes = Bytes::from_static(b"\x00\x01what is echoed");

fn echo(from: IpAddr, to: IpAddr, is_request: bool, identifier: u16, rest: Bytes) -> Packet {
    Packet::new(from, to, Transport::Echo { is_request, identifier, rest }).expect("one family")
}

fn identifier_of(delivered: &Delivered) -> u16 {
    match delivered.packet.transport() {
        Transport::Echo { identifier, .. } => *identifier,
        other => panic!("no echo: {other:?}"),
    }
}

/// An inside host asks an outside one, which answers; the question as it arrived, and the answer if it did.
fn ask(lab: &mut Lab, inside: usize, outside: usize, identifier: u16) -> (Delivered, Option<Delivered>) {
    let (asking, asked) = (lab.inner(inside, 0).ip(), lab.outer(outside, 0).ip());
    lab.driven.send(lab.inside[inside], echo(asking, asked, true, identifier, REST));
    let question = lab.driven.run().remove(0);
    assert_eq!(question.host, lab.outside[outside]);
    let answer = echo(asked, question.packet.source(), false, identifier_of(&question), REST);
    lab.driven.send(lab.outside[outside], answer);
    let answer = lab.driven.run().pop();
    (question, answer)
}

#[test]
fn the_answer_finds_whoever_asked() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let mut seen = Vec::new();
    for host in 0..2 {
        let (question, answer) = ask(&mut lab, host, 0, 4_711);
        let answer = answer.expect("it comes back");
        assert_eq!((answer.host, identifier_of(&answer)), (lab.inside[host], 4_711));
        assert_eq!(answer.packet.destination(), lab.inner(host, 0).ip());
        seen.push((question.packet.source(), identifier_of(&question)));
    }
    assert_eq!(seen[0], (seen[0].0, 4_711), "the identifier is kept where it is free");
    assert_eq!(seen[0].0, seen[1].0);
    assert_ne!(seen[0].1, seen[1].1, "two hosts asked under one identifier");
}

#[test]
fn nobody_inside_is_asked_from_outside() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let (question, _) = ask(&mut lab, 0, 0, 4_711);
    let outer = question.packet.source();
    let carol = lab.outer(0, 0).ip();
    lab.driven.send(lab.outside[0], echo(carol, outer, true, identifier_of(&question), REST));
    // An answer that nobody asked for.
    lab.driven.send(lab.inside[1], echo(lab.inner(1, 0).ip(), carol, false, 9, REST));
    // And one from somebody who was not asked, where the filter looks at who it is.
    lab.driven.send(lab.outside[1], echo(lab.outer(1, 0).ip(), outer, false, identifier_of(&question), REST));
    assert!(lab.driven.run().is_empty());
    let counters = lab.driven.network.counters(lab.middlebox);
    assert_eq!(counters.dropped(DropReason::NatNoMapping), 2);
    assert_eq!(counters.dropped(DropReason::NatFiltered), 1);
}

#[test]
fn an_error_about_an_echo_comes_back_in_the_askers_own_terms() {
    let mut lab = Lab::with_nat(NatRecord::default());
    let _bob_takes_the_identifier = ask(&mut lab, 1, 0, 4_711);
    let uplink = lab.driven.network.interfaces(lab.outside[0])[0];
    lab.driven.network.set_link(uplink, LinkRecord { mtu: 1_000, ..milliseconds(1) }).expect("a sensible link");
    let large = Bytes::from(vec![7; 1_200]);
    let sent = echo(lab.inner(0, 0).ip(), lab.outer(0, 0).ip(), true, 4_711, large).with_dont_fragment(true);
    lab.driven.send(lab.inside[0], sent.clone());
    let delivered = lab.driven.run().remove(0);
    let Transport::Icmp(error) = delivered.packet.transport() else { panic!("no error: {delivered:?}") };
    assert_eq!((delivered.host, error.kind), (lab.inside[0], IcmpKind::PacketTooBig { mtu: 1_000 }));
    // The quoted bytes are what the asker sent: type, code, checksum, identifier, sequence number.
    let quoted = delivered.packet.to_bytes();
    assert_eq!(quoted[quoted.len() - 8..], sent.to_bytes()[20..28]);
}

#[test]
fn a_firewall_lets_answers_in_and_questions_out() {
    let mut lab = Lab::new(NodeKind::Firewall(FirewallRecord::default()));
    assert!(ask(&mut lab, 0, 0, 4_711).1.is_some());
    let question = echo(lab.outer(1, 0).ip(), lab.inner(0, 0).ip(), true, 1, REST);
    lab.driven.send(lab.outside[1], question);
    assert!(lab.driven.run().is_empty());
}
