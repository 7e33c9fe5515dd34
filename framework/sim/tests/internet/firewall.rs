//! Firewalls, for both families, and the IPv6 side of NATs.

use crate::driven::{Lab, SYN_ACK, tcp, udp};
use ntmobile_sim::network::{
    DropReason, FirewallRecord, Fragments, IcmpKind, Ipv6Passage, NatRecord, NodeKind, Packet, Unreachable, tcp_flag,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A host inside and one outside, in one family.
fn pair(lab: &Lab, ipv4: bool) -> (SocketAddr, SocketAddr) {
    let address = |host| if ipv4 { lab.driven.ipv4(host) } else { lab.driven.ipv6(host) };
    (SocketAddr::new(address(lab.inside[0]), 5_000), SocketAddr::new(address(lab.outside[0]), 53))
}

fn passes(lab: &mut Lab, from_inside: bool, packet: Packet) -> bool {
    let (sender, receiver) = match from_inside {
        true => (lab.inside[0], lab.outside[0]),
        false => (lab.outside[0], lab.inside[0]),
    };
    lab.driven.send(sender, packet);
    lab.driven.run().iter().any(|delivered| delivered.host == receiver)
}

fn firewall(record: FirewallRecord) -> Lab {
    Lab::new(NodeKind::Firewall(record))
}

#[test]
fn nothing_comes_in_unasked_and_answers_do_for_a_while() {
    for ipv4 in [true, false] {
        let record = FirewallRecord::default();
        let mut lab = firewall(record.clone());
        let (inside, outside) = pair(&lab, ipv4);
        assert!(!passes(&mut lab, false, udp(outside, inside)));
        assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::FirewallUnsolicited), 1);
        assert!(passes(&mut lab, true, udp(inside, outside)));
        assert!(passes(&mut lab, false, udp(outside, inside)));
        let elsewhere = SocketAddr::new(outside.ip(), 54);
        assert!(!passes(&mut lab, false, udp(elsewhere, inside)));
        lab.driven.wait(record.udp_expiry);
        assert!(!passes(&mut lab, false, udp(outside, inside)));
    }
}

#[test]
fn udp_can_be_blocked_while_tcp_passes() {
    let mut lab = firewall(FirewallRecord { blocks_udp: true, ..FirewallRecord::default() });
    let (inside, outside) = pair(&lab, true);
    assert!(!passes(&mut lab, true, udp(inside, outside)));
    assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::FirewallForbidden), 1);
    assert!(passes(&mut lab, true, tcp(inside, outside, tcp_flag::SYN)));
    assert!(passes(&mut lab, false, tcp(outside, inside, SYN_ACK)));
    assert!(passes(&mut lab, true, tcp(inside, outside, tcp_flag::ACK)));
    lab.driven.wait(Duration::from_secs(3_600));
    assert!(passes(&mut lab, false, tcp(outside, inside, tcp_flag::ACK)));
}

#[test]
fn only_the_listed_ports_may_be_spoken_to() {
    let allowed_ports = Some(BTreeSet::from([53, 443]));
    let mut lab = firewall(FirewallRecord { allowed_ports, ..FirewallRecord::default() });
    let (inside, outside) = pair(&lab, true);
    assert!(passes(&mut lab, true, udp(inside, outside)));
    assert!(passes(&mut lab, false, udp(outside, inside)));
    assert!(!passes(&mut lab, true, udp(inside, SocketAddr::new(outside.ip(), 54))));
}

#[test]
fn without_state_everything_allowed_comes_in() {
    let mut lab = firewall(FirewallRecord { stateful: false, ..FirewallRecord::default() });
    let (inside, outside) = pair(&lab, true);
    assert!(passes(&mut lab, false, udp(outside, inside)));
}

#[test]
fn errors_pass_with_the_conversation_that_they_are_about() {
    let mut lab = firewall(FirewallRecord::default());
    let (inside, outside) = pair(&lab, true);
    let about =
        |packet| Packet::icmp_error(outside.ip(), IcmpKind::Unreachable(Unreachable::Port), &packet).expect("an error");
    assert!(!passes(&mut lab, false, about(udp(inside, outside))));
    assert!(passes(&mut lab, true, udp(inside, outside)));
    assert!(passes(&mut lab, false, about(udp(inside, outside))));
}

#[test]
fn a_full_table_admits_nothing_new() {
    let mut lab = firewall(FirewallRecord { max_sessions: 1, ..FirewallRecord::default() });
    let (inside, outside) = pair(&lab, true);
    assert!(passes(&mut lab, true, udp(inside, outside)));
    assert!(!passes(&mut lab, true, udp(inside, SocketAddr::new(outside.ip(), 54))));
    assert_eq!(lab.driven.network.counters(lab.middlebox).dropped(DropReason::FirewallTableFull), 1);
    assert!(passes(&mut lab, true, udp(inside, outside)));
}

#[test]
fn fragments_pass_a_firewall_whole_or_not_at_all() {
    for fragments in [Fragments::Reassemble, Fragments::Drop] {
        let mut lab = firewall(FirewallRecord { fragments, ..FirewallRecord::default() });
        let (inside, outside) = pair(&lab, true);
        let large = Packet::udp(inside, outside, vec![0; 4_000].into()).expect("one family");
        assert_eq!(passes(&mut lab, true, large), fragments == Fragments::Reassemble);
    }
}

#[test]
fn ipv6_passes_a_nat_as_its_record_says() {
    for ipv6 in [Ipv6Passage::Routed, Ipv6Passage::Firewalled, Ipv6Passage::Blocked] {
        let mut lab = Lab::with_nat(NatRecord { ipv6, ..NatRecord::default() });
        let (inside, outside) = pair(&lab, false);
        assert_eq!(passes(&mut lab, false, udp(outside, inside)), ipv6 == Ipv6Passage::Routed);
        let arrives = passes(&mut lab, true, udp(inside, outside));
        assert_eq!(arrives, ipv6 != Ipv6Passage::Blocked);
        assert_eq!(passes(&mut lab, false, udp(outside, inside)), ipv6 != Ipv6Passage::Blocked);
    }
}
