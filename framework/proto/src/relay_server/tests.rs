//! The Relay Server among a DC and two ends: both handshakes, movement, restarts, and those who would abuse it.

mod hostile;

use super::{RELAYS, RelayServer, RelayServerConfig, RelayServerEvent};
use crate::endpoint::{Association, Peer};
use crate::machine::{Input, StoreFailure};
use crate::packet::{Dropped, Relayed};
use crate::scripted::{Script, at, key, name};
use crate::time::UnixTime;
use ntmobile_wire::identifier::{KeyId, Negotiation, Session, Spi};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{
    HolePunching, KeySharingRequest, KeySharingResponse, Message, NtmAck, Refusal, RefusalCode, RelayDirection,
    RelayHandshake, RelayResponse, SharedKeyPurpose, TunnelEnd, TunnelRequest, TunnelResponse,
};
use ntmobile_wire::subkey::{KeyKind, Role};
use std::collections::BTreeMap;
use std::time::Duration;

type Rs = Script<RelayServer>;

const SECOND: Duration = Duration::from_secs(1);
const K_DCRS: KeyId = KeyId(1);
const K_TUN: KeyId = KeyId(2);
const K_MNCN: KeyId = KeyId(3);
const SPI_MN: Spi = Spi(0x0001_1000);
const SPI_CN: Spi = Spi(0x0002_2000);
const MN: &str = "198.51.100.1:5000";
const CN: &str = "[2001:db8::c]:6000";

fn config() -> RelayServerConfig {
    RelayServerConfig::new(name("rs.u1.example"))
}

fn start(config: RelayServerConfig) -> Rs {
    let mut rs = Script::start(|entropy| RelayServer::new(config, entropy), BTreeMap::new());
    rs.remote("dc", "192.0.2.2:4500");
    rs.remote("mn", MN);
    rs.remote("cn", CN);
    let session = rs.remotes["dc"].endpoint.session();
    let request = sharing("dc.u1.example", key(1));
    rs.tls(Some("dc.u1.example"), session, request);
    assert_eq!(rs.tls_answered(), KeySharingResponse { server: name("rs.u1.example") }.into());
    let relay_session = rs.machine.session();
    rs.hold("dc", |session| {
        let peer = Peer::named(name("rs.u1.example"));
        Association::new(key(1), KeyKind::Dcrs, (Role::Dc, session), (Role::Rs, Some(relay_session)), peer)
    });
    rs
}

fn restart(before: Rs) -> Rs {
    let wall = UnixTime(before.wall.0 + 1);
    let make = |entropy: &mut dyn ntmobile_wire::entropy::Entropy| RelayServer::new(config(), entropy);
    let mut rs = Script::start_at(make, before.store, (wall, 77));
    rs.remotes = before.remotes;
    rs.now = before.now;
    rs
}

fn sharing(requester: &str, key: NamedKey) -> KeySharingRequest {
    KeySharingRequest { purpose: SharedKeyPurpose::DcRs, requester: name(requester), key, lifetime_s: 3_600 }
}

fn direction(rs: &Rs, handshake: RelayHandshake) -> RelayDirection {
    RelayDirection {
        negotiation: Negotiation(9),
        handshake,
        k_tun: key(2),
        spi_mn: SPI_MN,
        spi_cn: SPI_CN,
        mn_session: rs.remotes["mn"].endpoint.session(),
        cn_session: rs.remotes["cn"].endpoint.session(),
        idle_s: 300,
    }
}

/// Both ends hold K_tun, as the Route Directions would give it to them.
fn give_k_tun(rs: &mut Rs) {
    let relay_session = rs.machine.session();
    let sessions = ["mn", "cn"].map(|label| rs.remotes[label].endpoint.session());
    for (label, own, other, other_session) in
        [("mn", Role::Mn, Role::Cn, sessions[1]), ("cn", Role::Cn, Role::Mn, sessions[0])]
    {
        rs.hold(label, |session| {
            let peer = Peer::named(name("peer.u1.example"));
            Association::new(key(2), KeyKind::Tun, (own, session), (other, Some(other_session)), peer)
                .with_speaker(Role::Rs, Some(relay_session))
        });
    }
}

/// An RS that has been directed.
fn directed(handshake: RelayHandshake) -> Rs {
    let mut rs = start(config());
    let message = direction(&rs, handshake);
    rs.request("dc", K_DCRS, message);
    let expected: Message = match handshake {
        RelayHandshake::Rendezvous => RelayResponse { negotiation: Negotiation(9) }.into(),
        _ => NtmAck::default().into(),
    };
    assert_eq!(rs.answered("dc"), expected);
    let coordinator = name("dc.u1.example");
    let told = [
        RelayServerEvent::KeyShared { coordinator: coordinator.clone() },
        RelayServerEvent::Installed { coordinator, spis: (SPI_MN, SPI_CN) },
    ];
    assert_eq!(rs.told.split_off(0), told);
    give_k_tun(&mut rs);
    rs
}

fn punch(rs: &mut Rs, label: &'static str) {
    let spi_in = if label == "mn" { SPI_MN } else { SPI_CN };
    rs.request(label, K_TUN, HolePunching { negotiation: Negotiation(9), spi_in });
    assert_eq!(rs.answered(label), NtmAck { observed: Some(rs.remotes[label].address) }.into());
}

fn tunnel_request(end: TunnelEnd, content: &[u8]) -> TunnelRequest {
    TunnelRequest { negotiation: Negotiation(9), end, wrapped_key: content.to_vec() }
}

/// MN draws K_mncn and sends it; CN, which learns it from inside, holds it too.
fn send_key(rs: &mut Rs) {
    let sessions = ["mn", "cn"].map(|label| rs.remotes[label].endpoint.session());
    for (label, own, other, session_of_other) in
        [("mn", Role::Mn, Role::Cn, sessions[1]), ("cn", Role::Cn, Role::Mn, sessions[0])]
    {
        rs.hold(label, |session| {
            let peer = Peer::named(name("peer.u1.example"));
            Association::new(key(3), KeyKind::Mncn, (own, session), (other, Some(session_of_other)), peer)
        });
    }
    rs.request_answered_under("mn", [K_TUN, K_MNCN], tunnel_request(TunnelEnd::Mn, b"wrapped"));
}

fn tunnel_response() -> TunnelResponse {
    TunnelResponse { negotiation: Negotiation(9), wrapped_key: Vec::new() }
}

/// A relayed tunnel that stands.
fn relayed() -> Rs {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    send_key(&mut rs);
    let (ticket, _) = rs.requested("cn");
    rs.answer_under("cn", &ticket, K_MNCN, tunnel_response());
    assert_eq!(rs.answered("mn"), tunnel_response().into());
    rs
}

/// What the packet path does with a packet.
fn packet(rs: &Rs, from: &str, spi: Spi) -> Relayed {
    let packet = [&spi.0.to_be_bytes()[..], &[0; 60]].concat();
    rs.machine.table().relay(rs.now, at(from), &packet)
}

#[track_caller]
fn assert_refused(message: Message, code: RefusalCode) -> Option<Negotiation> {
    match message {
        Message::Refusal(refusal) => {
            assert_eq!(refusal.code, code, "{}", refusal.detail);
            refusal.negotiation
        }
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[test]
fn forwarded_passes_request_and_answer_as_they_are_and_opens_both_legs() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::Drop(Dropped::NoLeg), "MN has not proved where it is");
    send_key(&mut rs);
    let sent = rs.last_from_remote.clone().expect("MN has sent");
    let (ticket, message) = rs.requested("cn");
    assert_eq!(message, tunnel_request(TunnelEnd::Mn, b"wrapped").into());
    assert_eq!(ticket.role, Role::Mn, "CN sees MN's own seal");
    assert_eq!(rs.remotes["cn"].raw.last(), Some(&sent), "the datagram was not touched");

    rs.answer_under("cn", &ticket, K_MNCN, tunnel_response());
    let answer = rs.last_from_remote.clone().expect("CN has answered");
    assert_eq!(rs.answered("mn"), tunnel_response().into());
    assert_eq!(rs.remotes["mn"].raw.last(), Some(&answer));

    assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)));
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(MN)));
}

#[test]
fn a_refusal_of_cn_goes_back_the_same_way() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    send_key(&mut rs);
    let (ticket, _) = rs.requested("cn");
    let refusal = Refusal { code: RefusalCode::NotAllowed, detail: String::new(), negotiation: None };
    rs.answer("cn", &ticket, refusal);
    assert_refused(rs.answered("mn"), RefusalCode::NotAllowed);
}

#[test]
fn repeated_tunnel_requests_are_forwarded_again_and_the_tunnel_survives_loss() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    // MN → RS arrives; RS → CN is lost twice, then CN's answer is lost once on each hop.
    let fates = std::cell::RefCell::new([1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0].into_iter());
    rs.copies = Box::new(move |_| fates.borrow_mut().next().unwrap_or(1));
    send_key(&mut rs);
    rs.pass(SECOND * 2);
    let (ticket, _) = rs.requested("cn");
    rs.answer_under("cn", &ticket, K_MNCN, tunnel_response());
    assert!(rs.is_quiet("mn"), "the answer was lost");
    rs.pass(SECOND * 30);
    assert_eq!(rs.answered("mn"), tunnel_response().into());
    assert!(rs.is_quiet("cn"), "CN saw one request");
    assert!(rs.count("relay.tunnel_request_forwarded") >= 4);
}

#[test]
fn a_captured_tunnel_request_is_not_forwarded_again() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    send_key(&mut rs);
    let captured = rs.last_from_remote.clone().expect("MN has sent");
    rs.give(Input::Datagram { from: at("203.0.113.66:6"), bytes: captured });
    assert_eq!(rs.count("relay.tunnel_request_forwarded"), 1);
    assert_eq!(rs.count("signalling.replayed"), 1);
    let (ticket, _) = rs.requested("cn");
    rs.answer_under("cn", &ticket, K_MNCN, tunnel_response());
    assert_eq!(rs.answered("mn"), tunnel_response().into(), "MN's leg is where it was");
}

#[test]
fn without_cns_leg_nothing_is_forwarded_and_nobody_is_told_wrong() {
    let mut rs = directed(RelayHandshake::Forwarded);
    send_key(&mut rs);
    assert_eq!(rs.count("relay.no_leg"), 1);
    punch(&mut rs, "cn");
    rs.pass(SECOND);
    assert_eq!(rs.requested("cn").1, tunnel_request(TunnelEnd::Mn, b"wrapped").into(), "the repetition got through");
}

#[test]
fn answers_pass_only_from_cn_and_only_for_a_while() {
    let mut rs = directed(RelayHandshake::Forwarded);
    punch(&mut rs, "cn");
    send_key(&mut rs);
    let (ticket, _) = rs.requested("cn");
    rs.copies = Box::new(|_| 0);
    rs.answer_under("cn", &ticket, K_MNCN, tunnel_response());
    let answer = rs.last_from_remote.clone().expect("CN has answered");
    rs.copies = Box::new(|_| 1);
    rs.give(Input::Datagram { from: at("203.0.113.66:6"), bytes: answer.clone() });
    assert!(rs.is_quiet("mn"), "not from anybody else");
    rs.remotes.get_mut("mn").expect("it is there").endpoint.remove(K_TUN);
    rs.pass(SECOND * 11);
    rs.give(Input::Datagram { from: at(CN), bytes: answer });
    assert!(rs.is_quiet("mn"), "not after its time");
    assert_eq!(rs.count("relay.tunnel_response_forwarded"), 0);
}

#[test]
fn rendezvous_hands_each_end_what_the_other_has_brought() {
    for first in ["mn", "cn"] {
        let mut rs = directed(RelayHandshake::Rendezvous);
        let mut ends = [("mn", TunnelEnd::Mn, b"wrapped".as_slice()), ("cn", TunnelEnd::Cn, b"")];
        if first == "cn" {
            ends.reverse();
        }
        for (label, end, content) in ends {
            assert!(rs.is_quiet("mn") && rs.is_quiet("cn"));
            rs.request(label, K_TUN, tunnel_request(end, content));
        }
        let handed = |content: &[u8]| TunnelResponse { wrapped_key: content.to_vec(), ..tunnel_response() }.into();
        assert_eq!(rs.answered("cn"), handed(b"wrapped"));
        assert_eq!(rs.answered("mn"), handed(b""));
        assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)));
        assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(MN)));
    }
}

#[test]
fn rendezvous_survives_loss_and_repetition() {
    let mut rs = directed(RelayHandshake::Rendezvous);
    rs.copies = Box::new(|sent| [0, 1, 2, 0, 2, 0, 1, 1, 0][sent % 9]);
    rs.request("mn", K_TUN, tunnel_request(TunnelEnd::Mn, b"wrapped"));
    rs.request("cn", K_TUN, tunnel_request(TunnelEnd::Cn, b""));
    rs.pass(SECOND * 31);
    let handed = |content: &[u8]| TunnelResponse { wrapped_key: content.to_vec(), ..tunnel_response() }.into();
    assert_eq!(rs.answered("cn"), handed(b"wrapped"));
    assert_eq!(rs.answered("mn"), handed(b""));
    assert_eq!(rs.count("relay.met"), 1);
}

#[test]
fn in_a_rendezvous_the_first_content_stays() {
    let mut rs = directed(RelayHandshake::Rendezvous);
    rs.request("mn", K_TUN, tunnel_request(TunnelEnd::Mn, b"first"));
    rs.request("mn", K_TUN, tunnel_request(TunnelEnd::Mn, b"second"));
    rs.request("cn", K_TUN, tunnel_request(TunnelEnd::Cn, b""));
    rs.request("cn", K_TUN, tunnel_request(TunnelEnd::Cn, b""));
    let handed: Message = TunnelResponse { wrapped_key: b"first".to_vec(), ..tunnel_response() }.into();
    assert_eq!(rs.answered("cn"), handed);
    assert_eq!(rs.answered("cn"), handed);
}

#[test]
fn a_leg_moves_by_hole_punching_and_never_by_a_packet() {
    let mut rs = relayed();
    let moved = "203.0.113.5:7000";
    assert_eq!(packet(&rs, moved, SPI_CN), Relayed::SourceUnknown(SPI_CN));
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(MN)));
    rs.remotes.get_mut("mn").expect("it is there").address = at(moved);
    punch(&mut rs, "mn");
    assert_eq!(packet(&rs, moved, SPI_CN), Relayed::To(at(CN)));
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(moved)));
}

#[test]
fn an_spi_in_use_is_refused_so_that_the_dc_draws_again() {
    let mut rs = relayed();
    for (spi_mn, spi_cn) in [(SPI_CN, Spi(0x0005_0000)), (Spi(0x0005_0000), SPI_MN.at_generation(3))] {
        let k_tun = key(40);
        let second = RelayDirection { k_tun, spi_mn, spi_cn, ..direction(&rs, RelayHandshake::Forwarded) };
        rs.request("dc", K_DCRS, RelayDirection { negotiation: Negotiation(10), ..second });
        assert_eq!(assert_refused(rs.answered("dc"), RefusalCode::SpiInUse), Some(Negotiation(10)));
    }
    assert_eq!(rs.machine.table().len(), 1);
}

#[test]
fn a_direction_that_comes_again_is_acknowledged_again_and_changes_nothing() {
    let mut rs = relayed();
    let message = direction(&rs, RelayHandshake::Forwarded);
    rs.request("dc", K_DCRS, message);
    assert_eq!(rs.answered("dc"), NtmAck::default().into());
    assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)));
}

#[test]
fn an_unknown_handshake_is_refused() {
    let mut rs = start(config());
    let message = direction(&rs, RelayHandshake::Unknown(9));
    rs.request("dc", K_DCRS, message);
    assert_refused(rs.answered("dc"), RefusalCode::Unsupported);
    assert!(rs.machine.table().is_empty());
}

#[test]
fn relays_are_bounded_and_idle_ones_make_room() {
    let mut rs = start(RelayServerConfig { relays: 1, ..config() });
    let first = direction(&rs, RelayHandshake::Forwarded);
    let (spi_mn, spi_cn) = (Spi(0x0007_0000), Spi(0x0008_0000));
    let second = RelayDirection { k_tun: key(40), spi_mn, spi_cn, ..first.clone() };
    rs.request("dc", K_DCRS, first);
    assert_eq!(rs.answered("dc"), NtmAck::default().into());
    rs.request("dc", K_DCRS, second.clone());
    assert_refused(rs.answered("dc"), RefusalCode::Overloaded);
    rs.pass(SECOND * 300);
    assert!(rs.machine.table().is_empty());
    rs.request("dc", K_DCRS, second);
    assert_eq!(rs.answered("dc"), NtmAck::default().into());
}

#[test]
fn a_tunnel_in_use_is_held_and_an_idle_one_forgotten_with_its_record() {
    let mut rs = relayed();
    for _ in 0..3 {
        rs.pass(SECOND * 200);
        assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)), "packets keep it");
    }
    rs.pass(SECOND * 299);
    punch(&mut rs, "cn");
    rs.pass(SECOND * 299);
    assert_eq!(rs.machine.table().len(), 1, "signalling keeps it, too");
    rs.pass(SECOND);
    assert!(rs.machine.table().is_empty());
    assert_eq!(rs.told, [RelayServerEvent::Expired { spis: (SPI_MN, SPI_CN) }]);
    assert!(!rs.store.keys().any(|(table, _)| *table == RELAYS));
    rs.request("cn", K_TUN, HolePunching { negotiation: Negotiation(9), spi_in: SPI_CN });
    assert!(rs.is_quiet("cn"), "K_tun is gone");
}

#[test]
fn a_restarted_server_goes_on_once_the_legs_have_proved_themselves_again() {
    let mut rs = restart(relayed());
    assert_eq!(packet(&rs, MN, SPI_CN), Relayed::SourceUnknown(SPI_CN));
    punch(&mut rs, "mn");
    punch(&mut rs, "cn");
    assert_eq!(packet(&rs, MN, SPI_CN), Relayed::To(at(CN)));
    assert_eq!(packet(&rs, CN, SPI_MN), Relayed::To(at(MN)));
    let second = RelayDirection {
        k_tun: key(40),
        spi_mn: Spi(0x0007_0000),
        spi_cn: Spi(0x0008_0000),
        ..direction(&rs, RelayHandshake::Rendezvous)
    };
    rs.request("dc", K_DCRS, second);
    assert_eq!(rs.answered("dc"), RelayResponse { negotiation: Negotiation(9) }.into());
}

#[test]
fn a_restart_opens_no_replay_and_moves_no_leg() {
    let mut rs = relayed();
    rs.copies = Box::new(|_| 0);
    rs.request("cn", K_TUN, HolePunching { negotiation: Negotiation(9), spi_in: SPI_CN });
    let captured = rs.last_from_remote.clone().expect("CN has sent");
    let mut rs = restart(rs);
    rs.give(Input::Datagram { from: at("203.0.113.66:6"), bytes: captured });
    assert_eq!(rs.count("signalling.session_challenged"), 1);
    assert_eq!(packet(&rs, "203.0.113.66:6", SPI_MN), Relayed::SourceUnknown(SPI_MN));
}

#[test]
fn what_cannot_be_stored_is_not_relayed() {
    let mut rs = start(config());
    rs.store_failure = Some(StoreFailure::Full);
    let message = direction(&rs, RelayHandshake::Forwarded);
    rs.request("dc", K_DCRS, message.clone());
    assert_refused(rs.answered("dc"), RefusalCode::StorageFailed);
    assert_eq!(rs.told.last(), Some(&RelayServerEvent::StoreFailed(StoreFailure::Full)));
    assert!(rs.machine.table().is_empty());
    rs.store_failure = None;
    rs.request("dc", K_DCRS, message);
    assert_eq!(rs.answered("dc"), NtmAck::default().into());
}
