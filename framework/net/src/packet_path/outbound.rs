//! From the device into tunnels: read a super-packet, find its tunnel, cut it, seal each segment where it will be sent from.

use super::Shared;
use super::port::Lane;
use super::socket::{MOST_DATAGRAMS, path_mtu};
use super::too_big::{is_whole, packet_too_big};
use super::train::{Narrow, Train};
use super::upward::Event;
use crate::tun::Queue;
use crate::tun::offload::{Gso, SuperPacket, VIRTIO_LENGTH, VirtioHeader, complete_checksum};
use bytes::Bytes;
use ntmobile_proto::packet::{Departure, InnerHeader, OutboundRefusal, PathLimit, Tunnel, TunnelTable};
use ntmobile_proto::time::Instant;
use ntmobile_wire::esp::{HEADER_LENGTH, sealed_length};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// So many packets are read before incoming ones get their turn.
const TURN: usize = 2 * MOST_DATAGRAMS;

/// Room for a virtio header and the largest IP packet.
const READ_BUFFER: usize = VIRTIO_LENGTH + 65_535;

/// No packet of a tunnel is told to be smaller: the virtual interface never goes below.
const LEAST_MTU: usize = 1_280;

/// What is found out about a path is believed as long as the kernel believes it.
const LIMIT_LIFETIME: Duration = Duration::from_secs(600);

/// How long the kernel is not asked again about a path whose room it has just told. What goes on being too long for it is cut by the
/// kernel, a datagram at a time.
const BELIEVED: Duration = Duration::from_secs(5);

/// So many paths are remembered as asked about.
const ASKED: usize = 16;

/// The outgoing side of one thread.
pub(super) struct Outbound {
    read: Box<[u8]>,
    train: Train,
    narrow: NarrowPaths,
}

/// The narrow paths that the kernel has been asked about a moment ago.
#[derive(Default)]
struct NarrowPaths(Vec<(SocketAddr, Instant)>);

impl NarrowPaths {
    /// Whether nothing has been asked about this path for a while; from now on it has.
    fn is_news(&mut self, to: SocketAddr, now: Instant) -> bool {
        self.0.retain(|(_, asked)| now.since(*asked) < BELIEVED);
        if self.0.iter().any(|(known, _)| *known == to) {
            return false;
        }
        if self.0.len() >= ASKED {
            self.0.remove(0);
        }
        self.0.push((to, now));
        true
    }
}

impl Outbound {
    pub(super) fn new() -> Self {
        Self { read: vec![0; READ_BUFFER].into(), train: Train::new(), narrow: NarrowPaths::default() }
    }

    /// Reads what there is, within a turn, and sends it. Returns whether there was anything.
    pub(super) fn turn(&mut self, shared: &Shared, lane: Lane<'_>, queue: &Queue) -> io::Result<bool> {
        let mut now = None;
        let mut left = TURN;
        while left > 0 {
            let length = match queue.read(&mut self.read) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_gone(&error) => return Err(error),
                Err(_) => {
                    // The kernel could not hand over this one, and has dropped it; the next is as good as any.
                    shared.counters.not_ip.add(1);
                    left -= 1;
                    continue;
                }
            };
            // The clock is read once for all packets that are there together.
            let now = *now.get_or_insert_with(|| shared.clock.now());
            let count = self.take(now, length, shared, lane, queue);
            left = left.saturating_sub(count);
        }
        let narrow = self.train.send(lane, &shared.counters);
        learn(narrow, now, &mut self.narrow, shared);
        Ok(now.is_some())
    }

    /// Sends one packet or super-packet of those `length` octets; returns of how many packets it consisted.
    fn take(&mut self, now: Instant, length: usize, shared: &Shared, lane: Lane<'_>, queue: &Queue) -> usize {
        let Some((virtio, packet)) = self.read[..length].split_first_chunk_mut() else { return 1 };
        let virtio = VirtioHeader::decode(virtio);
        let counters = &shared.counters;
        let Some(header) = InnerHeader::parse(packet) else {
            counters.not_ip.add(1);
            return 1;
        };
        let shape = SuperPacket::parse(&virtio, packet)
            .map(|whole| whole.map_or((1, header.length), |whole| (whole.count(), whole.longest())));
        let is_single = virtio.gso == Gso::None;
        let Ok((count, longest)) = shape
            .and_then(|shape| if is_single { complete_checksum(&virtio, packet).map(|()| shape) } else { Ok(shape) })
        else {
            counters.not_ip.add(1);
            return 1;
        };
        let table = shared.table.load();
        let Some(tunnel) = shared.way(&table, &header, packet) else {
            if is_single && shared.aside.load().as_deref() == Some(&header.destination) {
                shared.tell(Event::Aside(Bytes::copy_from_slice(&packet[..header.length])));
                return count;
            }
            counters.no_tunnel.add(count as u64);
            if may_be_a_peer(header.destination) {
                let packet = is_single.then(|| Bytes::copy_from_slice(packet));
                shared.tell(Event::NoTunnel { destination: header.destination, packet });
            }
            return count;
        };
        if is_too_big(now, &tunnel, longest, packet, shared, queue) {
            return count;
        }
        let sealed = tunnel.depart(now, &header, packet, count as u32, |packet, departure| {
            let mut exit = Exit { train: &mut self.train, narrow: &mut self.narrow, departure, lane, shared, now };
            match SuperPacket::parse(&virtio, packet) {
                Ok(Some(whole)) => (0..whole.count())
                    .try_for_each(|number| exit.seal(whole.length(number), |place| whole.write(number, place))),
                _ => exit.seal(header.length, |place| {
                    place[..header.length].copy_from_slice(&packet[..header.length]);
                    Some(header.length)
                }),
            }
        });
        match sealed.flatten() {
            Ok(()) => {}
            Err(OutboundRefusal::ForeignSource(_)) => counters.foreign_source.add(count as u64),
            Err(OutboundRefusal::ControlPort) => counters.control_port.add(count as u64),
            Err(OutboundRefusal::Exhausted) => counters.exhausted.add(count as u64),
            Err(OutboundRefusal::Malformed | OutboundRefusal::NoTunnel(_) | OutboundRefusal::CarriedElsewhere) => {
                counters.not_ip.add(count as u64);
            }
        }
        count
    }
}

/// Whether the device will never give a packet again.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADFD | libc::EBADF | libc::EIO | libc::ENODEV))
}

/// Whether an address can be one node's. What the kernel says to all neighbours of a new device is for nobody.
fn may_be_a_peer(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => !address.is_multicast() && !address.is_unicast_link_local(),
    }
}

/// The way of packets into a train.
struct Exit<'a, 'b> {
    train: &'a mut Train,
    narrow: &'a mut NarrowPaths,
    departure: &'a mut Departure<'b>,
    lane: Lane<'a>,
    shared: &'a Shared,
    now: Instant,
}

impl Exit<'_, '_> {
    /// Seals the packet of `length` octets that `write` puts into its place.
    fn seal(&mut self, length: usize, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Result<(), OutboundRefusal> {
        let sealed = sealed_length(length);
        let to = self.departure.next_hop();
        let (place, narrow) = self.train.place(to, sealed, self.lane, &self.shared.counters);
        let place = place.ok_or(OutboundRefusal::Malformed)?;
        write(&mut place[HEADER_LENGTH..]).ok_or(OutboundRefusal::Malformed)?;
        self.departure.seal(place, length)?;
        self.train.commit(sealed);
        learn(narrow, Some(self.now), self.narrow, self.shared);
        Ok(())
    }
}

/// Answers an application whose packet the path does not carry. Where the path carries less than what every application
/// may count on, or the packet may be fragmented, the kernel fragments the outer packet instead.
fn is_too_big(now: Instant, tunnel: &Tunnel, longest: usize, packet: &[u8], shared: &Shared, queue: &Queue) -> bool {
    let Some(limit) = tunnel.path_limit(now).filter(|limit| longest > *limit) else { return false };
    let Some(answer) = packet_too_big(packet, limit as u16) else { return is_whole(packet) };
    shared.counters.too_big.add(1);
    let virtio = VirtioHeader::default().encode();
    if queue.write(&[IoSlice::new(&virtio), IoSlice::new(&answer)]).is_err() {
        shared.counters.unwritten.add(1);
    }
    true
}

/// Takes note that the path to a next hop is narrow, for every tunnel that takes it.
fn learn(narrow: Option<Narrow>, now: Option<Instant>, paths: &mut NarrowPaths, shared: &Shared) {
    let (Some(Narrow(to)), Some(now)) = (narrow, now) else { return };
    if !paths.is_news(to, now) {
        return;
    }
    shared.counters.path_asked.add(1);
    let Ok(mtu) = path_mtu(to) else { return };
    let limit = PathLimit { octets: room(to, mtu).max(LEAST_MTU), until: now + LIMIT_LIFETIME };
    let table: &TunnelTable = &shared.table.load();
    for tunnel in table.tunnels().iter().filter(|tunnel| tunnel.next_hop() == to) {
        tunnel.limit_path(to, limit);
    }
}

/// The largest inner packet of a path with this MTU.
pub(super) fn room(to: SocketAddr, mtu: usize) -> usize {
    let ip = if to.is_ipv4() { 20 } else { 40 };
    let sealed = mtu.saturating_sub(ip + 8);
    (0..=sealed).rev().find(|inner| sealed_length(*inner) <= sealed).unwrap_or(0)
}
