//! Those who hold a key of the network and say under it what is not theirs to say, on the bench.

use bytes::Bytes;
use ntmobile_proto::node::{ConnectError, Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, certificate_of, name};
use ntmobile_tests::network::{at, connect, join, join_as, network, node_config, outcome};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::datagram::{self, Header};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::{NamedKey, PublicKey, Secret};
use ntmobile_wire::message::{
    CipherSuite, DirectionReason, KeyAgreement, KeySharingRequest, Message, RefusalCode, Route, RouteDirection,
    SharedKeyPurpose, TunnelAction, TunnelEnd, TunnelProtection, TunnelResponse,
};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";

fn key(id: u64) -> NamedKey {
    NamedKey { id: KeyId(id), secret: Secret::from_bytes([0xEE; 32]) }
}

/// Tells `node` to await a tunnel from `peer`, under keys that the trespasser knows.
fn direction(node: &str, peer: &str, end: TunnelEnd) -> RouteDirection {
    RouteDirection {
        negotiation: Negotiation(0xBAD),
        end,
        action: TunnelAction::Await,
        node: name(node),
        application: ApplicationId(0),
        peer: name(peer),
        peer_application: ApplicationId(0),
        peer_addresses: VirtualAddresses {
            v4: "100.64.0.9".parse().expect("an address"),
            v6: "fd00:0:0:1::9".parse().expect("an address"),
        },
        peer_session: Session(0xBAD),
        route: Route::Direct { candidates: vec![at("192.0.2.66")] },
        reason: DirectionReason::NewTunnel,
        protection: TunnelProtection::TwoKeys,
        agreement: KeyAgreement::KTmp,
        suite: CipherSuite::Aes128Gcm,
        k_tun: Some(key(0xBAD1)),
        k_tmp: key(0xBAD2),
        peer_public_key: None,
        spi_in: Spi(0x5550),
        spi_out: Spi(0x6660),
        idle_s: 300,
    }
}

fn sealed(under: &NamedKey, kind: KeyKind, (role, session): (Role, Session), message: RouteDirection) -> Bytes {
    let subkey = Subkey::derive(&under.secret, Purpose::Signalling(kind), role, session);
    let message = Message::from(message);
    let header =
        Header { kind: message.kind(), transaction: Transaction(1), key_id: under.id, session, sequence: 1 << 40 };
    datagram::seal(&subkey, header, &message, None)
}

/// Key Sharing with a DC, by whoever holds a certificate of this name.
fn share_key(bench: &mut Bench, coordinator: &str, requester: &str, key: NamedKey, session: Session) {
    let request =
        KeySharingRequest { purpose: SharedKeyPurpose::DcDc, requester: name(requester), key, lifetime_s: 3_600 };
    let frame = Frame { transaction: Transaction(9), session, message: request.into(), trace: None }.encode();
    let certificate = certificate_of(&name(requester));
    bench.inject_tls(coordinator, at("192.0.2.66"), Some(certificate), frame);
    bench.run_for(Duration::from_secs(1));
}

fn two_nodes(choices: &Choices, bob_outside: Option<&str>) -> Bench {
    let mut bench = network(31, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", bob_outside);
    bench.run_for(Duration::from_secs(2));
    bench
}

fn directions_between(bench: &Bench, from: &str, to: &str) -> usize {
    let kind = Message::from(direction(ALICE, BOB, TunnelEnd::Cn)).kind();
    let is_direction = |bytes: &Bytes| Header::parse(bytes).is_ok_and(|header| header.kind == kind);
    let between = bench.crossed.iter().filter(|crossed| crossed.from == name(from) && crossed.to == name(to));
    between.filter(|crossed| is_direction(&crossed.bytes)).count()
}

#[test]
fn a_coordinator_speaks_for_nodes_of_its_own_domain_only_and_directs_others_as_the_called_end_only() {
    for (coordinator, peer, end, reaches_bob) in [
        ("dc.u3.example", "mallory.u3.example", TunnelEnd::Cn, true),
        ("dc.u3.example", ALICE, TunnelEnd::Cn, false),
        ("dc.u3.example", "mallory.u3.example", TunnelEnd::Mn, false),
        // A domain below another is another's, and so is the one above.
        ("dc.sub.u1.example", ALICE, TunnelEnd::Cn, false),
        ("dc.u1.example", "mallory.sub.u1.example", TunnelEnd::Cn, false),
        ("dc.sub.u1.example", "mallory.sub.u1.example", TunnelEnd::Cn, true),
    ] {
        let mut bench = two_nodes(&Choices::default(), None);
        let (shared, session) = (key(0xBAD0), Session(0xBAD));
        share_key(&mut bench, "dc.u2.example", coordinator, shared.clone(), session);
        let bytes = sealed(&shared, KeyKind::Dcdc, (Role::Requester, session), direction(BOB, peer, end));
        bench.inject("dc.u2.example", at("192.0.2.66"), bytes);
        bench.run_for(Duration::from_secs(1));
        let reached = directions_between(&bench, "dc.u2.example", BOB) > 0;
        assert_eq!(reached, reaches_bob, "{coordinator} {peer} {end:?} {:?}", bench.counters);
    }
}

#[test]
fn nobody_puts_a_key_of_their_own_in_the_place_of_a_nodes_at_its_coordinator() {
    let mut bench = two_nodes(&Choices::default(), None);
    let registering = bench.crossed.iter().find(|c| c.from == name(ALICE) && c.to == name("dc.u1.example"));
    let stolen = Header::parse(&registering.expect("alice has registered").bytes).expect("a header").key_id;
    share_key(&mut bench, "dc.u1.example", "dc.u3.example", key(stolen.0), Session(0xBAD));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(5));
    let told = outcome(&mut bench, ALICE, 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {:?}", bench.counters);
}

/// What the RS holds of a tunnel, and its session.
fn relays_key(bench: &Bench) -> (NamedKey, Session) {
    let frames: Vec<_> = bench.tls_frames.iter().filter_map(|c| Some((c, Frame::decode(&c.bytes).ok()?))).collect();
    let relay = name("rs.u1.example");
    let (k_dcrs, dc_session) = frames
        .iter()
        .find_map(|(crossed, frame)| match &frame.message {
            Message::KeySharingRequest(request) if crossed.to == relay => Some((request.key.clone(), frame.session)),
            _ => None,
        })
        .expect("the RS shares a key");
    let rs_session = frames.iter().find(|(crossed, _)| crossed.from == relay).expect("it has answered").1.session;
    let subkey = Subkey::derive(&k_dcrs.secret, Purpose::Signalling(KeyKind::Dcrs), Role::Dc, dc_session);
    let k_tun = bench
        .crossed
        .iter()
        .filter(|crossed| crossed.to == relay)
        .find_map(|crossed| match datagram::open(&subkey, &crossed.bytes) {
            Ok((_, Message::RelayDirection(direction), _)) => Some(direction.k_tun),
            _ => None,
        })
        .expect("the RS was directed");
    (k_tun, rs_session)
}

/// The RS holds K_tun and nothing else of a tunnel; with it alone it must not bring about another one.
#[test]
fn a_relay_cannot_direct_the_nodes_that_it_relays_for() {
    let mut bench = two_nodes(&Choices::default(), Some("198.51.100.2"));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    assert!(matches!(outcome(&mut bench, ALICE, 1), Some(NodeEvent::Connected { .. })), "{:?}", bench.counters);
    let (k_tun, rs_session) = relays_key(&bench);
    let forged = direction(BOB, "mallory.u3.example", TunnelEnd::Cn);
    let bytes = sealed(&k_tun, KeyKind::Tun, (Role::Rs, rs_session), forged);
    bench.inject(BOB, at("192.0.2.21"), bytes);
    bench.run_for(Duration::from_secs(1));
    assert_eq!(bench.count("node.unexpected_message"), 1, "{:?}", bench.counters);
}

/// Alice knows another key of Bob's than his own; what she is told when she calls him.
fn alice_calls_bob_whom_she_has_pinned(seed: u64, choices: &Choices) -> (Bench, Option<NodeEvent>) {
    let mut bench = network(seed, choices);
    bench.passwords.insert("alice@u1.example".to_owned(), "right".to_owned());
    let mut config = node_config("alice@u1.example", choices, "right");
    config.pins.insert(name(BOB), PublicKey([5; 32]));
    let machine = Node::new(config, bench.entropy());
    join_as(&mut bench, machine, "alice@u1.example", "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    let told = outcome(&mut bench, ALICE, 1);
    (bench, told)
}

#[test]
fn a_pinned_peer_is_not_talked_to_under_an_agreement_that_proves_nothing_and_who_waits_is_told_at_once() {
    let choices = Choices::default();
    let (bench, told) = alice_calls_bob_whom_she_has_pinned(32, &choices);
    let refused = matches!(told, Some(NodeEvent::ConnectFailed { error: ConnectError::KeyAgreement(_), .. }));
    assert!(refused, "{told:?} {:?}", bench.counters);
}

/// A pin that the peer's voucher does not bear out: refused within the sequence, not by a time-out.
#[test]
fn a_key_that_is_not_the_pinned_one_is_refused_by_name() {
    let mut choices = Choices::default();
    choices.set(Kind::Agreement, "public-key");
    let (bench, told) = alice_calls_bob_whom_she_has_pinned(33, &choices);
    let refused = matches!(&told, Some(NodeEvent::ConnectFailed { error: ConnectError::KeyAgreement(why), .. }) if why.contains("pinned"));
    assert!(refused, "{told:?} {:?}", bench.counters);
}

/// Whoever starts takes no word but the peer's own, under the key that is to protect the tunnel, for its standing.
#[test]
fn a_relay_cannot_answer_a_tunnel_request_in_the_peers_place() {
    let mut bench = two_nodes(&Choices::default(), Some("198.51.100.2"));
    connect(&mut bench, ALICE, BOB, 1);
    let is_request = |bytes: &Bytes| Header::parse(bytes).ok().filter(|header| header.kind == 65);
    let request = loop {
        bench.run_for(Duration::from_millis(1));
        let left = bench.crossed.iter().filter(|crossed| crossed.from == name(ALICE));
        if let Some(header) = left.filter_map(|crossed| is_request(&crossed.bytes)).next() {
            break header;
        }
    };
    bench.sever("rs.u1.example", BOB);
    let (k_tun, session) = relays_key(&bench);
    let subkey = Subkey::derive(&k_tun.secret, Purpose::Signalling(KeyKind::Tun), Role::Rs, session);
    let directed = bench.at::<Node>(ALICE).machine.tunnels().tunnels();
    assert_eq!(directed.len(), 1, "its tunnel receives already");
    let negotiation = negotiation_of(&bench);
    let message = Message::from(TunnelResponse { negotiation, wrapped_key: Vec::new() });
    let header = Header { kind: 0, transaction: request.transaction, key_id: k_tun.id, session, sequence: 1 << 40 };
    bench.inject(ALICE, at("192.0.2.21"), datagram::seal(&subkey, header, &message, None));
    bench.run_for(Duration::from_millis(100));
    assert_eq!(outcome(&mut bench, ALICE, 1), None, "{:?}", bench.counters);
    assert_eq!(bench.count("signalling.unexpected_answer"), 1);
    bench.mend("rs.u1.example", BOB);
    bench.run_for(Duration::from_secs(5));
    let told = outcome(&mut bench, ALICE, 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "the peer's own answer counts: {told:?}");
}

/// The negotiation that the RS was directed for.
fn negotiation_of(bench: &Bench) -> Negotiation {
    let frames = bench.tls_frames.iter().filter_map(|c| Some((c, Frame::decode(&c.bytes).ok()?)));
    let relay = name("rs.u1.example");
    let (k_dcrs, session) = frames
        .filter_map(|(crossed, frame)| match frame.message {
            Message::KeySharingRequest(request) if crossed.to == relay => Some((request.key, frame.session)),
            _ => None,
        })
        .next()
        .expect("the RS shares a key");
    let subkey = Subkey::derive(&k_dcrs.secret, Purpose::Signalling(KeyKind::Dcrs), Role::Dc, session);
    let opened = bench.crossed.iter().filter_map(|crossed| datagram::open(&subkey, &crossed.bytes).ok());
    let directions = opened.filter_map(|(_, message, _)| match message {
        Message::RelayDirection(direction) => Some(direction.negotiation),
        _ => None,
    });
    directions.last().expect("the RS was directed")
}

/// Under `k-tmp` the DCs could read along: whoever has chosen more is talked to with more, whichever end starts.
#[test]
fn a_node_that_wants_public_keys_is_not_talked_to_without() {
    for (alice_wants, bob_wants, stands) in
        [("k-tmp", "public-key", false), ("public-key", "k-tmp", true), ("public-key", "public-key", true)]
    {
        let with = |agreement: &str| {
            let mut choices = Choices::default();
            choices.set(Kind::Agreement, agreement);
            choices
        };
        let mut bench = network(34, &Choices::default());
        join(&mut bench, "alice@u1.example", &with(alice_wants), "10.0.0.2", Some("198.51.100.1"));
        join(&mut bench, "bob@u2.example", &with(bob_wants), "203.0.113.5", None);
        bench.run_for(Duration::from_secs(2));
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(Duration::from_secs(2));
        match outcome(&mut bench, ALICE, 1) {
            Some(NodeEvent::Connected { .. }) => assert!(stands, "{alice_wants} {bob_wants}"),
            Some(NodeEvent::ConnectFailed { error: ConnectError::Refused(refusal), .. }) => {
                assert!(!stands && refusal.code == RefusalCode::NotAllowed, "{alice_wants} {bob_wants}: {refusal:?}");
            }
            told => panic!("{alice_wants} {bob_wants}: {told:?} {:?}", bench.counters),
        }
    }
}
