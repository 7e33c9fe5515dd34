//! A machine under test among scripted peers: an in-memory network of endpoints that can lose and repeat, a store that can
//! fail, and a clock that only the script moves.

use crate::certificate::{CertificateRole, PeerCertificate};
use crate::endpoint::{Arrival, Association, Endpoint, Path, Request, StreamFraming, Ticket};
use crate::machine::{Context, Effect, Input, Machine, Record, RequestId, StoreFailure, StreamId};
use crate::time::{Instant, UnixTime};
use crate::trace::Span;
use bytes::Bytes;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session, Transaction};
use ntmobile_wire::key::{NamedKey, Secret};
use ntmobile_wire::message::Message;
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Where the machine under test is.
pub(crate) const SERVER: &str = "192.0.2.1:4500";

/// Draws that all differ and are the same in every run.
pub(crate) struct Counting(pub(crate) u64);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&mixed[..chunk.len()]);
        }
    }
}

pub(crate) fn name(text: &str) -> Fqdn {
    Fqdn::parse(text).expect("a sound name")
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// The certificate of a server or node, whose part is what its name says.
pub(crate) fn certificate_of(text: &str) -> PeerCertificate {
    let name = name(text);
    let role = match name.host().trim_end_matches(|last: char| last.is_ascii_digit()) {
        "as" => CertificateRole::AccountServer,
        "rs" => CertificateRole::RelayServer,
        "ns" => CertificateRole::NotificationServer,
        "dc" => CertificateRole::DirectionCoordinator,
        _ => CertificateRole::Node,
    };
    PeerCertificate { name, role, fingerprint: [7; 32] }
}

/// A key whose every byte is its number.
pub(crate) fn key(number: u8) -> NamedKey {
    NamedKey { id: KeyId(number.into()), secret: Secret::from_bytes([number; 32]) }
}

/// A party that the machine talks to.
pub(crate) struct Remote {
    pub(crate) endpoint: Endpoint<()>,
    pub(crate) address: SocketAddr,
    stream: Option<(StreamId, StreamFraming)>,
    /// What arrived and the script has not looked at yet.
    pub(crate) arrivals: VecDeque<Arrival<()>>,
    /// Sealed datagrams as they came, newest last.
    pub(crate) raw: Vec<Bytes>,
    /// Requests given up.
    pub(crate) given_up: Vec<&'static str>,
}

enum Packet {
    ToServer(Input),
    ToRemote(&'static str, Path, Bytes),
}

/// A machine and everything around it.
pub(crate) struct Script<M: Machine> {
    pub(crate) machine: M,
    pub(crate) now: Instant,
    pub(crate) wall: UnixTime,
    pub(crate) entropy: Counting,
    pub(crate) remotes: BTreeMap<&'static str, Remote>,
    pub(crate) store: BTreeMap<(&'static str, Bytes), Bytes>,
    pub(crate) store_failure: Option<StoreFailure>,
    /// How many copies of each datagram arrive; 1 where the script does not say.
    pub(crate) copies: Box<dyn FnMut(usize) -> usize>,
    pub(crate) counts: BTreeMap<&'static str, usize>,
    pub(crate) spans: Vec<Span>,
    pub(crate) closed: Vec<StreamId>,
    pub(crate) tls_answers: VecDeque<(RequestId, Message, Session)>,
    /// What the script must carry out itself: TLS calls, look-ups, verifications.
    pub(crate) asked: VecDeque<Effect<M::Event>>,
    /// What the machine has told whoever runs it.
    pub(crate) told: Vec<M::Event>,
    /// The last datagram that a party sent, whether it arrived or not.
    pub(crate) last_from_remote: Option<Bytes>,
    packets: VecDeque<Packet>,
    sent: usize,
    next_request: u64,
}

impl<M: Machine> Script<M> {
    /// Starts a machine with what the store holds.
    pub(crate) fn start(
        make: impl FnOnce(&mut dyn Entropy) -> M,
        store: BTreeMap<(&'static str, Bytes), Bytes>,
    ) -> Self {
        Self::start_at(make, store, (UnixTime(1_000_000), 1))
    }

    /// Starts a machine at this wall-clock time with this seed.
    pub(crate) fn start_at(
        make: impl FnOnce(&mut dyn Entropy) -> M,
        store: BTreeMap<(&'static str, Bytes), Bytes>,
        (wall, seed): (UnixTime, u64),
    ) -> Self {
        let mut entropy = Counting(seed << 32);
        let records = store.iter().map(|((table, key), value)| Record {
            table: (*table).to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        let records = records.collect();
        let machine = make(&mut entropy);
        let mut script = Self {
            machine,
            now: Instant::ORIGIN + Duration::from_secs(1),
            wall,
            entropy,
            remotes: BTreeMap::new(),
            store,
            store_failure: None,
            copies: Box::new(|_| 1),
            counts: BTreeMap::new(),
            spans: Vec::new(),
            closed: Vec::new(),
            tls_answers: VecDeque::new(),
            asked: VecDeque::new(),
            told: Vec::new(),
            last_from_remote: None,
            packets: VecDeque::new(),
            sent: 0,
            next_request: 0,
        };
        let server = at(SERVER);
        script.give(Input::Started { records, addresses: vec![server.ip()], port: server.port() });
        script
    }

    /// Adds a party at an address; it holds no keys yet.
    pub(crate) fn remote(&mut self, label: &'static str, address: &str) -> Session {
        let session = Session::draw(&mut self.entropy);
        let remote = Remote {
            endpoint: Endpoint::new(session, 0),
            address: at(address),
            stream: None,
            arrivals: VecDeque::new(),
            raw: Vec::new(),
            given_up: Vec::new(),
        };
        self.remotes.insert(label, remote);
        session
    }

    /// Lets a party speak and listen under a key.
    pub(crate) fn hold(&mut self, label: &str, association: impl FnOnce(Session) -> Association) {
        let endpoint = &mut self.remotes.get_mut(label).expect("the remote exists").endpoint;
        let association = association(endpoint.session());
        endpoint.add(association);
    }

    /// Gives the machine an input and lets everything that follows happen.
    pub(crate) fn give(&mut self, input: Input) {
        self.packets.push_back(Packet::ToServer(input));
        self.settle();
    }

    /// A party opens a TCP connection.
    pub(crate) fn connect(&mut self, label: &str, stream: StreamId) {
        let remote = self.remotes.get_mut(label).expect("the remote exists");
        remote.stream = Some((stream, StreamFraming::default()));
        let peer = remote.address;
        self.give(Input::StreamOpened { stream, peer });
    }

    /// A party sends a request to the machine, over its connection if it has one.
    pub(crate) fn request(&mut self, label: &'static str, key: KeyId, message: impl Into<Message>) -> Transaction {
        let trace = Some(ntmobile_wire::trace_context::TraceContext::root(&mut self.entropy));
        let path = match &self.remotes[label].stream {
            Some((stream, _)) => Path::Stream(*stream),
            None => Path::Datagram(at(SERVER)),
        };
        let request = Request::to(key, path, message, trace);
        let transaction = self.with_remote(label, |endpoint, cx| endpoint.request(cx, request, ()));
        self.settle();
        transaction
    }

    /// A party sends a datagram request whose answer may come under another key, as Tunnel Request's does.
    pub(crate) fn request_answered_under(
        &mut self,
        label: &'static str,
        keys: [KeyId; 2],
        message: impl Into<Message>,
    ) {
        let [key, answer] = keys;
        let request = Request::to(key, Path::Datagram(at(SERVER)), message, None);
        let request = Request { answer_keys: vec![answer], ..request };
        self.with_remote(label, |endpoint, cx| endpoint.request(cx, request, ()));
        self.settle();
    }

    /// A party answers under another key than it was asked under.
    pub(crate) fn answer_under(
        &mut self,
        label: &'static str,
        ticket: &Ticket,
        key: KeyId,
        message: impl Into<Message>,
    ) {
        let message = message.into();
        self.with_remote(label, |endpoint, cx| endpoint.answer_under(cx, ticket, key, message));
        self.settle();
    }

    /// A party answers what the machine asked.
    pub(crate) fn answer(&mut self, label: &'static str, ticket: &Ticket, message: impl Into<Message>) {
        let message = message.into();
        self.with_remote(label, |endpoint, cx| endpoint.answer(cx, ticket, message));
        self.settle();
    }

    /// The next request that a party got.
    #[track_caller]
    pub(crate) fn requested(&mut self, label: &str) -> (Ticket, Message) {
        match self.remotes.get_mut(label).expect("the remote exists").arrivals.pop_front() {
            Some(Arrival::Request { ticket, message }) => (ticket, message),
            other => panic!("{label} got {other:?} instead of a request"),
        }
    }

    /// The next answer that a party got.
    #[track_caller]
    pub(crate) fn answered(&mut self, label: &str) -> Message {
        match self.remotes.get_mut(label).expect("the remote exists").arrivals.pop_front() {
            Some(Arrival::Answer { message, .. }) => message,
            other => panic!("{label} got {other:?} instead of an answer"),
        }
    }

    /// Whether a party has got nothing that the script has not looked at.
    pub(crate) fn is_quiet(&self, label: &str) -> bool {
        self.remotes[label].arrivals.is_empty()
    }

    /// A TLS request from a server of this name and session; returns its answer if there is one at once.
    pub(crate) fn tls(
        &mut self,
        certificate: Option<&str>,
        session: Session,
        message: impl Into<Message>,
    ) -> RequestId {
        let transaction = Transaction(self.next_request + 1);
        let frame = Frame { transaction, session, message: message.into(), trace: None }.encode();
        self.tls_frame(certificate, frame)
    }

    /// A TLS request of any bytes.
    pub(crate) fn tls_frame(&mut self, certificate: Option<&str>, frame: Bytes) -> RequestId {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let certificate = certificate.map(certificate_of);
        self.give(Input::TlsRequest { request, from: at("192.0.2.99:9"), certificate, frame });
        request
    }

    /// The next TLS answer.
    #[track_caller]
    pub(crate) fn tls_answered(&mut self) -> Message {
        self.tls_answers.pop_front().expect("an answer was given").1
    }

    /// Lets time pass; every deadline on the way is kept.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let remotes = self.remotes.values().filter_map(|remote| remote.endpoint.deadline());
            let next = remotes.chain(self.machine.deadline()).min().filter(|next| *next <= end);
            let before = self.now;
            self.now = next.unwrap_or(end).max(before);
            self.wall = UnixTime(self.wall.0 + self.now.0 / 1_000_000_000 - before.0 / 1_000_000_000);
            if next.is_none() {
                return;
            }
            let labels: Vec<_> = self.remotes.keys().copied().collect();
            for label in labels {
                let given_up = self.with_remote(label, |endpoint, cx| endpoint.expire(cx));
                let remote = self.remotes.get_mut(label).expect("it was just there");
                remote.given_up.extend(given_up.iter().map(|timed_out| timed_out.label));
            }
            if self.machine.deadline().is_some_and(|deadline| deadline <= self.now) {
                self.with_machine(Machine::expire);
            }
            self.settle();
        }
    }

    /// How often something was counted.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.counts.get(name).copied().unwrap_or(0)
    }

    fn with_remote<R>(&mut self, label: &str, act: impl FnOnce(&mut Endpoint<()>, &mut Context<'_, ()>) -> R) -> R {
        let mut effects = Vec::new();
        let remote = self.remotes.get_mut(label).expect("the remote exists");
        let mut cx = Context { now: self.now, wall: self.wall, entropy: &mut self.entropy, effects: &mut effects };
        let result = act(&mut remote.endpoint, &mut cx);
        let from = remote.address;
        for effect in effects {
            match effect {
                Effect::Transmit { bytes, .. } => {
                    for _ in 0..self.draw_copies() {
                        self.packets.push_back(Packet::ToServer(Input::Datagram { from, bytes: bytes.clone() }));
                    }
                    self.last_from_remote = Some(bytes);
                }
                Effect::StreamSend { stream, bytes } => {
                    self.packets.push_back(Packet::ToServer(Input::StreamReceived { stream, bytes }));
                }
                _ => {}
            }
        }
        result
    }

    fn draw_copies(&mut self) -> usize {
        self.sent += 1;
        (self.copies)(self.sent - 1)
    }

    fn with_machine(&mut self, act: impl FnOnce(&mut M, &mut Context<'_, M::Event>)) {
        let mut effects = Vec::new();
        let mut cx = Context { now: self.now, wall: self.wall, entropy: &mut self.entropy, effects: &mut effects };
        act(&mut self.machine, &mut cx);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect<M::Event>) {
        match effect {
            Effect::Transmit { to, bytes } => {
                let label = self.remotes.iter().find(|(_, remote)| remote.address == to).map(|(label, _)| *label);
                if let Some(label) = label {
                    for _ in 0..self.draw_copies() {
                        let path = Path::Datagram(at(SERVER));
                        self.packets.push_back(Packet::ToRemote(label, path, bytes.clone()));
                    }
                }
            }
            Effect::StreamSend { stream, bytes } => {
                let owner = self.remotes.iter_mut().find_map(|(label, remote)| {
                    let (own, framing) = remote.stream.as_mut()?;
                    (*own == stream).then(|| (*label, framing.push(&bytes).expect("the machine frames its messages")))
                });
                if let Some((label, messages)) = owner {
                    let path = Path::Stream(stream);
                    self.packets.extend(messages.into_iter().map(|bytes| Packet::ToRemote(label, path, bytes)));
                }
            }
            Effect::StreamClose { stream } => {
                self.closed.push(stream);
                for remote in self.remotes.values_mut() {
                    remote.stream.take_if(|(own, _)| *own == stream);
                }
            }
            Effect::Persist { call, writes } => {
                let result = self.store_failure.clone().map_or(Ok(()), Err);
                if result.is_ok() {
                    for write in writes {
                        match write.value {
                            Some(value) => drop(self.store.insert((write.table, write.key), value)),
                            None => drop(self.store.remove(&(write.table, write.key))),
                        }
                    }
                }
                self.packets.push_back(Packet::ToServer(Input::Persisted { call, result }));
            }
            Effect::TlsAnswer { request, frame } => {
                let frame = Frame::decode(&frame).expect("the machine answers with frames");
                self.tls_answers.push_back((request, frame.message, frame.session));
            }
            Effect::Count(name) => *self.counts.entry(name).or_default() += 1,
            Effect::Span(span) => self.spans.push(*span),
            Effect::Event(event) => self.told.push(event),
            other => self.asked.push_back(other),
        }
    }

    /// Delivers until nothing is on its way.
    fn settle(&mut self) {
        while let Some(packet) = self.packets.pop_front() {
            match packet {
                Packet::ToServer(input) => self.with_machine(|machine, cx| machine.handle(cx, input)),
                Packet::ToRemote(label, path, bytes) => {
                    let arrival = self.with_remote(label, |endpoint, cx| endpoint.receive(cx, path, &bytes));
                    let remote = self.remotes.get_mut(label).expect("it was just there");
                    remote.raw.push(bytes);
                    remote.arrivals.extend(arrival);
                }
            }
        }
    }
}
