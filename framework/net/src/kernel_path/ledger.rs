//! What the kernel's tables hold of our tunnels, and what changes in them when a tunnel does.
//!
//! | of ours | in the kernel |
//! | --- | --- |
//! | a generation of a direction | a state, found by where its packets go and its SPI |
//! | what may come from a peer | a policy for each pair of virtual addresses: it must have come through a state of this peer |
//! | what leads to a peer | a policy for each pair: through the states of the tunnel that leads there |
//! | the control port | of all policies the first: signalling's own packets go through, others to that port are refused |
//!
//! What leads to a peer stays when its tunnel ends: then the kernel finds no state and asks for one.
//!
//! **Invariants:** a state that takes the place of another under the same key goes on with its sequence; a state that the kernel
//! has not taken from us is somebody else's, and is neither read nor changed nor removed.

use super::way::Way;
use crate::xfrm::{Action, Counters, Direction, Policy, PolicyId, Selector, Sequence, State, StateId, UdpPorts};
use ntmobile_proto::packet::{self, CONTROL_PORT, GENERATION_OVERLAP, Passage, TunnelSettings};
use ntmobile_proto::time::Instant;
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// So many peers' policies are kept. Beyond, those of peers without a tunnel go.
const PEERS: usize = 4_096;
/// In which order policies are asked.
pub(super) const CONTROL_FIRST: u32 = 1;
const NO_OTHER_CONTROL: u32 = 2;
pub(super) const LAST: u32 = 3;

/// What is asked of the kernel.
pub(super) trait Kernel {
    fn add_state(&self, state: &State<'_>) -> io::Result<()>;
    fn update_state(&self, state: &State<'_>) -> io::Result<()>;
    fn remove_state(&self, id: &StateId) -> io::Result<()>;
    fn counters(&self, id: &StateId) -> io::Result<Counters>;
    fn put_policy(&self, policy: &Policy) -> io::Result<()>;
    fn remove_policy(&self, id: &PolicyId) -> io::Result<()>;
    /// The address that packets to there leave from.
    fn source_towards(&self, to: SocketAddr) -> Option<IpAddr>;
}

/// Packets and octets.
#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

impl Sum {
    fn plus(self, other: Self) -> Self {
        Self { packets: self.packets + other.packets, bytes: self.bytes + other.bytes }
    }

    fn minus(self, other: Self) -> Self {
        let Self { packets, bytes } = other;
        Self { packets: self.packets.saturating_sub(packets), bytes: self.bytes.saturating_sub(bytes) }
    }
}

/// A generation of a direction.
struct Association {
    spi: Spi,
    key: EspKey,
    sequence: Sequence,
    /// What had passed before the present state took the last one's place.
    before: Sum,
    /// What has passed in all.
    passed: Sum,
    /// When the first packet was seen to have come.
    proved: Option<Instant>,
    /// Whether the kernel has a state for it. Where it has refused one, what it has under the same identity is another's.
    is_there: bool,
}

impl Association {
    fn new(spi: Spi, key: &EspKey, sequence: Sequence) -> Self {
        let (before, passed) = (Sum::default(), Sum::default());
        Self { spi, key: key.clone(), sequence, before, passed, proved: None, is_there: false }
    }

    fn id(&self, destination: IpAddr) -> StateId {
        StateId { destination, spi: self.spi }
    }

    fn take(&mut self, counters: Counters) {
        self.passed = self.before.plus(Sum { packets: counters.packets, bytes: counters.bytes });
        self.sequence = counters.sequence;
    }
}

/// A tunnel.
struct Entry {
    settings: TunnelSettings,
    /// Which policies' packets take it.
    request: u32,
    /// What the peer's states are known by.
    peer_request: u32,
    next_hop: SocketAddr,
    /// Where outer packets leave from, and come to; none where no route leads to the next hop.
    source: Option<IpAddr>,
    outgoing: Association,
    /// The newest first; at most two.
    incoming: Vec<Association>,
    /// What came under generations that have ended, and left under them.
    past_in: Sum,
    past_out: Sum,
    /// What signalling has sent and received through it.
    control_in: Sum,
    control_out: Sum,
}

impl Entry {
    /// Where packets of a direction go; nowhere while they have nowhere to leave from.
    fn destination(&self, is_incoming: bool) -> Option<IpAddr> {
        if is_incoming { self.source } else { self.source.map(|_| self.next_hop.ip()) }
    }

    fn direction(&mut self, is_incoming: bool) -> impl Iterator<Item = &mut Association> {
        let (incoming, outgoing) = (&mut self.incoming[..], std::slice::from_mut(&mut self.outgoing));
        if is_incoming { incoming.iter_mut() } else { outgoing.iter_mut() }
    }
}

/// The ledger.
pub(super) struct Ledger<K> {
    kernel: K,
    interface: u32,
    port: u16,
    tunnels: BTreeMap<u32, Entry>,
    ways: BTreeMap<Ipv6Addr, Way>,
    last_request: u32,
    refused: u64,
}

impl<K: Kernel> Ledger<K> {
    /// An empty one for the interface of this number, whose packets use this port. Refuses applications the control port.
    pub(super) fn open(kernel: K, interface: u32, port: u16) -> io::Result<Self> {
        for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
            let udp = Some(UdpPorts { source: None, destination: Some(CONTROL_PORT) });
            let selector = Selector { udp, ..Selector::everything_like(any) };
            let id = PolicyId { selector, direction: Direction::Out, interface };
            kernel.put_policy(&Policy { id, priority: NO_OTHER_CONTROL, action: Action::Refuse })?;
        }
        let (tunnels, ways) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { kernel, interface, port, tunnels, ways, last_request: 0, refused: 0 })
    }

    /// How many orders the kernel has refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Every tunnel there is.
    pub(super) fn tunnels(&self) -> Vec<Spi> {
        self.tunnels.values().map(|entry| entry.settings.spi_in).collect()
    }

    /// Forgets everything, here and in the kernel.
    pub(super) fn clear(&mut self) {
        for tunnel in self.tunnels() {
            self.removed(tunnel);
        }
        for way in std::mem::take(&mut self.ways).into_values() {
            self.withdraw(&way);
        }
    }

    fn request(&mut self) -> u32 {
        self.last_request += 1;
        self.last_request
    }

    /// A tunnel is there.
    pub(super) fn installed(&mut self, settings: &TunnelSettings, incoming: &EspKey, outgoing: &EspKey) {
        let peer_request = self.meet(settings);
        let mut entry = Entry {
            settings: settings.clone(),
            request: self.request(),
            peer_request,
            next_hop: settings.next_hop,
            source: self.kernel.source_towards(settings.next_hop),
            outgoing: Association::new(settings.spi_out, outgoing, Sequence::Seals(0)),
            incoming: vec![Association::new(settings.spi_in, incoming, Sequence::nothing_opened())],
            past_in: Sum::default(),
            past_out: Sum::default(),
            control_in: Sum::default(),
            control_out: Sum::default(),
        };
        self.put_states(&mut entry);
        self.tunnels.insert(settings.spi_in.identifier(), entry);
    }

    /// What may come from the tunnel's peer; returns what its states are known by.
    fn meet(&mut self, settings: &TunnelSettings) -> u32 {
        let known = self.ways.remove(&settings.remote.v6);
        if self.ways.len() >= PEERS {
            let idle: Vec<Ipv6Addr> =
                self.ways.iter().filter(|(_, way)| way.leading.is_none()).map(|(peer, _)| *peer).collect();
            for way in idle.iter().filter_map(|peer| self.ways.remove(peer)).collect::<Vec<_>>() {
                self.withdraw(&way);
            }
        }
        let way = match known {
            Some(way) if way.is_for(settings) => way,
            known => {
                if let Some(other) = &known {
                    self.withdraw(other);
                }
                let way = Way::new(self.request(), settings);
                for policy in way.incoming(self.interface) {
                    let put = self.kernel.put_policy(&policy);
                    self.note("a policy", put);
                }
                way
            }
        };
        let request = way.request;
        self.ways.insert(settings.remote.v6, way);
        request
    }

    /// One more generation is accepted.
    pub(super) fn accepts(&mut self, tunnel: Spi, spi: Spi, key: &EspKey) {
        self.with(tunnel, |ledger, entry| {
            let mut next = Association::new(spi, key, Sequence::nothing_opened());
            ledger.put_state(entry, &mut next, true);
            entry.incoming.insert(0, next);
            ledger.end_generations(entry, 2);
        });
    }

    /// Packets are sealed so from now on. The new state is there before the old one goes.
    pub(super) fn sends(&mut self, tunnel: Spi, spi: Spi, key: &EspKey) {
        self.with(tunnel, |ledger, entry| {
            let mut next = Association::new(spi, key, Sequence::Seals(0));
            ledger.put_state(entry, &mut next, false);
            let mut last = std::mem::replace(&mut entry.outgoing, next);
            let destination = entry.destination(false);
            ledger.read(&mut last, destination);
            entry.past_out = entry.past_out.plus(last.passed);
            ledger.remove(&mut last, destination);
        });
    }

    /// Outer packets go elsewhere.
    pub(super) fn moved(&mut self, tunnel: Spi, next_hop: SocketAddr) {
        self.with(tunnel, |ledger, entry| ledger.relocate(entry, next_hop));
        self.lead_again(tunnel);
    }

    /// Applications' packets to this address take this tunnel, or none.
    pub(super) fn leads(&mut self, address: IpAddr, tunnel: Option<Spi>) {
        let Some(tunnel) = tunnel else {
            if let Some(way) = self.ways.values_mut().find(|way| way.is_to(address)) {
                way.leading = None;
            }
            return;
        };
        let Some(entry) = self.tunnels.get(&tunnel.identifier()) else { return };
        let Some(way) = self.ways.get_mut(&entry.settings.remote.v6) else { return };
        if way.leading.replace(tunnel.identifier()) != Some(tunnel.identifier()) {
            self.lead_again(tunnel);
        }
    }

    /// Puts the policies that lead into a tunnel, if any do.
    fn lead_again(&mut self, tunnel: Spi) {
        let Some(entry) = self.tunnels.get(&tunnel.identifier()) else { return };
        let Some(way) = self.ways.get(&entry.settings.remote.v6) else { return };
        if way.leading != Some(tunnel.identifier()) {
            return;
        }
        let policies = way.outgoing(self.interface, entry.request, (entry.source, entry.next_hop.ip()));
        for policy in policies {
            let put = self.kernel.put_policy(&policy);
            self.note("a policy", put);
        }
    }

    /// A tunnel has ended.
    pub(super) fn removed(&mut self, tunnel: Spi) {
        let Some(mut entry) = self.tunnels.remove(&tunnel.identifier()) else { return };
        self.remove_states(&mut entry);
        for way in self.ways.values_mut().filter(|way| way.leading == Some(tunnel.identifier())) {
            way.leading = None;
        }
    }

    /// Signalling has sent or received a packet through a tunnel.
    pub(super) fn control_passed(&mut self, tunnel: Spi, is_incoming: bool, bytes: u64) {
        if let Some(entry) = self.tunnels.get_mut(&tunnel.identifier()) {
            let sum = if is_incoming { &mut entry.control_in } else { &mut entry.control_out };
            *sum = sum.plus(Sum { packets: 1, bytes });
        }
    }

    /// Looks after a tunnel: what has passed, whether an old generation is over, whether its packets leave from another address
    /// than before.
    pub(super) fn look_after(&mut self, now: Instant, tunnel: Spi) -> Option<Passage> {
        let source = self.kernel.source_towards(self.tunnels.get(&tunnel.identifier())?.next_hop);
        self.with(tunnel, |ledger, entry| {
            ledger.read_all(entry);
            let newest = &mut entry.incoming[0];
            if newest.passed.packets > 0 {
                newest.proved.get_or_insert(now);
            }
            if newest.proved.is_some_and(|since| now.since(since) >= GENERATION_OVERLAP) {
                ledger.end_generations(entry, 1);
            }
        });
        // Without a route things stay as they are: the network may come back as it was.
        if source.is_some() && source != self.tunnels.get(&tunnel.identifier())?.source {
            self.with(tunnel, |ledger, entry| ledger.relocate(entry, entry.next_hop));
            self.lead_again(tunnel);
        }
        self.tunnels.get(&tunnel.identifier()).map(passage)
    }

    /// Does something to a tunnel and to the kernel.
    fn with(&mut self, tunnel: Spi, act: impl FnOnce(&mut Self, &mut Entry)) {
        if let Some(mut entry) = self.tunnels.remove(&tunnel.identifier()) {
            act(self, &mut entry);
            self.tunnels.insert(tunnel.identifier(), entry);
        }
    }

    /// Ends all but so many generations, the oldest first.
    fn end_generations(&mut self, entry: &mut Entry, left: usize) {
        while entry.incoming.len() > left {
            let Some(mut ended) = entry.incoming.pop() else { return };
            let destination = entry.destination(true);
            self.read(&mut ended, destination);
            entry.past_in = entry.past_in.plus(ended.passed);
            self.remove(&mut ended, destination);
        }
    }

    /// Takes a tunnel's states where its packets go now. Where only the peer's port is another, the states stay.
    fn relocate(&mut self, entry: &mut Entry, next_hop: SocketAddr) {
        let source = self.kernel.source_towards(next_hop).or(entry.source);
        if source.is_some() && source == entry.source && next_hop.ip() == entry.next_hop.ip() {
            entry.next_hop = next_hop;
            for (association, is_incoming) in associations(entry).filter(|(association, _)| association.is_there) {
                let updated = self.state(entry, association, is_incoming).map(|state| self.kernel.update_state(&state));
                self.note("a state's ports", updated.unwrap_or(Ok(())));
            }
            return;
        }
        self.read_all(entry);
        self.remove_states(entry);
        for association in entry.incoming.iter_mut().chain([&mut entry.outgoing]) {
            association.before = association.passed;
        }
        (entry.next_hop, entry.source) = (next_hop, source);
        self.put_states(entry);
    }

    fn read_all(&mut self, entry: &mut Entry) {
        for is_incoming in [false, true] {
            let destination = entry.destination(is_incoming);
            entry.direction(is_incoming).for_each(|association| self.read(association, destination));
        }
    }

    /// Reads what has passed through a state. One that somebody else has removed tells nothing: the tunnel will be missed.
    fn read(&mut self, association: &mut Association, destination: Option<IpAddr>) {
        let id = destination.filter(|_| association.is_there).map(|to| association.id(to));
        if let Some(counters) = id.and_then(|id| self.kernel.counters(&id).ok()) {
            association.take(counters);
        }
    }

    fn put_states(&mut self, entry: &mut Entry) {
        // Each is put by what the entry says, and notes in itself whether it is there.
        let mut incoming = std::mem::take(&mut entry.incoming);
        incoming.iter_mut().for_each(|association| self.put_state(entry, association, true));
        entry.incoming = incoming;
        let added = self.add(entry, &entry.outgoing, false);
        entry.outgoing.is_there = added;
    }

    fn put_state(&mut self, entry: &Entry, association: &mut Association, is_incoming: bool) {
        association.is_there = self.add(entry, association, is_incoming);
    }

    /// Whether the kernel has taken a state.
    fn add(&mut self, entry: &Entry, association: &Association, is_incoming: bool) -> bool {
        let Some(state) = self.state(entry, association, is_incoming) else { return false };
        let added = self.kernel.add_state(&state);
        let is_there = added.is_ok();
        self.note("a state", added);
        is_there
    }

    /// What the kernel is to know of a direction; nothing where packets have nowhere to leave from.
    fn state<'a>(&self, entry: &Entry, association: &'a Association, is_incoming: bool) -> Option<State<'a>> {
        let (ours, theirs) = (entry.source?, entry.next_hop);
        let (request, source, destination, ports) = if is_incoming {
            (entry.peer_request, theirs.ip(), ours, (theirs.port(), self.port))
        } else {
            (entry.request, ours, theirs.ip(), (self.port, theirs.port()))
        };
        let id = association.id(destination);
        let (key, sequence) = (&association.key, association.sequence.clone());
        Some(State { id, source, ports, request, interface: self.interface, key, sequence })
    }

    fn remove_states(&mut self, entry: &mut Entry) {
        for is_incoming in [false, true] {
            let destination = entry.destination(is_incoming);
            entry.direction(is_incoming).for_each(|association| self.remove(association, destination));
        }
    }

    fn remove(&mut self, association: &mut Association, destination: Option<IpAddr>) {
        let is_there = std::mem::replace(&mut association.is_there, false);
        if let Some(destination) = destination.filter(|_| is_there) {
            let removed = self.kernel.remove_state(&association.id(destination));
            self.note("a state's removal", removed);
        }
    }

    fn withdraw(&mut self, way: &Way) {
        for id in way.all(self.interface) {
            let removed = self.kernel.remove_policy(&id);
            self.note("a policy's removal", removed);
        }
    }

    /// A refusal leaves the tunnel without a way for packets, which signalling will notice by their silence.
    fn note(&mut self, what: &str, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            self.refused += 1;
            tracing::warn!(%error, "the kernel refuses {what}");
        }
    }
}

/// Both directions; whether packets come by it.
fn associations(entry: &Entry) -> impl Iterator<Item = (&Association, bool)> {
    entry.incoming.iter().map(|association| (association, true)).chain([(&entry.outgoing, false)])
}

fn passage(entry: &Entry) -> Passage {
    let come = entry.incoming.iter().fold(entry.past_in, |sum, association| sum.plus(association.passed));
    let gone = entry.past_out.plus(entry.outgoing.passed);
    let (applications_in, applications_out) = (come.minus(entry.control_in), gone.minus(entry.control_out));
    let newest = entry.incoming.first().map_or(0, |association| association.passed.packets);
    Passage {
        applications: packet::Counters {
            packets_in: applications_in.packets,
            bytes_in: applications_in.bytes,
            packets_out: applications_out.packets,
            bytes_out: applications_out.bytes,
        },
        received: come.packets,
        newest_generation: u32::try_from(newest).unwrap_or(u32::MAX),
        sealed: match entry.outgoing.sequence {
            Sequence::Seals(last) => last,
            Sequence::Opens { .. } => 0,
        },
    }
}
