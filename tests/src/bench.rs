//! A bench for protocol machines: no actors, no sockets, one event heap; every message takes the time of its link and may be
//! lost, repeated or held back by a seeded dice. It is smaller than the simulator on purpose: when a sequence fails here, the
//! protocol is wrong, not the world.
//!
//! What the world costs is the bench's own: a look-up that a host has not made before takes [`Bench::dns`], a handshake of a
//! TLS leg one round trip, the store and the authenticator nothing.

mod dice;
mod hosted;
mod process;
mod transport;

pub use dice::{Dice, Trouble};
pub use hosted::Placed;
pub use transport::{DNS_PATIENCE, TLS_PATIENCE, certificate_of};

use bytes::Bytes;
use hosted::{Hosted, Step};
use ntmobile_proto::machine::{Effect, Input, Machine, RequestId, ServerAddresses, StreamId, Verdict};
use ntmobile_proto::sizes::Sizes;
use ntmobile_proto::time::Instant;
use ntmobile_proto::trace::Span;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// What the packet path of a place does about an ESP packet.
pub enum PacketOutcome {
    /// Sends a datagram.
    Send(SocketAddr, Bytes),
    /// Tells the place's machine.
    Tell(Input),
    /// Hands an application its packet.
    Arrived(Bytes),
    /// Counts one more of something.
    Count(&'static str),
}

/// The packet path of a place.
type PacketPath = Rc<dyn Fn(Instant, SocketAddr, Bytes) -> Vec<PacketOutcome>>;

/// Where a machine is on the bench.
struct Place {
    hosted: Box<dyn Hosted>,
    addresses: Vec<IpAddr>,
    /// What the outside sees instead of the addresses, where a NAT is between. It never expires and lets everything in.
    outside: Option<SocketAddr>,
    packet_path: Option<PacketPath>,
    is_up: bool,
}

/// The signalling port of everybody.
pub const PORT: u16 = 4500;

#[derive(Debug)]
enum Happening {
    Input(Fqdn, Box<Input>),
    Packet(Fqdn, SocketAddr, Bytes),
    Expire(Fqdn),
    /// A TLS call has waited for long enough.
    TlsPatience(RequestId),
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
    /// How long every message takes, one way, where [`Bench::set_delay`] does not say otherwise.
    pub delay: Duration,
    /// How long a look-up takes whose answer the host does not know yet.
    pub dns: Duration,
    /// Whether DNS servers answer.
    pub dns_is_up: bool,
    /// Every span told, with who told it.
    pub spans: Vec<(Fqdn, Span)>,
    /// How often each counter was counted, over all machines.
    pub counters: BTreeMap<&'static str, u64>,
    /// Every datagram that left.
    pub crossed: Vec<Crossed>,
    /// Every frame that a TLS leg carried, as its two ends saw it.
    pub tls_frames: Vec<Crossed>,
    /// All that TCP connections carried, as it was sent.
    pub stream_bytes: Vec<Crossed>,
    /// Every packet that reached an application: when, at which host, and what.
    pub packets: Vec<(Instant, Fqdn, Bytes)>,
    /// Credentials that are right: account and password.
    pub passwords: BTreeMap<String, String>,
    dice: Dice,
    places: BTreeMap<Fqdn, Place>,
    delays: BTreeMap<(Fqdn, Fqdn), Duration>,
    zones: BTreeMap<Fqdn, ServerAddresses>,
    /// Which host has looked up which zone.
    looked_up: BTreeSet<(Fqdn, Fqdn)>,
    stores: BTreeMap<Fqdn, process::Store>,
    /// Whose disk is full.
    full: BTreeSet<Fqdn>,
    heap: BTreeMap<(Instant, u64), Happening>,
    sequence: u64,
    expiring: BTreeMap<Fqdn, (Instant, u64)>,
    tls: BTreeMap<RequestId, transport::PendingTls>,
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
            dns: Duration::from_millis(20),
            dns_is_up: true,
            spans: Vec::new(),
            counters: BTreeMap::new(),
            crossed: Vec::new(),
            tls_frames: Vec::new(),
            stream_bytes: Vec::new(),
            packets: Vec::new(),
            passwords: BTreeMap::new(),
            dice: Dice(seed),
            places: BTreeMap::new(),
            delays: BTreeMap::new(),
            zones: BTreeMap::new(),
            looked_up: BTreeSet::new(),
            stores: BTreeMap::new(),
            full: BTreeSet::new(),
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

    /// Puts a machine on the bench and starts it. Behind a NAT, its outside is an address, or one with a port where others
    /// are behind the same NAT.
    pub fn place<M: Machine + 'static>(&mut self, at: &str, machine: M, addresses: &[&str], outside: Option<&str>)
    where
        M::Event: 'static,
    {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let outside = outside.map(outer_address);
        let hosted = Box::new(Placed { machine, events: Vec::new() });
        let place = Place { hosted, addresses, outside, packet_path: None, is_up: true };
        self.places.insert(name(at), place);
        self.start(&name(at));
    }

    /// Gives ESP packets that come to this place to the closure.
    pub fn packet_path(&mut self, at: &str, path: impl Fn(Instant, SocketAddr, Bytes) -> Vec<PacketOutcome> + 'static) {
        self.places.get_mut(&name(at)).expect("a place").packet_path = Some(Rc::new(path));
    }

    /// A machine and the events it has told.
    pub fn at<M: Machine + 'static>(&mut self, who: &str) -> &mut Placed<M>
    where
        M::Event: 'static,
    {
        let place = self.places.get_mut(&name(who)).expect("a place");
        place.hosted.as_any().downcast_mut().expect("a machine of this type")
    }

    /// Everybody on the bench, in the order of names.
    pub fn hosts(&self) -> Vec<Fqdn> {
        self.places.keys().cloned().collect()
    }

    /// How much a machine holds.
    pub fn sizes(&self, who: &str) -> Sizes {
        self.places[&name(who)].hosted.sizes()
    }

    /// Where others see the messages of a host come from.
    pub fn seen_at(&self, who: &Fqdn) -> SocketAddr {
        let place = &self.places[who];
        place.outside.unwrap_or(SocketAddr::new(place.addresses[0], PORT))
    }

    /// How often a counter was counted.
    pub fn count(&self, counter: &str) -> u64 {
        self.counters.get(counter).copied().unwrap_or_default()
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
                Happening::Packet(who, from, bytes) => self.packet(&who, from, bytes),
                Happening::Expire(who) => {
                    self.expiring.remove(&who);
                    self.step(&who, Step::Expire);
                }
                Happening::TlsPatience(request) => self.give_up_tls(request),
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

    fn packet(&mut self, who: &Fqdn, from: SocketAddr, bytes: Bytes) {
        let path = self.places.get(who).filter(|place| place.is_up).and_then(|place| place.packet_path.clone());
        let unexpected = || vec![PacketOutcome::Count("esp.unexpected")];
        let outcomes = path.map_or_else(unexpected, |path| path(self.now, from, bytes));
        for outcome in outcomes {
            match outcome {
                PacketOutcome::Send(to, bytes) => self.send(who, to, bytes),
                PacketOutcome::Tell(input) => self.input(who, input, Duration::ZERO),
                PacketOutcome::Arrived(packet) => self.packets.push((self.now, who.clone(), packet)),
                PacketOutcome::Count(counter) => *self.counters.entry(counter).or_default() += 1,
            }
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) -> (Instant, u64) {
        self.sequence += 1;
        let key = (self.now + after, self.sequence);
        self.heap.insert(key, happening);
        key
    }

    fn input(&mut self, who: &Fqdn, input: Input, after: Duration) {
        self.schedule(after, Happening::Input(who.clone(), Box::new(input)));
    }

    fn carry_out(&mut self, who: &Fqdn, effects: Vec<Effect<()>>) {
        for effect in effects {
            match effect {
                Effect::Transmit { to, bytes } => self.send(who, to, bytes),
                Effect::TlsCall { call, server, role, addresses, frame, mutual } => {
                    self.call(who, call, (server, role, addresses), frame, mutual);
                }
                Effect::TlsAnswer { request, frame } => self.answer_call(who, request, frame),
                Effect::Resolve { call, lookup, .. } => self.look_up(who, call, &lookup),
                Effect::Persist { call, writes } => self.persist(who, call, writes),
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
                Effect::StreamSend { stream, bytes } => self.send_on_stream(who, stream, bytes),
                Effect::StreamClose { stream } => self.close_stream(who, stream),
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
            let key = self.schedule(at.since(self.now), Happening::Expire(who.clone()));
            self.expiring.insert(who.clone(), key);
        }
    }
}

/// An outer address: at the usual port, or at another.
fn outer_address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| SocketAddr::new(text.parse().expect("an address"), PORT))
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
