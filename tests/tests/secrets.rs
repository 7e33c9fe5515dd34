//! Who can read application packets, and who cannot: an observer is handed everything that one or several entities ever
//! received or sent, and the captured packets, and tries every key it finds on everything it has.

use bytes::Bytes;
use ntmobile_proto::node::NodeEvent;
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Crossed, name};
use ntmobile_tests::network::{connect, join, network, outcome, say};
use ntmobile_wire::datagram::{self, Datagram, Header};
use ntmobile_wire::esp::{EspKey, EspOpener};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Negotiation, Session};
use ntmobile_wire::key::{NamedKey, Secret};
use ntmobile_wire::message::{CipherSuite, Message, RouteDirection};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use ntmobile_wire::wrap;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const SECRET: &[u8] = b"what nobody else may read";
const KINDS: [KeyKind; 8] = [
    KeyKind::Ntmdc,
    KeyKind::Dcns,
    KeyKind::Dcdc,
    KeyKind::Dcrs,
    KeyKind::Ntmns,
    KeyKind::Tun,
    KeyKind::Tmp,
    KeyKind::Mncn,
];
const ROLES: [Role; 8] =
    [Role::Node, Role::Dc, Role::Ns, Role::Rs, Role::Requester, Role::Responder, Role::Mn, Role::Cn];

/// Somebody who knows what some entities know, and tries everything.
#[derive(Default)]
struct Observer {
    keys: BTreeMap<KeyId, NamedKey>,
    sessions: BTreeSet<Session>,
    negotiations: BTreeSet<Negotiation>,
    wrapped: BTreeSet<Vec<u8>>,
    datagrams: Vec<Bytes>,
}

impl Observer {
    fn of(bench: &Bench, entities: &[&str]) -> Self {
        let entities: Vec<_> = entities.iter().map(|entity| name(entity)).collect();
        let concerns = |crossed: &&Crossed| entities.contains(&crossed.from) || entities.contains(&crossed.to);
        let mut observer = Self::default();
        for crossed in bench.tls_frames.iter().filter(concerns) {
            observer.learn(Frame::decode(&crossed.bytes).expect("a frame").message);
        }
        let seen = bench.crossed.iter().filter(concerns).map(|crossed| crossed.bytes.clone());
        observer.datagrams = seen.filter(|bytes| datagram::classify(bytes) == Datagram::Signalling).collect();
        observer
    }

    /// The same observer, having also captured every signalling datagram on the links between the two nodes.
    fn with_captures_between_the_ends(mut self, bench: &Bench) -> Self {
        let ends = [name(ALICE), name(BOB)];
        let between = bench.crossed.iter().filter(|crossed| ends.contains(&crossed.from) && ends.contains(&crossed.to));
        self.datagrams.extend(between.map(|crossed| crossed.bytes.clone()));
        self
    }

    fn learn(&mut self, message: Message) {
        match message {
            Message::KeyDistribution(m) => self.add(m.key),
            Message::LoginResponse(m) => self.add(m.key),
            Message::KeySharingRequest(m) => self.add(m.key),
            Message::NotificationDirection(m) => self.add(m.key),
            Message::RegistrationResponse(m) => m.notification.into_iter().for_each(|n| self.add(n.key)),
            Message::RouteDirection(m) => self.learn_direction(m),
            Message::RouteDirectionResponse(m) => m.direction.into_iter().for_each(|d| self.learn_direction(*d)),
            Message::RelayDirection(m) => self.add(m.k_tun),
            Message::TunnelRequest(m) => {
                self.negotiations.insert(m.negotiation);
                self.wrapped.insert(m.wrapped_key);
            }
            Message::TunnelResponse(m) => {
                self.wrapped.insert(m.wrapped_key);
            }
            _ => {}
        }
    }

    fn learn_direction(&mut self, direction: RouteDirection) {
        self.add(direction.k_tmp);
        direction.k_tun.into_iter().for_each(|key| self.add(key));
    }

    fn add(&mut self, key: NamedKey) {
        self.keys.insert(key.id, key);
    }

    /// Opens whatever the known keys open, until nothing new is found.
    fn study(&mut self) {
        loop {
            let before = (self.keys.len(), self.wrapped.len());
            for bytes in self.datagrams.clone() {
                let Ok(header) = Header::parse(&bytes) else { continue };
                self.sessions.insert(header.session);
                let Some(key) = self.keys.get(&header.key_id).cloned() else { continue };
                let subkeys = KINDS.iter().flat_map(|kind| ROLES.iter().map(move |role| (*kind, *role)));
                for (kind, role) in subkeys {
                    let subkey = Subkey::derive(&key.secret, Purpose::Signalling(kind), role, header.session);
                    if let Ok((_, message, _)) = datagram::open(&subkey, &bytes) {
                        self.learn(message);
                    }
                }
            }
            self.unwrap_keys();
            if before == (self.keys.len(), self.wrapped.len()) {
                return;
            }
        }
    }

    fn unwrap_keys(&mut self) {
        let mut found = Vec::new();
        for wrapped in &self.wrapped {
            // Where K_tmp seals the message itself, the key lies bare in it.
            if let Some((id, secret)) = wrapped.split_first_chunk::<8>()
                && let Ok(secret) = <[u8; 32]>::try_from(secret)
            {
                found.push(NamedKey { id: KeyId(u64::from_be_bytes(*id)), secret: Secret::from_bytes(secret) });
            }
            for key in self.keys.values() {
                for (negotiation, session) in
                    self.negotiations.iter().flat_map(|n| self.sessions.iter().map(move |s| (*n, *s)))
                {
                    for role in [Role::Mn, Role::Cn] {
                        found.extend(wrap::unwrap(&key.secret, (role, session), negotiation, wrapped));
                    }
                }
            }
        }
        found.into_iter().for_each(|key| self.add(key));
    }

    /// Whether the observer reads an application packet.
    fn reads(mut self, packets: &[Bytes]) -> bool {
        self.study();
        packets.iter().any(|packet| self.keys.values().any(|key| opens(key, packet)))
    }
}

fn opens(key: &NamedKey, packet: &[u8]) -> bool {
    let Datagram::Esp(spi) = datagram::classify(packet) else { return false };
    [CipherSuite::Aes128Gcm, CipherSuite::ChaCha20Poly1305].into_iter().any(|suite| {
        [Role::Mn, Role::Cn].into_iter().any(|sender| {
            let key = EspKey::derive(&key.secret, suite, sender, spi).expect("a known suite");
            let mut packet = packet.to_vec();
            let opened = EspOpener::new(&key).open(&mut packet);
            opened.is_ok_and(|inner| inner.packet.windows(SECRET.len()).any(|window| window == SECRET))
        })
    })
}

/// A conversation in which Alice tells Bob the secret; the packets as they crossed.
fn conversation(choices: &Choices, relayed: bool) -> (Bench, Vec<Bytes>) {
    let mut bench = network(11, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    let bob = if relayed { ("10.0.0.3", Some("198.51.100.2")) } else { ("203.0.113.5", None) };
    join(&mut bench, "bob@u2.example", choices, bob.0, bob.1);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(Duration::from_secs(2));
    let told = outcome(&mut bench, ALICE, 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{choices:?}: {told:?}");
    assert!(say(&mut bench, ALICE, BOB, SECRET), "the tunnel stands");
    bench.run_for(Duration::from_secs(1));
    let is_esp = |crossed: &&Crossed| matches!(datagram::classify(&crossed.bytes), Datagram::Esp(_));
    let packets: Vec<Bytes> = bench.crossed.iter().filter(is_esp).map(|crossed| crossed.bytes.clone()).collect();
    assert_eq!(packets.len(), if relayed { 2 } else { 1 });
    (bench, packets)
}

fn choices(changes: &[(Kind, &str)]) -> Choices {
    let mut choices = Choices::default();
    for (kind, name) in changes {
        choices.set(*kind, *name);
    }
    choices
}

/// Every protection and handshake; who reads is the same in all of them.
fn variants(agreement: &str) -> Vec<Choices> {
    let mut variants = Vec::new();
    for protection in ["two-keys", "one-key"] {
        for handshake in ["forwarded", "rendezvous"] {
            let changes =
                [(Kind::Agreement, agreement), (Kind::Protection, protection), (Kind::RelayHandshake, handshake)];
            variants.push(choices(&changes));
        }
    }
    variants
}

#[test]
fn the_ends_themselves_read() {
    for choices in variants("k-tmp") {
        for relayed in [false, true] {
            let (bench, packets) = conversation(&choices, relayed);
            assert!(Observer::of(&bench, &[ALICE]).reads(&packets), "the observer is too weak for {choices:?}");
        }
    }
}

#[test]
fn with_k_tmp_a_relay_alone_or_a_coordinator_alone_cannot_read_but_both_together_can() {
    for choices in variants("k-tmp") {
        let (bench, packets) = conversation(&choices, true);
        for alone in ["rs.u1.example", "dc.u1.example", "dc.u2.example"] {
            assert!(!Observer::of(&bench, &[alone]).reads(&packets), "{alone} reads with {choices:?}");
        }
        let both_coordinators = Observer::of(&bench, &["dc.u1.example", "dc.u2.example"]);
        assert!(!both_coordinators.reads(&packets), "{choices:?}");
        for coordinator in ["dc.u1.example", "dc.u2.example"] {
            let together = Observer::of(&bench, &[coordinator, "rs.u1.example"]);
            assert!(together.reads(&packets), "{coordinator} and the RS do not read with {choices:?}");
        }
    }
}

#[test]
fn with_k_tmp_a_coordinator_that_also_sees_the_tunnel_request_reads() {
    for choices in variants("k-tmp") {
        let (bench, packets) = conversation(&choices, false);
        assert!(!Observer::of(&bench, &["dc.u1.example"]).reads(&packets), "{choices:?}");
        let capturing = Observer::of(&bench, &["dc.u1.example"]).with_captures_between_the_ends(&bench);
        assert!(capturing.reads(&packets), "{choices:?}");
        let bystander = Observer::default().with_captures_between_the_ends(&bench);
        assert!(!bystander.reads(&packets), "{choices:?}");
    }
}

#[test]
fn with_public_keys_no_servers_together_read_whatever_they_capture() {
    let servers = ["as.example", "dc.u1.example", "dc.u2.example", "rs.u1.example", "rs.u2.example"];
    for choices in variants("public-key") {
        for relayed in [false, true] {
            let (bench, packets) = conversation(&choices, relayed);
            let everything = Observer::of(&bench, &servers).with_captures_between_the_ends(&bench);
            assert!(!everything.reads(&packets), "relayed {relayed}, {choices:?}");
        }
    }
}

/// `via-as`: the AS made K_ntmdc, so with captures of the signalling it follows every key down. `via-dc`: it never held it.
#[test]
fn what_the_account_server_could_read_depends_on_the_login() {
    for (login, reads) in [("via-as", true), ("via-dc", false)] {
        let (bench, packets) = conversation(&choices(&[(Kind::Login, login)]), true);
        let mut observer = Observer::of(&bench, &["as.example"]);
        observer.datagrams = bench.crossed.iter().map(|crossed| crossed.bytes.clone()).collect();
        assert_eq!(observer.reads(&packets), reads, "{login}");
    }
}
