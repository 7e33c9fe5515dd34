//! The papers' path rule, case by case.

use super::{AlwaysRelay, Paper};
use ntmobile_proto::policy::{PathChoice, PathPolicy, PathQuestion};
use ntmobile_wire::address::{Leg, VirtualAddresses};
use ntmobile_wire::identifier::{ApplicationId, Session};
use ntmobile_wire::message::{DirectionReason, NodeInformation, Reachability, TunnelEnd};
use ntmobile_wire::name::Fqdn;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

fn at(address: &str) -> SocketAddr {
    address.parse().expect("an address")
}

/// A node with these legs, each `real` or `real outer`.
fn node(legs: &[&str]) -> NodeInformation {
    let legs = legs.iter().map(|leg| {
        let (real, outer) = leg.split_once(' ').unwrap_or((leg, leg));
        Leg { real: at(real), outer: at(outer) }
    });
    NodeInformation {
        node: Fqdn::parse("node.example").expect("a sound name"),
        application: ApplicationId(0),
        legs: legs.collect(),
        real: Vec::new(),
        reachability: Reachability::UdpKeepalive,
        addresses: VirtualAddresses { v4: Ipv4Addr::UNSPECIFIED, v6: Ipv6Addr::UNSPECIFIED },
        session: Session(0),
    }
}

fn choose(mn: &NodeInformation, cn: &NodeInformation) -> PathChoice {
    Paper.choose(PathQuestion { mn, cn, reason: DirectionReason::NewTunnel })
}

#[track_caller]
fn assert_direct(choice: PathChoice, sender: TunnelEnd, candidates: &[&str]) {
    let candidates: Vec<_> = candidates.iter().map(|address| at(address)).collect();
    match choice {
        PathChoice::Direct { sender: s, candidates: c, .. } => assert_eq!((s, c), (sender, candidates)),
        PathChoice::Relayed { because } => panic!("relayed because {because}"),
    }
}

#[track_caller]
fn assert_relayed(choice: PathChoice, because: &str) {
    assert_eq!(
        choice,
        PathChoice::Relayed {
            because: match because {
                "nats" => "the ends are behind different NATs",
                "versions" => "the ends have no IP version in common",
                "failed" => "the direct path failed",
                other => panic!("no such reason: {other}"),
            }
        }
    );
}

const PUBLIC: &str = "192.0.2.1:1000";
const OTHER_PUBLIC: &str = "192.0.2.2:2000";
const BEHIND_A: &str = "10.0.0.1:1000 198.51.100.1:5001";
const ALSO_BEHIND_A: &str = "10.0.0.2:2000 198.51.100.1:5002";
const BEHIND_B: &str = "10.0.0.1:2000 198.51.100.2:5003";
const SIX: &str = "[2001:db8::1]:1000";
const OTHER_SIX: &str = "[2001:db8::2]:2000";

#[test]
fn between_reachable_ends_mn_sends() {
    assert_direct(choose(&node(&[PUBLIC]), &node(&[OTHER_PUBLIC])), TunnelEnd::Mn, &[OTHER_PUBLIC]);
}

#[test]
fn the_translated_end_sends_to_the_reachable_one() {
    assert_direct(choose(&node(&[BEHIND_A]), &node(&[PUBLIC])), TunnelEnd::Mn, &[PUBLIC]);
    assert_direct(choose(&node(&[PUBLIC]), &node(&[BEHIND_A])), TunnelEnd::Cn, &[PUBLIC]);
}

#[test]
fn behind_the_same_nat_private_addresses_are_tried() {
    let mut cn = node(&[ALSO_BEHIND_A]);
    for other in ["172.16.0.2:2000", "10.0.0.2:2000", "[fd00::2]:2000", "127.0.0.1:2000", "224.0.0.1:9", "0.0.0.0:9"] {
        cn.real.push(at(other));
    }
    assert_direct(choose(&node(&[BEHIND_A]), &cn), TunnelEnd::Mn, &["10.0.0.2:2000", "172.16.0.2:2000"]);
}

#[test]
fn a_peer_that_tells_no_usable_private_address_is_relayed() {
    let cn = node(&["0.0.0.0:0 198.51.100.1:5002"]);
    assert_relayed(choose(&node(&[BEHIND_A]), &cn), "nats");
}

#[test]
fn however_many_addresses_are_told_the_candidates_fit_the_message() {
    let mut cn = node(&[ALSO_BEHIND_A]);
    cn.real = (1..200).map(|port| at(&format!("10.0.0.2:{port}"))).collect();
    let PathChoice::Direct { candidates, .. } = choose(&node(&[BEHIND_A]), &cn) else { panic!("relayed") };
    assert_eq!(candidates.len(), 8);
}

#[test]
fn different_nats_need_a_relay() {
    assert_relayed(choose(&node(&[BEHIND_A]), &node(&[BEHIND_B])), "nats");
}

#[test]
fn different_ip_versions_need_a_relay() {
    assert_relayed(choose(&node(&[PUBLIC]), &node(&[SIX])), "versions");
    assert_relayed(choose(&node(&[]), &node(&[SIX])), "versions");
}

#[test]
fn ipv6_is_preferred_where_both_versions_are_direct() {
    assert_direct(choose(&node(&[PUBLIC, SIX]), &node(&[OTHER_PUBLIC, OTHER_SIX])), TunnelEnd::Mn, &[OTHER_SIX]);
}

#[test]
fn the_version_that_gives_a_direct_path_is_preferred() {
    assert_direct(choose(&node(&[BEHIND_A, SIX]), &node(&[BEHIND_B, OTHER_SIX])), TunnelEnd::Mn, &[OTHER_SIX]);
    let mn = node(&["[fd00::1]:1 [2001:db8::a]:1", PUBLIC]);
    let cn = node(&["[fd00::2]:2 [2001:db8::b]:2", OTHER_PUBLIC]);
    assert_direct(choose(&mn, &cn), TunnelEnd::Mn, &[OTHER_PUBLIC]);
}

#[test]
fn a_leg_through_a_protocol_translator_is_no_direct_path() {
    let nat64 = node(&["[2001:db8::1]:1000 198.51.100.1:5001"]);
    assert_relayed(choose(&nat64, &node(&[OTHER_SIX])), "versions");
    assert_relayed(choose(&nat64, &node(&[PUBLIC])), "versions");
}

#[test]
fn a_failed_direct_path_is_not_chosen_again() {
    let (mn, cn) = (node(&[PUBLIC]), node(&[OTHER_PUBLIC]));
    assert_relayed(Paper.choose(PathQuestion { mn: &mn, cn: &cn, reason: DirectionReason::DirectFailed }), "failed");
    let handover = PathQuestion { mn: &mn, cn: &cn, reason: DirectionReason::Handover };
    assert_direct(Paper.choose(handover), TunnelEnd::Mn, &[OTHER_PUBLIC]);
}

#[test]
fn always_relay_relays_even_between_reachable_ends() {
    let (mn, cn) = (node(&[PUBLIC]), node(&[OTHER_PUBLIC]));
    let question = PathQuestion { mn: &mn, cn: &cn, reason: DirectionReason::NewTunnel };
    assert!(matches!(AlwaysRelay.choose(question), PathChoice::Relayed { .. }));
}
