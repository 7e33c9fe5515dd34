//! Members: they hold certificates, passwords or keys of the network and use them to fill other people's memory.

use super::{ALICE, BOB};
use bytes::Bytes;
use ntmobile_proto::direction_coordinator::DirectionCoordinator;
use ntmobile_proto::node::{Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, certificate_of, name};
use ntmobile_tests::malice::{assert_unchanged, refused, state};
use ntmobile_tests::network::{
    at, connect, coordinator, coordinator_config, join, join_as, network, node, node_config, open_packets, outcome,
};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::datagram::{self, Header};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi, Transaction};
use ntmobile_wire::key::{NamedKey, PublicKey, Secret, SecretText};
use ntmobile_wire::message::{
    CipherSuite, Credential, DirectionReason, KeyAgreement, KeySharingRequest, LoginRequest, Message, Route,
    RouteDirection, SharedKeyPurpose, TunnelAction, TunnelEnd, TunnelProtection,
};
use ntmobile_wire::name::Account;
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::time::Duration;

const DC: &str = "dc.u1.example";

fn two_nodes(choices: &Choices) -> Bench {
    let mut bench = network(51, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    bench
}

fn assert_connects(bench: &mut Bench, waiter: u64) {
    connect(bench, ALICE, BOB, waiter);
    bench.run_for(Duration::from_secs(5));
    let told = outcome(bench, ALICE, waiter);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {:?}", bench.counters);
}

fn key(id: u64) -> NamedKey {
    NamedKey { id: KeyId(id), secret: Secret::from_bytes([0xEE; 32]) }
}

fn asks(bench: &mut Bench, server: &str, who: Option<&str>, message: impl Into<Message>) {
    let transaction = Transaction(bench.now.0);
    let frame = Frame { transaction, session: Session(0xBAD), message: message.into(), trace: None };
    let certificate = who.map(|who| certificate_of(&name(who)));
    bench.inject_tls(server, at("192.0.2.66"), certificate, frame.encode());
    bench.run_for(Duration::ZERO);
}

fn shares(bench: &mut Bench, who: &str, id: u64) {
    let purpose = SharedKeyPurpose::DcDc;
    let request = KeySharingRequest { purpose, requester: name(who), key: key(id), lifetime_s: 3_600 };
    asks(bench, DC, Some(who), request);
}

#[test]
fn another_coordinator_has_two_keys_however_many_it_shares() {
    let mut bench = two_nodes(&Choices::default());
    let before = bench.sizes(DC);
    for id in 0..1_000 {
        shares(&mut bench, "dc.u3.example", 0xBAD_0000 + id);
    }
    let after = bench.sizes(DC);
    assert_eq!(after.of("server_keys"), before.of("server_keys") + 2);
    assert_eq!(after.of("keys"), before.of("keys") + 2);
    assert_eq!(bench.count("dc.server_key_replaced"), 998);
    bench.run_for(Duration::from_secs(3_601));
    assert_eq!(bench.sizes(DC).of("server_keys"), before.of("server_keys"), "they end");
    assert_connects(&mut bench, 1);
}

#[test]
fn more_coordinators_than_there_is_room_for_are_refused_and_ours_still_finds_whom_it_needs() {
    let choices = Choices::default();
    let mut bench = two_nodes(&choices);
    let mut config = coordinator_config(0, &choices);
    config.coordinators = 10;
    let machine = DirectionCoordinator::new(config, bench.entropy());
    bench.restart(DC, machine);
    bench.run_for(Duration::from_secs(1));
    for id in 0..100 {
        let before = refused(&bench);
        shares(&mut bench, &format!("dc.v{id}.example"), 0xBAD_0000 + id);
        assert_eq!(refused(&bench) > before, id >= 10, "{id}");
    }
    assert_eq!(bench.sizes(DC).of("server_keys"), 10);
    assert_connects(&mut bench, 1);
    assert!(bench.sizes(DC).of("server_keys") <= 11, "the RS's besides");
}

fn login(application: u16) -> LoginRequest {
    LoginRequest {
        account: Account::parse("alice@u1.example").expect("an account"),
        credential: Credential::Password(SecretText::new("right")),
        application: ApplicationId(application.into()),
        public_key: PublicKey([5; 32]),
    }
}

/// Somebody who knows Alice's password logs in as often as there is time for: her device goes on under the key that it has.
#[test]
fn an_application_has_a_few_keys_however_often_it_logs_in_and_keeps_the_one_in_use() {
    let mut bench = two_nodes(&Choices::default());
    for _ in 0..200 {
        asks(&mut bench, "as.example", None, login(0));
        bench.run_for(Duration::from_millis(200));
    }
    let stored = bench.records(DC).iter().filter(|(table, ..)| table == "node-key").count();
    assert_eq!((bench.count("dc.node_key_replaced"), stored), (197, 4));
    let logins = bench.count("node.logged_in");
    let machine = coordinator(&mut bench, 0, &Choices::default());
    bench.restart(DC, machine);
    bench.run_for(Duration::from_secs(60));
    assert_connects(&mut bench, 1);
    assert_eq!(bench.count("node.logged_in"), logins, "Alice's own key still holds, also after a restart");
}

#[test]
fn a_node_has_a_bounded_number_of_applications() {
    let mut bench = two_nodes(&Choices::default());
    for application in 1..100 {
        asks(&mut bench, "as.example", None, login(application));
        bench.run_for(Duration::from_millis(200));
    }
    assert_eq!(bench.sizes(DC).of("applications"), 32);
    assert_connects(&mut bench, 1);
    bench.run_for(Duration::from_secs(25 * 3_600));
    assert_eq!(bench.sizes(DC).of("applications"), 1, "those whose keys have ended are forgotten");
}

/// A node that changes its mind a hundred times while its Notification Server is silent.
#[test]
fn a_node_has_one_registration_under_way() {
    let mut choices = Choices::default();
    choices.set(Kind::Reachability, "tcp-ns");
    let mut bench = network(53, &choices);
    bench.set_up("ns.u1.example", false);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
    bench.run_for(Duration::from_secs(1));
    for turn in 0..100 {
        bench.move_to(ALICE, &["10.0.0.2"], Some(&format!("198.51.100.{}", 100 + turn)));
        bench.run_for(Duration::from_millis(100));
        assert!(bench.sizes(DC).of("registrations") <= 1, "{turn}");
    }
    assert!(bench.count("dc.registration_superseded") > 50, "{:?}", bench.counters);
}

/// What the DC told Alice at her login: its session, and the key.
fn granted(bench: &Bench) -> (NamedKey, Session) {
    let answers = bench.tls_frames.iter().filter(|crossed| crossed.to == name(ALICE));
    let mut frames = answers.filter_map(|crossed| Frame::decode(&crossed.bytes).ok());
    frames
        .find_map(|frame| match frame.message {
            Message::LoginResponse(response) => Some((response.key, response.dc_session)),
            _ => None,
        })
        .expect("Alice has logged in")
}

fn direction(number: u32) -> RouteDirection {
    let id = u64::from(number);
    RouteDirection {
        negotiation: Negotiation(id),
        end: TunnelEnd::Cn,
        action: TunnelAction::Await,
        node: name(ALICE),
        application: ApplicationId(0),
        peer: name(&format!("x{number}.u3.example")),
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
        k_tun: Some(key(0xBAD_0000 + 2 * id)),
        k_tmp: key(0xBAD_0001 + 2 * id),
        peer_public_key: None,
        spi_in: Spi(0x1000 + number * 0x10),
        spi_out: Spi(0x2000),
        idle_s: 300,
    }
}

/// A DC that directs one of its nodes without end.
#[test]
fn a_node_follows_a_bounded_number_of_directions() {
    let mut bench = two_nodes(&Choices::default());
    let (key, session) = granted(&bench);
    let subkey = Subkey::derive(&key.secret, Purpose::Signalling(KeyKind::Ntmdc), Role::Dc, session);
    let before = bench.sizes(ALICE);
    for number in 0..1_000u32 {
        let message = Message::from(direction(number));
        let header = Header {
            kind: message.kind(),
            transaction: Transaction(0xBAD_0000 + u64::from(number)),
            key_id: key.id,
            session,
            sequence: (1 << 40) + u64::from(number),
        };
        let sealed: Bytes = datagram::seal(&subkey, header, &message, None);
        bench.inject(ALICE, at("192.0.2.11"), sealed);
        bench.run_for(Duration::ZERO);
    }
    let sizes = bench.sizes(ALICE);
    assert_eq!(sizes.of("negotiations"), 256, "{sizes:?}");
    assert_eq!(bench.count("node.direction_refused"), 1_000 - 256);
    bench.run_for(Duration::from_secs(60));
    let after = bench.sizes(ALICE);
    for table in ["negotiations", "peers", "keys", "tunnels"] {
        assert_eq!(after.of(table), before.of(table), "{table}: what does not come about is forgotten");
    }
}

/// Old messages of sessions that are over make a DC challenge those sessions; that must not keep it from hearing the one
/// that is there.
#[test]
fn replays_of_old_sessions_do_not_keep_the_present_one_from_proving_itself() {
    let choices = Choices::default();
    let mut bench = two_nodes(&choices);
    for _ in 0..4 {
        let machine = node(&mut bench, "alice@u1.example", &choices);
        bench.restart(ALICE, machine);
        open_packets(&mut bench, ALICE);
        bench.run_for(Duration::ZERO);
        bench.command::<Node>(ALICE, NodeCommand::Join);
        bench.run_for(Duration::from_secs(3));
    }
    let said = bench.crossed.iter().filter(|crossed| crossed.from == name(ALICE) && crossed.to == name(DC));
    let mut old: Vec<_> = said.map(|crossed| crossed.bytes.clone()).collect();
    let session = |bytes: &Bytes| Header::parse(bytes).expect("a header").session;
    let present = session(old.last().expect("Alice has spoken"));
    old.retain(|bytes| session(bytes) != present);
    let machine = coordinator(&mut bench, 0, &choices);
    bench.restart(DC, machine);
    bench.run_for(Duration::from_secs(1));
    connect(&mut bench, ALICE, BOB, 1);
    let begun = bench.now;
    for _ in 0..1_000 {
        for bytes in &old {
            bench.arrive(DC, at("198.51.100.1"), bytes.clone());
        }
        bench.run_for(Duration::from_millis(5));
        if outcome(&mut bench, ALICE, 1).is_some() {
            break;
        }
    }
    let told = outcome(&mut bench, ALICE, 1);
    let took = bench.now.since(begun);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{took:?} {told:?} {:?}", bench.counters);
}

/// What has ended is deleted from the store; addresses are permanent.
#[test]
fn what_has_ended_does_not_stay_in_the_store() {
    let mut choices = Choices::default();
    choices.set(Kind::Login, "via-dc");
    let mut bench = network(52, &choices);
    bench.passwords.insert("alice@u1.example".to_owned(), "right".to_owned());
    let config = node_config("alice@u1.example", &choices, "right");
    let machine = Node::new(config, bench.entropy());
    join_as(&mut bench, machine, "alice@u1.example", "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", &choices, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(2));
    assert_connects(&mut bench, 1);
    let tables = |bench: &Bench| -> Vec<String> { bench.records(DC).into_iter().map(|(table, ..)| table).collect() };
    assert_eq!(tables(&bench), ["address", "node-key", "node-voucher", "registration", "server-key"]);
    bench.command::<Node>(ALICE, NodeCommand::Leave);
    bench.run_for(Duration::from_secs(120));
    assert_eq!(tables(&bench), ["address", "node-key", "node-voucher", "server-key"]);
    bench.run_for(Duration::from_secs(25 * 3_600));
    assert_eq!(tables(&bench), ["address"]);
    assert_eq!(bench.sizes(DC).of("keys"), 0);
}

/// Whoever has kept a copy of a request that was challenged must not be able to bring it later, from an address of their own.
#[test]
fn a_registration_that_was_challenged_cannot_be_brought_again_from_elsewhere() {
    let choices = Choices::default();
    let mut bench = two_nodes(&choices);
    let machine = coordinator(&mut bench, 0, &choices);
    bench.restart(DC, machine);
    bench.run_for(Duration::from_secs(1));
    let before = bench.crossed.len();
    bench.move_to(ALICE, &["10.0.0.2"], Some("198.51.100.7"));
    bench.run_for(Duration::from_secs(100));
    assert!(bench.count("signalling.session_challenged") > 0, "{:?}", bench.counters);
    let said = bench.crossed[before..].iter().find(|crossed| crossed.from == name(ALICE) && crossed.to == name(DC));
    let challenged = said.expect("Alice has registered").bytes.clone();
    let (known, refusals) = (state(&bench), refused(&bench));
    bench.arrive(DC, at("192.0.2.66"), challenged);
    bench.run_for(Duration::from_secs(1));
    assert_eq!(refused(&bench), refusals + 1, "{:?}", bench.counters);
    assert_unchanged(&known, &state(&bench), "the registration");
}

/// A sleeping node that everybody calls at the same time fetches a few directions at once, and in the end all of them.
#[test]
fn a_node_that_is_woken_by_many_at_once_asks_a_few_times_and_serves_them_all() {
    const CALLERS: u64 = 30;
    let mut bench = network(54, &Choices::default());
    let mut sleeping = Choices::default();
    sleeping.set(Kind::Reachability, "tcp-ns");
    join(&mut bench, "bob@u2.example", &sleeping, "203.0.113.5", None);
    for caller in 0..CALLERS {
        let address = format!("203.0.113.{}", 100 + caller);
        join(&mut bench, &format!("caller{caller}@u1.example"), &Choices::default(), &address, None);
    }
    bench.run_for(Duration::from_secs(3));
    for caller in 0..CALLERS {
        connect(&mut bench, &format!("caller{caller}.u1.example"), BOB, caller);
    }
    let mut most = 0;
    for _ in 0..2_000 {
        bench.run_for(Duration::from_millis(1));
        most = most.max(bench.sizes(BOB).of("requests"));
    }
    for caller in 0..CALLERS {
        let told = outcome(&mut bench, &format!("caller{caller}.u1.example"), caller);
        assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{caller}: {told:?} {:?}", bench.counters);
    }
    assert!(bench.count("node.pull_put_off") > 0, "{:?}", bench.counters);
    // Four pulls, and an acknowledgement and a Tunnel Request for each direction that has come.
    assert!(most < 3 * usize::try_from(CALLERS).unwrap_or_default(), "{most} requests at once");
}
