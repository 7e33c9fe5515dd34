//! Cutting packets that are too large for a link, and making them whole again.

use super::packet::{Fragment, Packet, Transport, decode_transport};
use bytes::{Bytes, BytesMut};
use ntmobile_proto::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// How long fragments wait for the others, as RFC 8200 §4.5 has it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many packets of a node may wait for their fragments at once.
const MOST_PACKETS: usize = 256;
/// What an IP packet can carry at most.
const MOST_BYTES: usize = 65_535;
/// The IPv6 header with a fragment header, and the IPv4 header.
const HEADERS: (usize, usize) = (48, 20);

/// Cuts a packet, or a piece of one, into pieces that fit `mtu`. `None` when the link is too narrow for any.
pub(super) fn split(packet: &Packet, mtu: usize) -> Option<Vec<Packet>> {
    let header = if packet.is_ipv4() { HEADERS.1 } else { HEADERS.0 };
    let step = mtu.checked_sub(header)? & !7;
    if step == 0 {
        return None;
    }
    let (start, more_behind) = match &packet.transport {
        Transport::Fragment(fragment) => (fragment.offset, fragment.more),
        _ => (0, false),
    };
    let bytes = packet.transport_bytes();
    let pieces = (0..bytes.len()).step_by(step).map(|at| {
        let end = (at + step).min(bytes.len());
        let fragment = Fragment {
            protocol: packet.protocol(),
            offset: start + at as u16,
            more: end < bytes.len() || more_behind,
            bytes: bytes.slice(at..end),
        };
        Packet { transport: Transport::Fragment(fragment), ..header_of(packet) }
    });
    Some(pieces.collect())
}

/// The packet with nothing in it.
fn header_of(packet: &Packet) -> Packet {
    Packet { transport: Transport::Other { protocol: packet.protocol(), payload: Bytes::new() }, ..*packet }
}

/// What fragments of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    identification: u32,
}

#[derive(Clone, Debug)]
struct Partial {
    pieces: BTreeMap<u16, Bytes>,
    received: usize,
    total: Option<usize>,
    first: Option<Packet>,
    deadline: Instant,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reassembled {
    /// It waits for the others.
    Held,
    /// It was the last missing one: the whole packet, and of how many pieces it was made.
    Whole(Packet, u64),
    /// The packet, of which so many pieces had come, makes no sense.
    Broken(u64),
}

/// The packets of one node that wait for their fragments.
#[derive(Clone, Debug, Default)]
pub(super) struct Reassembly {
    partials: BTreeMap<Key, Partial>,
    /// By when to give up; the same packets in another order.
    deadlines: BTreeSet<(Instant, Key)>,
    held: u64,
}

impl Reassembly {
    /// How many fragments wait.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Gives up what has waited too long; returns how many fragments that were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let mut dropped = 0;
        while let Some((deadline, key)) = self.deadlines.first() {
            if *deadline > now {
                break;
            }
            let key = *key;
            dropped += self.remove(key).map_or(0, |partial| partial.pieces.len() as u64);
        }
        dropped
    }

    /// Gives everything up.
    pub(super) fn clear(&mut self) -> u64 {
        self.partials.clear();
        self.deadlines.clear();
        std::mem::take(&mut self.held)
    }

    /// Makes room for one more packet; returns how many fragments had to go for it.
    fn make_room(&mut self) -> u64 {
        let oldest = self.deadlines.first().map(|(_, key)| *key);
        match oldest {
            Some(key) if self.partials.len() >= MOST_PACKETS => {
                self.remove(key).map_or(0, |partial| partial.pieces.len() as u64)
            }
            _ => 0,
        }
    }

    fn remove(&mut self, key: Key) -> Option<Partial> {
        let partial = self.partials.remove(&key)?;
        self.deadlines.remove(&(partial.deadline, key));
        self.held -= partial.pieces.len() as u64;
        Some(partial)
    }

    /// Takes a fragment in; also says how many older ones were given up to make room.
    pub(super) fn add(&mut self, now: Instant, packet: Packet) -> (Reassembled, u64) {
        let Transport::Fragment(fragment) = &packet.transport else { return (Reassembled::Whole(packet, 1), 0) };
        let key = Key {
            source: packet.source,
            destination: packet.destination,
            protocol: fragment.protocol,
            identification: packet.identification,
        };
        let evicted = if self.partials.contains_key(&key) { 0 } else { self.make_room() };
        let deadline = now + PATIENCE;
        let partial = self.partials.entry(key).or_insert_with(|| Partial {
            pieces: BTreeMap::new(),
            received: 0,
            total: None,
            first: None,
            deadline,
        });
        self.deadlines.insert((partial.deadline, key));
        if partial.pieces.get(&fragment.offset) == Some(&fragment.bytes) {
            // The network brought the same piece twice; that breaks nothing.
            return (Reassembled::Broken(1), evicted);
        }
        if !partial.takes(fragment) {
            let pieces = self.remove(key).map_or(0, |partial| partial.pieces.len() as u64);
            return (Reassembled::Broken(pieces + 1), evicted);
        }
        self.held += 1;
        partial.pieces.insert(fragment.offset, fragment.bytes.clone());
        partial.received += fragment.bytes.len();
        if fragment.offset == 0 {
            partial.first = Some(header_of(&packet));
        }
        if partial.total != Some(partial.received) {
            return (Reassembled::Held, evicted);
        }
        let Some(partial) = self.remove(key) else { return (Reassembled::Held, evicted) };
        let count = partial.pieces.len() as u64;
        (partial.whole(key).map_or(Reassembled::Broken(count), |packet| Reassembled::Whole(packet, count)), evicted)
    }
}

impl Partial {
    /// Whether the piece fits among those that have come: no overlap (RFC 5722), one end, a multiple of 8 in between.
    fn takes(&mut self, fragment: &Fragment) -> bool {
        let start = usize::from(fragment.offset);
        let end = start + fragment.bytes.len();
        let before = self.pieces.range(..=fragment.offset).next_back();
        let behind = self.pieces.range(fragment.offset..).next();
        let overlaps = before.is_some_and(|(offset, bytes)| usize::from(*offset) + bytes.len() > start)
            || behind.is_some_and(|(offset, _)| usize::from(*offset) < end);
        if overlaps || end > MOST_BYTES || end == start || (fragment.more && !fragment.bytes.len().is_multiple_of(8)) {
            return false;
        }
        if !fragment.more {
            let last = self.pieces.last_key_value().map_or(0, |(offset, bytes)| usize::from(*offset) + bytes.len());
            if self.total.is_some() || last > end {
                return false;
            }
            self.total = Some(end);
        }
        self.total.is_none_or(|total| end <= total)
    }

    fn whole(self, key: Key) -> Option<Packet> {
        let mut bytes = BytesMut::with_capacity(self.received);
        for piece in self.pieces.values() {
            bytes.extend_from_slice(piece);
        }
        let transport = decode_transport(key.source, key.destination, key.protocol, bytes.freeze()).ok()?;
        let first = self.first?;
        let whole = Packet::new(key.source, key.destination, transport).ok()?;
        Some(Packet { transport: whole.transport, ..first })
    }
}
