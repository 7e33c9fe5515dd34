//! A bench for protocol machines: no actors, no sockets, one event heap; every message takes a fixed time and may be lost,
//! repeated or held back by a seeded dice. It is smaller than the simulator on purpose: when a sequence fails here, the
//! protocol is wrong, not the world.

use bytes::Bytes;
use ntmobile_proto::machine::{
    Context, Effect, Input, Lookup, LookupFailure, Machine, PeerCertificate, RequestId, ServerAddresses, StreamId,
    TlsFailure, Verdict,
};
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_proto::trace::Span;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::datagram::{self, Datagram};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Fqdn;
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// A generator for tests: splitmix64, seeded.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether an event of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        ((self.roll() >> 11) as f64) / ((1u64 << 53) as f64) < probability
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.roll().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// What goes wrong on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that it comes twice.
    pub duplication: f64,
    /// The probability that it is held back so long that later ones overtake it.
    pub reordering: f64,
}

/// A machine on the bench, whatever its type.
trait Hosted: Any {
    fn step(&mut self, step: Step, now: Instant, entropy: &mut Dice) -> Vec<Effect<()>>;
    fn deadline(&self) -> Option<Instant>;
    fn as_any(&mut self) -> &mut dyn Any;
}

enum Step {
    Input(Box<Input>),
    Expire,
}

/// A machine with the events it has told.
pub struct Placed<M: Machine> {
    /// The machine.
    pub machine: M,
    /// What it told, and when.
    pub events: Vec<(Instant, M::Event)>,
}

impl<M: Machine> Placed<M> {
    fn sort_out(&mut self, now: Instant, effects: Vec<Effect<M::Event>>) -> Vec<Effect<()>> {
        let mut rest = Vec::with_capacity(effects.len());
        for effect in effects {
            rest.push(match effect {
                Effect::Event(event) => {
                    self.events.push((now, event));
                    continue;
                }
                Effect::Transmit { to, bytes } => Effect::Transmit { to, bytes },
                Effect::TlsCall { call, server, addresses, frame, mutual } => {
                    Effect::TlsCall { call, server, addresses, frame, mutual }
                }
                Effect::TlsAnswer { request, frame } => Effect::TlsAnswer { request, frame },
                Effect::Resolve { call, lookup, trace } => Effect::Resolve { call, lookup, trace },
                Effect::Persist { call, writes } => Effect::Persist { call, writes },
                Effect::Verify { call, account, credential, certificate } => {
                    Effect::Verify { call, account, credential, certificate }
                }
                Effect::StreamConnect { stream, to } => Effect::StreamConnect { stream, to },
                Effect::StreamSend { stream, bytes } => Effect::StreamSend { stream, bytes },
                Effect::StreamClose { stream } => Effect::StreamClose { stream },
                Effect::Span(span) => Effect::Span(span),
                Effect::Count(name) => Effect::Count(name),
            });
        }
        rest
    }

    fn run(
        &mut self,
        now: Instant,
        entropy: &mut Dice,
        act: impl FnOnce(&mut M, &mut Context<'_, M::Event>),
    ) -> Vec<Effect<()>> {
        let mut effects = Vec::new();
        let mut context = Context { now, wall: wall(now), entropy, effects: &mut effects };
        act(&mut self.machine, &mut context);
        self.sort_out(now, effects)
    }
}

fn wall(now: Instant) -> UnixTime {
    UnixTime(1_900_000_000 + now.0 / 1_000_000_000)
}

impl<M: Machine + 'static> Hosted for Placed<M>
where
    M::Event: 'static,
{
    fn step(&mut self, step: Step, now: Instant, entropy: &mut Dice) -> Vec<Effect<()>> {
        self.run(now, entropy, |machine, context| match step {
            Step::Input(input) => machine.handle(context, *input),
            Step::Expire => machine.expire(context),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// What a place does with an ESP packet: where the packet that it sends on goes.
type ForwardEsp = Rc<dyn Fn(Instant, SocketAddr, Bytes) -> Option<(SocketAddr, Bytes)>>;

/// Where a machine is on the bench.
struct Place {
    hosted: Box<dyn Hosted>,
    addresses: Vec<IpAddr>,
    /// What the outside sees instead of the addresses, where a NAT is between. It never expires and lets everything in.
    outside: Option<IpAddr>,
    forward_esp: Option<ForwardEsp>,
    is_up: bool,
}

/// The signalling port of everybody.
pub const PORT: u16 = 4500;

#[derive(Debug)]
enum Happening {
    Input(Fqdn, Box<Input>),
    Expire(Fqdn),
}

struct PendingTls {
    caller: Fqdn,
    call: ntmobile_proto::machine::CallId,
}

/// A message as it crossed the bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// When it left.
    pub at: Instant,
    /// Who sent it.
    pub from: Fqdn,
    /// Who gets it.
    pub to: Fqdn,
    /// All of it.
    pub bytes: Bytes,
}

/// The bench.
pub struct Bench {
    /// Now.
    pub now: Instant,
    /// What goes wrong.
    pub trouble: Trouble,
    /// How long every datagram takes.
    pub delay: Duration,
    /// Every span told, with who told it.
    pub spans: Vec<(Fqdn, Span)>,
    /// How often each counter was counted, over all machines.
    pub counters: BTreeMap<&'static str, u64>,
    /// Every datagram that left.
    pub crossed: Vec<Crossed>,
    /// Every frame that a TLS leg carried, as its two ends saw it.
    pub tls_frames: Vec<Crossed>,
    /// Credentials that are right: account and password.
    pub passwords: BTreeMap<String, String>,
    dice: Dice,
    places: BTreeMap<Fqdn, Place>,
    zones: BTreeMap<Fqdn, ServerAddresses>,
    heap: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    expiring: BTreeMap<Fqdn, (Instant, u64)>,
    tls: BTreeMap<RequestId, PendingTls>,
    streams: BTreeMap<(Fqdn, StreamId), (Fqdn, StreamId)>,
    severed: BTreeSet<(Fqdn, Fqdn)>,
}

impl Bench {
    /// An empty bench.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::ORIGIN,
            trouble: Trouble::default(),
            delay: Duration::from_millis(10),
            spans: Vec::new(),
            counters: BTreeMap::new(),
            crossed: Vec::new(),
            tls_frames: Vec::new(),
            passwords: BTreeMap::new(),
            dice: Dice(seed),
            places: BTreeMap::new(),
            zones: BTreeMap::new(),
            heap: BTreeMap::new(),
            sequence: 0,
            expiring: BTreeMap::new(),
            tls: BTreeMap::new(),
            streams: BTreeMap::new(),
            severed: BTreeSet::new(),
        }
    }

    /// The bench's own randomness, for constructing machines.
    pub fn entropy(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Says that a DC is responsible for a domain, or an AS found from it.
    pub fn zone(&mut self, domain: &str, server: ServerAddresses) {
        self.zones.insert(name(domain), server);
    }

    /// Puts a machine on the bench and starts it.
    pub fn place<M: Machine + 'static>(&mut self, at: &str, machine: M, addresses: &[&str], outside: Option<&str>)
    where
        M::Event: 'static,
    {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let outside = outside.map(|text| text.parse().expect("an address"));
        let hosted = Box::new(Placed { machine, events: Vec::new() });
        let place = Place { hosted, addresses: addresses.clone(), outside, forward_esp: None, is_up: true };
        self.places.insert(name(at), place);
        self.input(&name(at), Input::Started { records: Vec::new(), addresses, port: PORT }, Duration::ZERO);
    }

    /// Gives ESP packets that come to this place to the closure, which may send one on.
    pub fn forward_esp(
        &mut self,
        at: &str,
        forward: impl Fn(Instant, SocketAddr, Bytes) -> Option<(SocketAddr, Bytes)> + 'static,
    ) {
        self.places.get_mut(&name(at)).expect("a place").forward_esp = Some(Rc::new(forward));
    }

    /// Moves a host: other addresses, behind another NAT or none.
    pub fn move_to(&mut self, who: &str, addresses: &[&str], outside: Option<&str>) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let place = self.places.get_mut(&name(who)).expect("a place");
        place.addresses = addresses.clone();
        place.outside = outside.map(|text| text.parse().expect("an address"));
        self.input(&name(who), Input::AddressesChanged { addresses }, Duration::ZERO);
    }

    /// Switches a host off (nothing reaches it, nothing leaves it) or on.
    pub fn set_up(&mut self, who: &str, is_up: bool) {
        self.places.get_mut(&name(who)).expect("a place").is_up = is_up;
    }

    /// Loses every datagram between two hosts from now on.
    pub fn sever(&mut self, one: &str, other: &str) {
        self.severed.insert((name(one), name(other)));
        self.severed.insert((name(other), name(one)));
    }

    /// A machine and the events it has told.
    pub fn at<M: Machine + 'static>(&mut self, who: &str) -> &mut Placed<M>
    where
        M::Event: 'static,
    {
        let place = self.places.get_mut(&name(who)).expect("a place");
        place.hosted.as_any().downcast_mut().expect("a machine of this type")
    }

    /// Asks something of a machine, now.
    pub fn command<M: Machine + 'static>(&mut self, who: &str, command: M::Command)
    where
        M::Event: 'static,
    {
        let (now, mut dice) = (self.now, self.dice.clone());
        let effects = self.at::<M>(who).run(now, &mut dice, |machine, context| machine.command(context, command));
        self.dice = dice;
        self.carry_out(&name(who), effects);
    }

    /// Sends a datagram as if `who` had.
    pub fn transmit(&mut self, who: &str, to: SocketAddr, bytes: Bytes) {
        self.carry_out(&name(who), vec![Effect::Transmit { to, bytes }]);
    }

    /// Hands a datagram to a host, from an address of the caller's choice.
    pub fn inject(&mut self, to: &str, from: SocketAddr, bytes: Bytes) {
        self.input(&name(to), Input::Datagram { from, bytes }, Duration::ZERO);
    }

    /// Runs until nothing is left to do before this time.
    pub fn run_until(&mut self, end: Instant) {
        while let Some(entry) = self.heap.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            match happening {
                Happening::Input(who, input) => self.step(&who, Step::Input(input)),
                Happening::Expire(who) => {
                    self.expiring.remove(&who);
                    self.step(&who, Step::Expire);
                }
            }
        }
        self.now = end;
    }

    /// Runs for a while.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn step(&mut self, who: &Fqdn, step: Step) {
        let mut dice = self.dice.clone();
        let Some(place) = self.places.get_mut(who).filter(|place| place.is_up) else { return };
        let effects = place.hosted.step(step, self.now, &mut dice);
        self.dice = dice;
        self.carry_out(who, effects);
    }

    fn input(&mut self, who: &Fqdn, input: Input, after: Duration) {
        self.sequence += 1;
        self.heap.insert((self.now + after, self.sequence), Happening::Input(who.clone(), Box::new(input)));
    }

    fn carry_out(&mut self, who: &Fqdn, effects: Vec<Effect<()>>) {
        for effect in effects {
            match effect {
                Effect::Transmit { to, bytes } => self.send(who, to, bytes),
                Effect::TlsCall { call, server, addresses, frame, mutual } => {
                    self.call(who, (call, server, addresses), frame, mutual);
                }
                Effect::TlsAnswer { request, frame } => {
                    if let Some(PendingTls { caller, call }) = self.tls.remove(&request) {
                        let (at, from, to) = (self.now, who.clone(), caller.clone());
                        self.tls_frames.push(Crossed { at, from, to, bytes: frame.clone() });
                        self.input(&caller, Input::TlsAnswered { call, result: Ok(frame) }, self.delay);
                    }
                }
                Effect::Resolve { call, lookup, .. } => {
                    let result = self.resolve(&lookup);
                    self.input(who, Input::Resolved { call, result }, 2 * self.delay);
                }
                Effect::Persist { call, .. } => {
                    self.input(who, Input::Persisted { call, result: Ok(()) }, Duration::ZERO);
                }
                Effect::Verify { call, account, credential, .. } => {
                    let right = match credential {
                        Credential::Password(given) => {
                            self.passwords.get(&account.to_string()).is_some_and(|known| known == given.expose())
                        }
                        Credential::Certificate => true,
                        Credential::CurrentKey { .. } => false,
                    };
                    let verdict = if right { Verdict::Accepted } else { Verdict::Refused };
                    self.input(who, Input::Verified { call, verdict }, Duration::ZERO);
                }
                Effect::StreamConnect { stream, to } => self.connect_stream(who, stream, to),
                Effect::StreamSend { stream, bytes } => {
                    if let Some((other, theirs)) = self.streams.get(&(who.clone(), stream)).cloned() {
                        self.input(&other, Input::StreamReceived { stream: theirs, bytes }, self.delay);
                    }
                }
                Effect::StreamClose { stream } => {
                    if let Some((other, theirs)) = self.streams.remove(&(who.clone(), stream)) {
                        self.streams.remove(&(other.clone(), theirs));
                        self.input(&other, Input::StreamClosed { stream: theirs }, self.delay);
                    }
                }
                Effect::Span(span) => self.spans.push((who.clone(), *span)),
                Effect::Count(counter) => *self.counters.entry(counter).or_default() += 1,
                Effect::Event(()) => {}
            }
        }
        self.rearm(who);
    }

    fn rearm(&mut self, who: &Fqdn) {
        let Some(place) = self.places.get(who) else { return };
        let deadline = place.hosted.deadline().map(|at| at.max(self.now));
        if let Some(key) = self.expiring.remove(who) {
            self.heap.remove(&key);
        }
        if let Some(at) = deadline {
            self.sequence += 1;
            self.heap.insert((at, self.sequence), Happening::Expire(who.clone()));
            self.expiring.insert(who.clone(), (at, self.sequence));
        }
    }

    fn send(&mut self, who: &Fqdn, to: SocketAddr, bytes: Bytes) {
        let place = self.places.get(who).expect("who sends is on the bench");
        let Some(own) = place.addresses.iter().find(|own| own.is_ipv4() == to.is_ipv4()).copied() else { return };
        let (outside, is_up) = (place.outside, place.is_up);
        // Behind one NAT hosts meet at their own addresses; elsewhere only the outside counts.
        let found = self.places.iter().find_map(|(receiver, other)| {
            let private = other.addresses.contains(&to.ip()) && (other.outside.is_none() || other.outside == outside);
            let public = other.outside == Some(to.ip()) && other.outside != outside;
            (private || public).then(|| (receiver.clone(), private && other.outside.is_some(), other.is_up))
        });
        let Some((receiver, is_private, receiver_is_up)) = found else { return };
        if to.port() != PORT || !is_up || !receiver_is_up || self.severed.contains(&(who.clone(), receiver.clone())) {
            return;
        }
        let from = SocketAddr::new(outside.filter(|_| !is_private).unwrap_or(own), PORT);
        let crossed = Crossed { at: self.now, from: who.clone(), to: receiver.clone(), bytes: bytes.clone() };
        self.crossed.push(crossed);
        let copies = if self.dice.happens(self.trouble.duplication) { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.happens(self.trouble.loss) {
                continue;
            }
            let held = if self.dice.happens(self.trouble.reordering) { 3 * self.delay } else { Duration::ZERO };
            self.deliver(&receiver, from, bytes.clone(), self.delay + held);
        }
    }

    fn deliver(&mut self, to: &Fqdn, from: SocketAddr, bytes: Bytes, after: Duration) {
        match datagram::classify(&bytes) {
            Datagram::Signalling => self.input(to, Input::Datagram { from, bytes }, after),
            Datagram::Esp(_) => {
                let forward = self.places.get(to).and_then(|place| place.forward_esp.clone());
                if let Some((next, bytes)) = forward.and_then(|forward| forward(self.now, from, bytes)) {
                    self.send(to, next, bytes);
                }
            }
            Datagram::Keepalive | Datagram::Malformed => {}
        }
    }

    fn call(
        &mut self,
        who: &Fqdn,
        (call, server, addresses): (ntmobile_proto::machine::CallId, Fqdn, DualStack),
        frame: Bytes,
        mutual: bool,
    ) {
        let reachable = self.places.get(&server).is_some_and(|place| {
            place.is_up && addresses.iter().any(|address| place.addresses.contains(&address.ip()))
        });
        if !reachable {
            let result = Err(TlsFailure::TimedOut);
            return self.input(who, Input::TlsAnswered { call, result }, Duration::from_secs(10));
        }
        self.sequence += 1;
        let request = RequestId(self.sequence);
        self.tls.insert(request, PendingTls { caller: who.clone(), call });
        let place = &self.places[who];
        let from = SocketAddr::new(place.outside.unwrap_or(place.addresses[0]), 50_000);
        let certificate = mutual.then(|| PeerCertificate { name: who.clone(), fingerprint: [7; 32] });
        let (at, from_name, to) = (self.now, who.clone(), server.clone());
        self.tls_frames.push(Crossed { at, from: from_name, to, bytes: frame.clone() });
        // One round trip of handshake, then the request.
        self.input(&server, Input::TlsRequest { request, from, certificate, frame }, 3 * self.delay);
    }

    fn resolve(&self, lookup: &Lookup) -> Result<ServerAddresses, LookupFailure> {
        let (mut wanted, prefix) = match lookup {
            Lookup::DirectionCoordinator(wanted) => (Some(wanted.clone()), ""),
            Lookup::AccountServer(wanted) => (Some(wanted.clone()), "as."),
        };
        while let Some(domain) = wanted {
            if let Some(server) = self.zones.get(&name(&format!("{prefix}{domain}"))) {
                return Ok(server.clone());
            }
            wanted = domain.parent();
        }
        Err(LookupFailure::NoSuchName)
    }

    fn connect_stream(&mut self, who: &Fqdn, stream: StreamId, to: SocketAddr) {
        let found = self.places.iter().find(|(_, place)| place.is_up && place.addresses.contains(&to.ip()));
        let Some(server) = found.map(|(server, _)| server.clone()) else {
            return self.input(who, Input::StreamClosed { stream }, Duration::from_secs(5));
        };
        self.sequence += 1;
        let theirs = StreamId(self.sequence | 1 << 63);
        self.streams.insert((who.clone(), stream), (server.clone(), theirs));
        self.streams.insert((server.clone(), theirs), (who.clone(), stream));
        let peer = SocketAddr::new(self.places[who].addresses[0], 50_001);
        self.input(&server, Input::StreamOpened { stream: theirs, peer }, self.delay);
        self.input(who, Input::StreamOpened { stream, peer: to }, 2 * self.delay);
    }
}

/// A name in a test.
pub fn name(text: &str) -> Fqdn {
    Fqdn::parse(text).expect("a sound name")
}

/// A server with one IPv4 address.
pub fn server(text: &str, address: &str) -> ServerAddresses {
    let at = |port| {
        let v4 = format!("{address}:{port}").parse().ok();
        DualStack { v4, v6: None }
    };
    ServerAddresses { name: name(text), signalling: at(PORT), tls: at(4433) }
}
