//! The Notification Server among a DC and nodes: the papers' sequence, and everything that can go wrong with it.

use super::{NotificationServer, NotificationServerConfig, NotificationServerEvent};
use crate::endpoint::{Association, Peer};
use crate::machine::{Input, RequestId, StoreFailure, StreamId};
use crate::scripted::{Script, at, key, name};
use crate::shared_keys::Coordinators;
use crate::time::UnixTime;
use bytes::Bytes;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session};
use ntmobile_wire::key::NamedKey;
use ntmobile_wire::message::{
    Keepalive, KeySharingRequest, KeySharingResponse, Message, Notification, NotificationDirection,
    NotificationRegistration, NtmAck, RefusalCode, SharedKeyPurpose,
};
use ntmobile_wire::subkey::{KeyKind, Role};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

type Ns = Script<NotificationServer>;

const K_DCNS: u8 = 1;
const K_NTMNS: u8 = 2;
const SECOND: Duration = Duration::from_secs(1);
const STREAM: StreamId = StreamId(1 << 63);

fn config() -> NotificationServerConfig {
    NotificationServerConfig::new(name("ns.u1.example"))
}

fn start(config: NotificationServerConfig) -> Ns {
    let mut ns = Script::start(|entropy| NotificationServer::new(config, entropy), BTreeMap::new());
    ns.remote("dc", "192.0.2.2:4500");
    ns.remote("alice", "198.51.100.1:5000");
    ns
}

fn restart(before: Ns) -> Ns {
    let wall = UnixTime(before.wall.0 + 1);
    let make = |entropy: &mut dyn ntmobile_wire::entropy::Entropy| NotificationServer::new(config(), entropy);
    let mut ns = Script::start_at(make, before.store, (wall, 77));
    ns.remotes = before.remotes;
    ns.now = before.now;
    ns
}

fn sharing(requester: &str, key: NamedKey) -> KeySharingRequest {
    KeySharingRequest { purpose: SharedKeyPurpose::DcNs, requester: name(requester), key, lifetime_s: 3_600 }
}

/// Shares K_dcns between the DC and the NS.
fn share(ns: &mut Ns) {
    let session = ns.remotes["dc"].endpoint.session();
    ns.tls(Some("dc.u1.example"), session, sharing("dc.u1.example", key(K_DCNS)));
    let (_, answer, server_session) = ns.tls_answers.pop_front().expect("Key Sharing is answered");
    assert_eq!(answer, KeySharingResponse { server: name("ns.u1.example") }.into());
    ns.hold("dc", |session| {
        let peer = Peer::named(name("ns.u1.example"));
        Association::new(key(K_DCNS), KeyKind::Dcns, (Role::Dc, session), (Role::Ns, Some(server_session)), peer)
    });
}

fn direction(key: NamedKey, node_session: Session) -> NotificationDirection {
    let (node, application) = (name("alice.u1.example"), ApplicationId(0));
    NotificationDirection { node, application, key, lifetime_s: 3_600, node_session }
}

/// Announces the node under a key, and gives it the key.
fn announce(ns: &mut Ns, number: u8) {
    let session = ns.remotes["alice"].endpoint.session();
    ns.request("dc", KeyId(K_DCNS.into()), direction(key(number), session));
    assert_eq!(ns.answered("dc"), NtmAck::default().into());
    ns.hold("alice", |session| {
        let peer = Peer::named(name("ns.u1.example"));
        Association::new(key(number), KeyKind::Ntmns, (Role::Node, session), (Role::Ns, None), peer)
    });
}

fn registration() -> NotificationRegistration {
    NotificationRegistration { node: name("alice.u1.example"), application: ApplicationId(0) }
}

fn keepalive() -> Keepalive {
    Keepalive { application: ApplicationId(0), real: at("198.51.100.1:5000"), epoch: 1 }
}

fn notification() -> Notification {
    Notification { node: name("alice.u1.example"), application: ApplicationId(0) }
}

fn register(ns: &mut Ns, stream: StreamId, number: u8) {
    ns.connect("alice", stream);
    ns.request("alice", KeyId(number.into()), registration());
    assert_eq!(ns.answered("alice"), NtmAck { observed: Some(at("198.51.100.1:5000")) }.into());
}

/// A node that is announced and connected.
fn connected() -> Ns {
    let mut ns = start(config());
    share(&mut ns);
    announce(&mut ns, K_NTMNS);
    register(&mut ns, STREAM, K_NTMNS);
    ns
}

#[track_caller]
fn assert_refused(message: Message, code: RefusalCode) {
    match message {
        Message::Refusal(refusal) => assert_eq!(refusal.code, code, "{}", refusal.detail),
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[test]
fn a_connected_node_is_woken_and_the_dc_learns_it_only_then() {
    let mut ns = connected();
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert!(ns.is_quiet("dc"), "the DC is not answered before the node has answered");
    let (ticket, message) = ns.requested("alice");
    assert_eq!(message, notification().into());
    ns.answer("alice", &ticket, NtmAck::default());
    assert_eq!(ns.answered("dc"), NtmAck::default().into());
    ns.give(Input::StreamClosed { stream: STREAM });
    let (coordinator, node) = (name("dc.u1.example"), Peer::named(name("alice.u1.example")));
    let told = [
        NotificationServerEvent::KeyShared { coordinator: coordinator.clone() },
        NotificationServerEvent::Announced { coordinator, node: node.clone() },
        NotificationServerEvent::Connected { node: node.clone() },
        NotificationServerEvent::Woken { node: node.clone() },
        NotificationServerEvent::Disconnected { node },
    ];
    assert_eq!(ns.told, told);
}

#[test]
fn lost_and_repeated_datagrams_change_nothing() {
    let mut ns = start(config());
    ns.copies = Box::new(|sent| [0, 1, 0, 2, 0, 2, 2, 1][sent % 8]);
    share(&mut ns);
    let session = ns.remotes["alice"].endpoint.session();
    ns.request("dc", KeyId(K_DCNS.into()), direction(key(K_NTMNS), session));
    ns.pass(SECOND * 30);
    assert_eq!(ns.answered("dc"), NtmAck::default().into());
    assert!(ns.is_quiet("dc"));
    assert_eq!(ns.count("notification.directed"), 1, "the direction was acted upon once");
    assert!(ns.count("signalling.repeated_request") > 0, "the answer was lost at least once");
}

#[test]
fn a_node_that_does_not_answer_is_asleep() {
    let mut ns = connected();
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    ns.pass(SECOND * 8);
    assert_refused(ns.answered("dc"), RefusalCode::PeerAsleep);
    let node = Peer::named(name("alice.u1.example"));
    assert_eq!(ns.told.last(), Some(&NotificationServerEvent::NotWoken { node }));
}

#[test]
fn a_node_without_connection_is_asleep_and_an_unknown_one_is_not_registered() {
    let mut ns = start(config());
    share(&mut ns);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_refused(ns.answered("dc"), RefusalCode::PeerNotRegistered);
    announce(&mut ns, K_NTMNS);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_refused(ns.answered("dc"), RefusalCode::PeerAsleep);
}

#[test]
fn when_the_connection_breaks_the_dc_is_told_at_once() {
    let mut ns = connected();
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    ns.give(Input::StreamClosed { stream: STREAM });
    assert_refused(ns.answered("dc"), RefusalCode::PeerAsleep);
}

#[test]
fn keepalives_keep_the_connection_and_silence_ends_it() {
    let mut ns = connected();
    for _ in 0..2 {
        ns.pass(SECOND * 1_500);
        ns.request("alice", KeyId(K_NTMNS.into()), keepalive());
        assert_eq!(ns.answered("alice"), NtmAck { observed: Some(at("198.51.100.1:5000")) }.into());
    }
    assert!(ns.closed.is_empty());

    let mut short = config();
    short.keepalive = SECOND * 60;
    let mut ns = start(short);
    share(&mut ns);
    announce(&mut ns, K_NTMNS);
    register(&mut ns, STREAM, K_NTMNS);
    ns.pass(SECOND * 119);
    assert!(ns.closed.is_empty());
    ns.pass(SECOND);
    assert_eq!(ns.closed, [STREAM]);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_refused(ns.answered("dc"), RefusalCode::PeerAsleep);
}

#[test]
fn a_connection_that_does_not_register_is_closed() {
    let mut ns = start(config());
    ns.connect("alice", STREAM);
    ns.pass(Duration::from_millis(9_999));
    assert!(ns.closed.is_empty());
    ns.pass(Duration::from_millis(1));
    assert_eq!(ns.closed, [STREAM]);
}

#[test]
fn connections_without_registration_are_bounded_and_cost_registered_nodes_nothing() {
    let mut small = config();
    small.unregistered_streams = 2;
    let mut ns = start(small);
    share(&mut ns);
    announce(&mut ns, K_NTMNS);
    register(&mut ns, STREAM, K_NTMNS);
    for number in 0..5 {
        ns.give(Input::StreamOpened { stream: StreamId(number), peer: at("203.0.113.1:1") });
    }
    assert_eq!(ns.closed, [StreamId(2), StreamId(3), StreamId(4)]);
    ns.give(Input::StreamClosed { stream: StreamId(0) });
    ns.give(Input::StreamOpened { stream: StreamId(9), peer: at("203.0.113.1:1") });
    assert_eq!(ns.closed.len(), 3);
}

#[test]
fn a_connection_that_carries_something_else_is_closed() {
    let mut ns = start(config());
    ns.connect("alice", STREAM);
    ns.give(Input::StreamReceived { stream: STREAM, bytes: Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n") });
    assert_eq!(ns.closed, [STREAM]);
    ns.give(Input::StreamReceived { stream: STREAM, bytes: Bytes::from_static(b"more") });
}

#[test]
fn a_node_that_connects_again_leaves_its_old_connection() {
    let mut ns = connected();
    let second = StreamId(STREAM.0 + 1);
    register(&mut ns, second, K_NTMNS);
    assert_eq!(ns.closed, [STREAM]);
    ns.give(Input::StreamClosed { stream: STREAM });
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_eq!(ns.requested("alice").1, notification().into());
}

#[test]
fn the_old_key_is_good_until_the_node_uses_the_new_one() {
    let mut ns = connected();
    announce(&mut ns, 3);
    announce(&mut ns, 4);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    let (ticket, _) = ns.requested("alice");
    assert_eq!(ticket.key, KeyId(K_NTMNS.into()));
    ns.answer("alice", &ticket, NtmAck::default());
    assert_eq!(ns.answered("dc"), NtmAck::default().into());

    register(&mut ns, StreamId(STREAM.0 + 1), 4);
    let stored: Vec<_> = ns.store.keys().filter(|(table, _)| *table == super::NODES).collect();
    assert_eq!(stored.len(), 1, "keys that are done with are deleted");
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_eq!(ns.requested("alice").0.key, KeyId(4));
}

#[test]
fn an_expired_key_ends_the_connection_and_the_record() {
    let mut ns = connected();
    ns.pass(SECOND * 3_600);
    assert_eq!(ns.closed, [STREAM]);
    assert!(ns.store.is_empty(), "both keys have ended");
}

#[test]
fn a_restarted_server_goes_on_with_the_stored_keys() {
    let mut ns = restart(connected());
    ns.connect("alice", StreamId(5));
    ns.request("alice", KeyId(K_NTMNS.into()), registration());
    assert_eq!(ns.answered("alice"), NtmAck { observed: Some(at("198.51.100.1:5000")) }.into());
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    let (ticket, _) = ns.requested("alice");
    ns.answer("alice", &ticket, NtmAck::default());
    assert_eq!(ns.answered("dc"), NtmAck::default().into());
    assert!(ns.count("signalling.session_challenged") >= 2, "sessions from before the restart are challenged");
}

#[test]
fn a_restart_opens_no_replay() {
    let mut ns = connected();
    ns.copies = Box::new(|_| 0);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    let captured = ns.last_from_remote.take().expect("the DC has sent a Notification");
    let mut ns = restart(ns);
    ns.give(Input::Datagram { from: at("203.0.113.66:6"), bytes: captured });
    assert_eq!(ns.count("signalling.session_challenged"), 1);
    assert_eq!(ns.count("notification.refused"), 0, "nothing was acted upon");
}

#[test]
fn only_a_coordinators_certificate_of_the_same_name_shares_a_key() {
    let mut ns = start(config());
    for other in ["alice.u1.example", "as.example", "rs.u1.example", "ns2.u1.example"] {
        ns.tls(Some(other), Session(1), sharing(other, key(K_DCNS)));
        assert_refused(ns.tls_answered(), RefusalCode::NotAllowed);
    }
    for certificate in [None, Some("dc.u2.example")] {
        ns.tls(certificate, Session(1), sharing("dc.u1.example", key(K_DCNS)));
        assert_refused(ns.tls_answered(), RefusalCode::NotAllowed);
    }
    let other_purpose = KeySharingRequest { purpose: SharedKeyPurpose::DcRs, ..sharing("dc.u1.example", key(1)) };
    ns.tls(Some("dc.u1.example"), Session(1), other_purpose);
    assert_refused(ns.tls_answered(), RefusalCode::Unsupported);
    ns.tls(Some("dc.u1.example"), Session(1), registration());
    assert_refused(ns.tls_answered(), RefusalCode::Unsupported);
    assert!(ns.store.is_empty());
}

#[test]
fn a_server_that_names_its_coordinators_works_for_no_other() {
    let mut closed = config();
    closed.coordinators = Coordinators { admitted: Some([name("dc.u1.example")].into()), limit: 8 };
    let mut ns = start(closed);
    ns.tls(Some("dc.u2.example"), Session(1), sharing("dc.u2.example", key(9)));
    assert_refused(ns.tls_answered(), RefusalCode::NotAllowed);
    share(&mut ns);
}

#[test]
fn coordinators_are_bounded() {
    let mut small = config();
    small.coordinators.limit = 1;
    let mut ns = start(small);
    share(&mut ns);
    ns.tls(Some("dc.u2.example"), Session(1), sharing("dc.u2.example", key(9)));
    assert_refused(ns.tls_answered(), RefusalCode::Overloaded);
    for number in 10..20 {
        ns.tls(Some("dc.u1.example"), Session(1), sharing("dc.u1.example", key(number)));
        assert!(matches!(ns.tls_answered(), Message::KeySharingResponse(_)));
    }
    assert_eq!(ns.store.len(), 2, "a DC holds the key in use and the one before it");
}

#[test]
fn nobody_takes_the_place_of_anothers_key() {
    let mut ns = connected();
    let stolen = NamedKey { id: KeyId(K_DCNS.into()), ..key(9) };
    ns.tls(Some("dc.u2.example"), Session(1), sharing("dc.u2.example", stolen.clone()));
    assert_refused(ns.tls_answered(), RefusalCode::NotAllowed);
    let session = ns.remotes["alice"].endpoint.session();
    ns.request("dc", KeyId(K_DCNS.into()), direction(stolen, session));
    assert_refused(ns.answered("dc"), RefusalCode::NotAllowed);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_eq!(ns.requested("alice").1, notification().into());
}

#[test]
fn a_coordinator_announces_and_wakes_nodes_of_its_own_domain_alone() {
    let mut ns = connected();
    ns.remote("other", "192.0.2.3:4500");
    let session = ns.remotes["other"].endpoint.session();
    ns.tls(Some("dc.u2.example"), session, sharing("dc.u2.example", key(9)));
    let (_, _, server_session) = ns.tls_answers.pop_front().expect("Key Sharing is answered");
    ns.hold("other", |session| {
        let peer = Peer::named(name("ns.u1.example"));
        Association::new(key(9), KeyKind::Dcns, (Role::Dc, session), (Role::Ns, Some(server_session)), peer)
    });
    ns.request("other", KeyId(9), direction(key(10), Session(1)));
    assert_refused(ns.answered("other"), RefusalCode::NotAllowed);
    ns.request("other", KeyId(9), notification());
    assert_refused(ns.answered("other"), RefusalCode::PeerNotRegistered);
    assert!(ns.is_quiet("alice"));
}

#[test]
fn a_node_registers_only_as_itself_and_only_over_tcp() {
    let mut ns = start(config());
    share(&mut ns);
    announce(&mut ns, K_NTMNS);
    ns.request("alice", KeyId(K_NTMNS.into()), registration());
    assert_refused(ns.answered("alice"), RefusalCode::NotAllowed);
    ns.connect("alice", STREAM);
    let as_bob = NotificationRegistration { node: name("bob.u1.example"), ..registration() };
    ns.request("alice", KeyId(K_NTMNS.into()), as_bob);
    assert_refused(ns.answered("alice"), RefusalCode::NotAllowed);
    ns.request("alice", KeyId(K_NTMNS.into()), keepalive());
    assert_refused(ns.answered("alice"), RefusalCode::NotAllowed);
    ns.request("alice", KeyId(K_NTMNS.into()), notification());
    assert_refused(ns.answered("alice"), RefusalCode::Unsupported);
    ns.pass(SECOND * 10);
    assert_eq!(ns.closed, [STREAM], "none of this counts as a registration");
}

#[test]
fn what_cannot_be_stored_is_not_acknowledged() {
    let mut ns = start(config());
    ns.store_failure = Some(StoreFailure::Full);
    ns.tls(Some("dc.u1.example"), Session(1), sharing("dc.u1.example", key(K_DCNS)));
    assert_refused(ns.tls_answered(), RefusalCode::StorageFailed);
    ns.store_failure = None;
    share(&mut ns);
    ns.store_failure = Some(StoreFailure::Failed("x".repeat(500)));
    ns.request("dc", KeyId(K_DCNS.into()), direction(key(K_NTMNS), Session(1)));
    assert_refused(ns.answered("dc"), RefusalCode::StorageFailed);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_refused(ns.answered("dc"), RefusalCode::PeerNotRegistered);
}

#[test]
fn nodes_and_requests_are_bounded() {
    let mut small = config();
    small.nodes = 1;
    small.requests = 1;
    let mut ns = start(small);
    share(&mut ns);
    announce(&mut ns, K_NTMNS);
    let other = NotificationDirection { application: ApplicationId(7), ..direction(key(5), Session(1)) };
    ns.request("dc", KeyId(K_DCNS.into()), other);
    assert_refused(ns.answered("dc"), RefusalCode::Overloaded);
    register(&mut ns, STREAM, K_NTMNS);
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    assert_refused(ns.answered("dc"), RefusalCode::Overloaded);
}

#[test]
fn the_wake_up_is_one_trace() {
    let mut ns = connected();
    ns.spans.clear();
    ns.request("dc", KeyId(K_DCNS.into()), notification());
    let (ticket, _) = ns.requested("alice");
    ns.answer("alice", &ticket, NtmAck::default());
    let spans: Vec<_> = ns.spans.iter().filter(|span| span.name == "Notification").collect();
    assert_eq!(spans.len(), 2, "one served, one sent");
    assert_eq!(spans[0].context.trace, spans[1].context.trace);
    let served =
        ns.spans.iter().find(|span| span.name == "Notification" && span.kind == crate::trace::SpanKind::Server);
    let sent = ns.spans.iter().find(|span| span.name == "Notification" && span.kind == crate::trace::SpanKind::Client);
    let (served, sent) = (served.expect("it was served"), sent.expect("it was sent"));
    assert_eq!(sent.parent, Some(served.context.span));
}

/// Anything at all that may come from outside.
fn any_input() -> impl Strategy<Value = Input> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let stream = || (0u64..3).prop_map(|number| StreamId(STREAM.0 + number));
    prop_oneof![
        bytes().prop_map(|bytes| Input::Datagram { from: at("203.0.113.1:1"), bytes }),
        stream().prop_map(|stream| Input::StreamOpened { stream, peer: at("203.0.113.1:1") }),
        (stream(), bytes()).prop_map(|(stream, bytes)| Input::StreamReceived { stream, bytes }),
        stream().prop_map(|stream| Input::StreamClosed { stream }),
        (any::<u64>(), bytes()).prop_map(|(number, frame)| Input::TlsRequest {
            request: RequestId(number),
            from: at("203.0.113.1:1"),
            certificate: None,
            frame,
        }),
        (0u64..5).prop_map(|call| Input::Persisted { call: crate::machine::CallId(call), result: Ok(()) }),
        (bytes(), bytes()).prop_map(|(key, value)| Input::Started {
            records: vec![crate::machine::Record { table: "ns.node".into(), key, value }],
            addresses: Vec::new(),
            port: 0,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_input_makes_it_panic_or_breaks_what_stands(inputs in prop::collection::vec(any_input(), 0..40)) {
        let mut ns = start(config());
        share(&mut ns);
        announce(&mut ns, K_NTMNS);
        let own = StreamId(7);
        register(&mut ns, own, K_NTMNS);
        for input in inputs {
            ns.give(input);
            ns.pass(Duration::from_millis(700));
        }
        ns.remotes.get_mut("dc").expect("it is there").arrivals.clear();
        ns.request("dc", KeyId(K_DCNS.into()), notification());
        prop_assert_eq!(ns.requested("alice").1, notification().into());
    }
}
