//! Trains of packets through a tunnel, in the caller's buffers: what the packet path of a host uses, where packets cross the
//! kernel by the dozen. The rules are those of single packets; counters and windows are touched once for each train.

use super::inner::InnerHeader;
use super::tunnel::{InboundRefusal, OutboundRefusal, Sorted, State, Tunnel};
use crate::machine::PacketNotice;
use crate::time::Instant;
use ntmobile_wire::esp::{Reservation, SealError};
use ntmobile_wire::identifier::Spi;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;

/// The largest inner packet that the path to the next hop carries in one piece, while that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathLimit {
    /// Octets of inner packet.
    pub octets: usize,
    /// From then on it is found out anew.
    pub until: Instant,
}

/// The way out for one train: where it goes, and sequence numbers for its packets.
pub struct Departure<'a> {
    reservation: Reservation<'a>,
    next_hop: SocketAddr,
    next_header: u8,
    packets: u64,
    bytes: u64,
}

impl Departure<'_> {
    /// Where the outer packets go.
    pub fn next_hop(&self) -> SocketAddr {
        self.next_hop
    }

    /// Seals in place the inner packet of `inner` octets that the caller put behind the room for the ESP header; returns
    /// the length of the whole.
    pub fn seal(&mut self, buffer: &mut [u8], inner: usize) -> Result<usize, OutboundRefusal> {
        let length = self.reservation.seal(buffer, inner, self.next_header).map_err(refusal)?;
        self.packets += 1;
        self.bytes += inner as u64;
        Ok(length)
    }
}

impl fmt::Debug for Departure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Departure({:?} to {})", self.reservation, self.next_hop)
    }
}

fn refusal(error: SealError) -> OutboundRefusal {
    match error {
        SealError::Exhausted => OutboundRefusal::Exhausted,
        SealError::NoRoom { .. } => OutboundRefusal::Malformed,
    }
}

/// What a packet of a train carried.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival<'a> {
    /// An application's packet.
    Packet(&'a mut [u8]),
    /// A message for signalling, in its frame.
    Control(&'a [u8]),
    /// Nothing: it was a dummy.
    Nothing,
}

impl Tunnel {
    /// What is known of a narrow path to the next hop.
    pub fn path_limit(&self, now: Instant) -> Option<usize> {
        self.state.load().limit.filter(|limit| now < limit.until).map(|limit| limit.octets)
    }

    /// Notes how much the path to `next_hop` carries, unless the tunnel has moved since.
    pub fn limit_path(&self, next_hop: SocketAddr, limit: PathLimit) {
        self.state.rcu(|state| {
            let limit = if state.next_hop == next_hop { Some(limit) } else { state.limit };
            State { limit, ..State::clone(state) }
        });
    }

    /// Lets out `count` packets that share the header of `packet`: a whole packet, or one that the caller cuts into
    /// segments whose checksums it computes. `seal` is given it with the peer's own address, and the way out.
    pub fn depart<T>(
        &self,
        now: Instant,
        header: &InnerHeader,
        packet: &mut [u8],
        count: u32,
        seal: impl FnOnce(&mut [u8], &mut Departure<'_>) -> T,
    ) -> Result<T, OutboundRefusal> {
        self.seals_here()?;
        self.admit(header, packet)?;
        let settings = self.settings();
        if settings.alias.is_some_and(|alias| header.destination == alias) {
            header.rewrite_destination(packet, settings.remote.v4);
        }
        let state = self.state.load();
        let mut departure = Departure {
            reservation: state.sealer.reserve(count).map_err(refusal)?,
            next_hop: state.next_hop,
            next_header: header.next_header(),
            packets: 0,
            bytes: 0,
        };
        let result = seal(packet, &mut departure);
        self.note_departure(now, departure.packets, departure.bytes);
        Ok(result)
    }

    /// Opens in place a train of ESP packets with this tunnel's SPI, of `stride` octets each and the last one perhaps shorter;
    /// tells what came of each, in order. Returns what signalling should know; nearly always nothing.
    ///
    /// # Panics
    /// When `stride` is 0.
    pub fn arrive<'a>(
        &self,
        now: Instant,
        from: SocketAddr,
        spi: Spi,
        train: &'a mut [u8],
        stride: usize,
        mut each: impl FnMut(Result<Arrival<'a>, InboundRefusal>),
    ) -> Vec<PacketNotice> {
        let state = self.state.load();
        let generation = match state.generation(now, spi) {
            Ok(generation) => generation,
            Err(refusal) => {
                train.chunks(stride).for_each(|_| each(Err(refusal)));
                return Vec::new();
            }
        };
        let (mut newest, mut packets, mut bytes) = (0, 0, 0);
        generation.opener.open_train(train, stride, |outcome| {
            each(outcome.map_err(InboundRefusal::from).and_then(|inner| {
                newest = newest.max(inner.sequence);
                Ok(match self.sort(inner.packet, inner.next_header)? {
                    Sorted::Nothing => Arrival::Nothing,
                    Sorted::Control(message) => Arrival::Control(&inner.packet[message]),
                    Sorted::Packet(length) => {
                        packets += 1;
                        bytes += length as u64;
                        Arrival::Packet(&mut inner.packet[..length])
                    }
                })
            }));
        });
        if packets > 0 {
            self.last_used.fetch_max(now.0, Ordering::Relaxed);
            self.packets_in.fetch_add(packets, Ordering::Relaxed);
            self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
        }
        if newest == 0 { Vec::new() } else { self.note_arrival(now, from, &state, generation, newest) }
    }
}
