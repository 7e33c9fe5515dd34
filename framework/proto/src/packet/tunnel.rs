//! One tunnel: where its packets go, the keys of its generations, and what has passed.
//!
//! Where packets go and which keys they use change together and rarely, so they are one immutable value behind one
//! pointer. A move replaces the address and keeps sealer and openers: sequence and replay state are never reset.

use super::inner::{InnerHeader, control_packet};
use super::key_log::MaybeLog;
use super::mirror::MaybeMirror;
use super::settings::TunnelSettings;
use super::train::PathLimit;
use crate::machine::PacketNotice;
use crate::time::Instant;
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::esp::{
    EspError, EspKey, EspOpener, EspSealer, HEADER_LENGTH, NEXT_HEADER_DUMMY, REKEY_DUE, SealError, UnknownSuite,
    sealed_length,
};
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// How long packets of the old generation are accepted once the first of the new one has come.
pub const GENERATION_OVERLAP: Duration = Duration::from_secs(30);

/// Why a packet did not enter a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OutboundRefusal {
    /// No tunnel leads there: signalling should build one.
    #[error("no tunnel leads to {0}")]
    NoTunnel(IpAddr),
    /// It is not a whole IP packet.
    #[error("not a whole IP packet")]
    Malformed,
    /// Its source is not our virtual address.
    #[error("{0} is not our virtual address")]
    ForeignSource(IpAddr),
    /// It goes to the port that belongs to signalling.
    #[error("the control port is not for applications")]
    ControlPort,
    /// The tunnel's key has sealed all the packets it may.
    #[error("the tunnel's key is exhausted")]
    Exhausted,
    /// The tunnel's packets are somebody else's to carry.
    #[error("the tunnel's packets are carried elsewhere")]
    CarriedElsewhere,
}

/// Why an ESP packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InboundRefusal {
    /// It is not an ESP packet.
    #[error("not an ESP packet")]
    Malformed,
    /// No tunnel has this SPI, or not in this generation any more.
    #[error("no tunnel has the {0:?}")]
    UnknownSpi(Spi),
    /// It could not be opened.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// What it carries is not an IP packet between the tunnel's two ends.
    #[error("the inner packet is not between the tunnel's ends")]
    ForeignInner,
}

/// What an ESP packet carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// An application's packet.
    Packet(Bytes),
    /// A message for signalling, in its frame.
    Control(Bytes),
    /// Nothing: it was a dummy.
    Nothing,
}

/// What came through a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// The tunnel: the SPI towards us that it was installed with.
    pub tunnel: Spi,
    /// Which of the peer's applications.
    pub application: ApplicationId,
    /// What was carried.
    pub carried: Carried,
    /// What signalling should know; nearly always nothing.
    pub notices: Vec<PacketNotice>,
}

/// Packets and octets of inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets received.
    pub packets_in: u64,
    /// Octets received.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Octets sent.
    pub bytes_out: u64,
}

/// One generation of the receiving direction.
#[derive(Debug)]
pub(super) struct Generation {
    spi: Spi,
    pub(super) opener: EspOpener,
    /// The highest authentic sequence number so far; 0 until the first packet.
    pub(super) highest: AtomicU32,
    /// When it is accepted no longer, in nanoseconds; never, until a newer generation has proved itself.
    retires: AtomicU64,
}

impl Generation {
    fn new(spi: Spi, key: &EspKey) -> Arc<Self> {
        let opener = EspOpener::new(key);
        Arc::new(Self { spi, opener, highest: AtomicU32::new(0), retires: AtomicU64::new(u64::MAX) })
    }

    fn is_retired(&self, now: Instant) -> bool {
        self.retires.load(Ordering::Relaxed) <= now.0
    }
}

/// What changes together: the path and the keys.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) next_hop: SocketAddr,
    /// What is known of the path to the next hop, if it is narrow.
    pub(super) limit: Option<PathLimit>,
    pub(super) sealer: Arc<EspSealer>,
    /// The newest first; at most two.
    pub(super) generations: Vec<Arc<Generation>>,
}

impl State {
    /// The generation that packets of `spi` are opened under now.
    pub(super) fn generation(&self, now: Instant, spi: Spi) -> Result<&Generation, InboundRefusal> {
        let known = self.generations.iter().find(|generation| generation.spi == spi && !generation.is_retired(now));
        known.map(Arc::as_ref).ok_or(InboundRefusal::UnknownSpi(spi))
    }
}

/// What an authentic packet carried, as a place in its buffer.
pub(super) enum Sorted {
    /// An application's packet of this length, from the buffer's beginning.
    Packet(usize),
    /// A message for signalling.
    Control(Range<usize>),
    /// Nothing: it was a dummy.
    Nothing,
}

/// A tunnel as the packet path sees it.
#[derive(Debug)]
pub struct Tunnel {
    settings: TunnelSettings,
    log: MaybeLog,
    pub(super) mirror: MaybeMirror,
    pub(super) state: ArcSwap<State>,
    /// The source that signalling was told of last, so that it is told once.
    roamed: Mutex<Option<SocketAddr>>,
    pub(super) last_used: AtomicU64,
    pub(super) last_received: AtomicU64,
    /// When the first application's packet left that nothing authentic has followed; 0 where there is none.
    pub(super) unanswered: AtomicU64,
    pub(super) packets_in: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) packets_out: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    /// Authentic packets that a mirror has counted.
    pub(super) received_elsewhere: AtomicU64,
}

impl Tunnel {
    pub(super) fn new(
        now: Instant,
        settings: TunnelSettings,
        k_mncn: &Secret,
        log: MaybeLog,
        mirror: MaybeMirror,
    ) -> Result<Self, UnknownSuite> {
        let (spi_in, spi_out) = (settings.spi_in, settings.spi_out);
        let key_in = settings.key_in(k_mncn, spi_in)?;
        let key_out = settings.key_out(k_mncn, spi_out)?;
        log.key(spi_in, settings.suite, &key_in);
        log.key(spi_out, settings.suite, &key_out);
        mirror.tell(|mirror| mirror.installed(&settings, &key_in, &key_out));
        let state = State {
            next_hop: settings.next_hop,
            limit: None,
            sealer: Arc::new(EspSealer::new(spi_out, &key_out)),
            generations: vec![Generation::new(spi_in, &key_in)],
        };
        Ok(Self {
            settings,
            log,
            mirror,
            state: ArcSwap::from_pointee(state),
            roamed: Mutex::new(None),
            last_used: AtomicU64::new(now.0),
            last_received: AtomicU64::new(now.0),
            unanswered: AtomicU64::new(0),
            packets_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            packets_out: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            received_elsewhere: AtomicU64::new(0),
        })
    }

    /// What it was installed with. Path and generation may have changed since.
    pub fn settings(&self) -> &TunnelSettings {
        &self.settings
    }

    /// Where outer packets go now.
    pub fn next_hop(&self) -> SocketAddr {
        self.state.load().next_hop
    }

    /// The generation that packets are sealed under now.
    pub fn generation(&self) -> u32 {
        self.state.load().sealer.spi().generation()
    }

    /// When an application's packet last passed, in either direction.
    pub fn last_used(&self) -> Instant {
        Instant(self.last_used.load(Ordering::Relaxed))
    }

    /// When anything authentic last came.
    pub fn last_received(&self) -> Instant {
        Instant(self.last_received.load(Ordering::Relaxed))
    }

    /// Since when applications' packets go out and nothing authentic comes back.
    pub fn unanswered_since(&self) -> Option<Instant> {
        Some(self.unanswered.load(Ordering::Relaxed)).filter(|since| *since != 0).map(Instant)
    }

    /// What has passed.
    pub fn counters(&self) -> Counters {
        Counters {
            packets_in: self.packets_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            packets_out: self.packets_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Whether the next generation should be agreed on because of the number of packets that either end has sealed: the end that
    /// sees to it counts what comes in, too.
    pub fn is_rekey_due(&self) -> bool {
        let state = self.state.load();
        let received = state.generations.first().map_or(0, |generation| generation.highest.load(Ordering::Relaxed));
        state.sealer.is_rekey_due() || received >= REKEY_DUE
    }

    /// Sends outer packets somewhere else from now on.
    pub fn move_to(&self, next_hop: SocketAddr) {
        self.state.rcu(|state| State { next_hop, limit: None, ..State::clone(state) });
        *self.roamed.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.mirror.tell(|mirror| mirror.moved(self.settings.spi_in, next_hop));
    }

    /// Accepts packets of a new generation under a fresh K_mncn, beside those of the old one. Told again of a generation
    /// it has, it keeps that as it is: a repeated request must not reset replay state.
    pub fn accept_generation(&self, generation: u32, k_mncn: &Secret) -> Result<(), UnknownSuite> {
        let spi = self.settings.spi_in.at_generation(generation);
        let key = self.settings.key_in(k_mncn, spi)?;
        let fresh = Generation::new(spi, &key);
        self.log.key(spi, self.settings.suite, &key);
        let is_known = |state: &State| state.generations.iter().any(|known| known.spi == spi);
        let before = self.state.rcu(|state| {
            let mut state = State::clone(state);
            if !is_known(&state) {
                state.generations.insert(0, Arc::clone(&fresh));
                state.generations.truncate(2);
            }
            state
        });
        if !is_known(&before) {
            self.mirror.tell(|mirror| mirror.accepts(self.settings.spi_in, spi, &key));
        }
        Ok(())
    }

    /// Seals packets under a new generation from now on. Told again of the generation in use, it goes on with that: a
    /// repeated response must not reset the sequence.
    pub fn send_generation(&self, generation: u32, k_mncn: &Secret) -> Result<(), UnknownSuite> {
        let spi = self.settings.spi_out.at_generation(generation);
        let key = self.settings.key_out(k_mncn, spi)?;
        let fresh = Arc::new(EspSealer::new(spi, &key));
        self.log.key(spi, self.settings.suite, &key);
        let before = self.state.rcu(|state| {
            let sealer = if state.sealer.spi() == spi { &state.sealer } else { &fresh };
            State { sealer: Arc::clone(sealer), ..State::clone(state) }
        });
        if before.sealer.spi() != spi {
            self.mirror.tell(|mirror| mirror.sends(self.settings.spi_in, spi, &key));
        }
        Ok(())
    }

    /// Seals an application's packet.
    pub(super) fn outbound(
        &self,
        now: Instant,
        header: &InnerHeader,
        packet: &[u8],
    ) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        self.admit(header, packet)?;
        let sealed = self.seal(header, packet)?;
        self.note_departure(now, 1, header.length as u64);
        Ok(sealed)
    }

    /// Takes note of applications' packets that have left.
    pub(super) fn note_departure(&self, now: Instant, packets: u64, bytes: u64) {
        self.last_used.fetch_max(now.0, Ordering::Relaxed);
        if self.unanswered.load(Ordering::Relaxed) == 0 {
            self.unanswered.store(now.0.max(1), Ordering::Relaxed);
        }
        self.packets_out.fetch_add(packets, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether an application's packet may leave through this tunnel.
    pub(super) fn admit(&self, header: &InnerHeader, packet: &[u8]) -> Result<(), OutboundRefusal> {
        if !is_one_of(header.source, &self.settings.local) {
            return Err(OutboundRefusal::ForeignSource(header.source));
        }
        if header.is_to_control(packet) {
            return Err(OutboundRefusal::ControlPort);
        }
        Ok(())
    }

    /// Seals a message of signalling for the peer's control port. It does not count as use, and is refused where
    /// the tunnel is mirrored ([`Tunnel::say`]).
    pub fn control(&self, message: &[u8]) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        let packet =
            control_packet(&self.settings.local, &self.settings.remote, message).ok_or(OutboundRefusal::Malformed)?;
        let header = InnerHeader::parse(&packet).ok_or(OutboundRefusal::Malformed)?;
        self.seal(&header, &packet)
    }

    fn seal(&self, header: &InnerHeader, packet: &[u8]) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        self.seals_here()?;
        let mut sealed = vec![0; sealed_length(header.length)];
        let inner = &mut sealed[HEADER_LENGTH..HEADER_LENGTH + header.length];
        inner.copy_from_slice(&packet[..header.length]);
        if self.settings.alias.is_some_and(|alias| header.destination == alias) {
            header.rewrite_destination(inner, self.settings.remote.v4);
        }
        let state = self.state.load();
        match state.sealer.seal(&mut sealed, header.length, header.next_header()) {
            Ok(_) => Ok((state.next_hop, sealed.into())),
            Err(SealError::Exhausted) => Err(OutboundRefusal::Exhausted),
            Err(SealError::NoRoom { .. }) => Err(OutboundRefusal::Malformed),
        }
    }

    /// Opens an ESP packet with this tunnel's SPI.
    pub(super) fn inbound(
        &self,
        now: Instant,
        from: SocketAddr,
        spi: Spi,
        datagram: Bytes,
    ) -> Result<Inbound, InboundRefusal> {
        let state = self.state.load();
        let generation = state.generation(now, spi)?;
        let mut datagram = BytesMut::from(datagram);
        let opened = generation.opener.open(&mut datagram)?;
        let (length, next_header, sequence) = (opened.packet.len(), opened.next_header, opened.sequence);
        let notices = self.note_arrival(now, from, &state, generation, sequence);
        datagram.truncate(HEADER_LENGTH + length);
        let packet = datagram.split_off(HEADER_LENGTH);
        let carried = self.carried(now, packet, next_header)?;
        let (tunnel, application) = (self.settings.spi_in, self.settings.application);
        Ok(Inbound { tunnel, application, carried, notices })
    }

    /// What an authentic packet says besides what it carries.
    pub(super) fn note_arrival(
        &self,
        now: Instant,
        from: SocketAddr,
        state: &State,
        generation: &Generation,
        sequence: u32,
    ) -> Vec<PacketNotice> {
        self.last_received.fetch_max(now.0, Ordering::Relaxed);
        self.unanswered.store(0, Ordering::Relaxed);
        let highest = generation.highest.fetch_max(sequence, Ordering::Relaxed);
        let is_newest_generation = state.generations.first().is_some_and(|newest| newest.spi == generation.spi);
        let mut notices = Vec::new();
        if highest == 0 && is_newest_generation {
            let retires = (now + GENERATION_OVERLAP).0;
            for older in &state.generations[1..] {
                older.retires.fetch_min(retires, Ordering::Relaxed);
            }
            notices.push(PacketNotice::Proved { tunnel: self.settings.spi_in });
        }
        // A packet that was overtaken says where the peer was, not where it is.
        if from != state.next_hop && sequence > highest && is_newest_generation {
            let mut roamed = self.roamed.lock().unwrap_or_else(PoisonError::into_inner);
            if roamed.replace(from) != Some(from) {
                notices.push(PacketNotice::Roamed { tunnel: self.settings.spi_in, from });
            }
        }
        notices
    }

    fn carried(&self, now: Instant, mut packet: BytesMut, next_header: u8) -> Result<Carried, InboundRefusal> {
        match self.sort(&mut packet, next_header)? {
            Sorted::Nothing => Ok(Carried::Nothing),
            Sorted::Control(message) => Ok(Carried::Control(packet.freeze().slice(message))),
            Sorted::Packet(length) => {
                packet.truncate(length);
                self.last_used.fetch_max(now.0, Ordering::Relaxed);
                self.packets_in.fetch_add(1, Ordering::Relaxed);
                self.bytes_in.fetch_add(length as u64, Ordering::Relaxed);
                Ok(Carried::Packet(packet.freeze()))
            }
        }
    }

    /// Sorts out what an authentic packet carried, and gives an application's packet the addresses that applications know.
    pub(super) fn sort(&self, packet: &mut [u8], next_header: u8) -> Result<Sorted, InboundRefusal> {
        if next_header == NEXT_HEADER_DUMMY {
            return Ok(Sorted::Nothing);
        }
        let header = InnerHeader::parse(packet)
            .filter(|header| header.next_header() == next_header)
            .filter(|header| is_one_of(header.source, &self.settings.remote))
            .filter(|header| is_one_of(header.destination, &self.settings.local))
            .ok_or(InboundRefusal::ForeignInner)?;
        if header.is_to_control(packet) {
            return header.control(packet).map(Sorted::Control).ok_or(InboundRefusal::ForeignInner);
        }
        if let (Some(alias), IpAddr::V4(_)) = (self.settings.alias, header.source) {
            header.rewrite_source(packet, alias);
        }
        Ok(Sorted::Packet(header.length))
    }
}

fn is_one_of(address: IpAddr, addresses: &VirtualAddresses) -> bool {
    address == addresses.v4 || address == addresses.v6
}
