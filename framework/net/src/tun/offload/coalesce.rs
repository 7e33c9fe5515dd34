//! Putting the packets of one flow together into a super-packet, without copying their payloads.
//!
//! Only neighbours are put together, so nothing is ever reordered: what does not continue the packet before it is written
//! after it. Their checksums are not looked at: every packet came out of an authenticated tunnel as the peer's own kernel or
//! packet path finished it, so the sum could find nothing that the integrity check value has not (Linux' WireGuard vouches
//! for checksums by the same reasoning).

use super::virtio::{Gso, VirtioHeader};
use super::{
    IPV4_HEADER, IPV6_HEADER, TCP, TCP_CHECKSUM, TCP_HEADER, UDP, UDP_CHECKSUM, UDP_HEADER, add_bytes, fold,
    pseudo_header,
};
use std::io::IoSlice;

/// Of so many packets a super-packet consists at most.
pub const MOST_SEGMENTS: usize = 64;

const TCP_ACKNOWLEDGEMENT: u8 = 0x10;
const TCP_PUSH: u8 = 0x08;
const TCP_FLAGS: usize = 13;

/// No fragment, and none to be made of it.
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];

/// Which super-packets the device takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mergeable {
    /// Segments of TCP.
    pub tcp: bool,
    /// Datagrams of UDP.
    pub udp: bool,
}

/// A packet that others may be put behind.
#[derive(Clone, Copy)]
struct Shape {
    transport: usize,
    headers: usize,
    is_tcp: bool,
}

impl Shape {
    /// The shape of a packet that can be put together with others at all.
    fn of(packet: &[u8], mergeable: Mergeable) -> Option<Self> {
        let (transport, protocol) = match packet.first()? {
            0x45 if packet.len() >= IPV4_HEADER && packet[6..8] == DONT_FRAGMENT => (IPV4_HEADER, packet[9]),
            0x60..=0x6f if packet.len() >= IPV6_HEADER => (IPV6_HEADER, packet[6]),
            _ => return None,
        };
        let rest = &packet[transport..];
        match protocol {
            TCP if mergeable.tcp && rest.len() > TCP_HEADER => {
                let length = usize::from(rest[12] >> 4) * 4;
                let plain = rest[TCP_FLAGS] & !TCP_PUSH == TCP_ACKNOWLEDGEMENT && rest[12] & 0xf == 0;
                (plain && length >= TCP_HEADER && length < rest.len()).then_some(Self {
                    transport,
                    headers: transport + length,
                    is_tcp: true,
                })
            }
            UDP if mergeable.udp && rest.len() > UDP_HEADER => {
                let whole = usize::from(u16::from_be_bytes([rest[4], rest[5]])) == rest.len();
                (whole && rest[UDP_CHECKSUM..UDP_HEADER] != [0, 0]).then_some(Self {
                    transport,
                    headers: transport + UDP_HEADER,
                    is_tcp: false,
                })
            }
            _ => None,
        }
    }

    /// Whether two packets of this shape differ in nothing but lengths, identification, sequence, PSH and checksums.
    fn is_same_flow(&self, first: &[u8], next: &[u8]) -> bool {
        let same = |from: usize, to: usize| first[from..to] == next[from..to];
        let network = if self.transport == IPV4_HEADER {
            same(0, 2) && same(8, 10) && same(12, IPV4_HEADER)
        } else {
            same(0, 4) && same(6, IPV6_HEADER)
        };
        let at = self.transport;
        network
            && same(at, at + 4)
            && (!self.is_tcp || (same(at + 8, at + 13) && same(at + 14, at + 16) && same(at + 18, self.headers)))
    }
}

/// A super-packet in the making.
struct Open<'a> {
    first: &'a mut [u8],
    shape: Shape,
    /// Octets of payload in each segment but the last.
    segment: usize,
    /// Octets of payload in all.
    payload: usize,
    next_sequence: u32,
}

/// Gathers packets, and writes each super-packet when it is complete.
pub struct Coalescer<'a> {
    mergeable: Mergeable,
    open: Option<Open<'a>>,
    /// The payloads behind the first packet: as many as `behind` says.
    payloads: [IoSlice<'a>; MOST_SEGMENTS - 1],
    behind: usize,
}

impl<'a> Coalescer<'a> {
    /// Gathers what the device takes.
    pub fn new(mergeable: Mergeable) -> Self {
        Self { mergeable, open: None, payloads: [IoSlice::new(&[]); MOST_SEGMENTS - 1], behind: 0 }
    }

    /// Takes the next packet, exactly as long as its IP header says. `write` is given what is complete by that: virtio header,
    /// first packet, further payloads.
    pub fn push(&mut self, packet: &'a mut [u8], mut write: impl FnMut(&[IoSlice<'_>])) {
        let Some(shape) = Shape::of(packet, self.mergeable) else {
            self.finish(&mut write);
            return write(&[IoSlice::new(&VirtioHeader::default().encode()), IoSlice::new(packet)]);
        };
        let length = packet.len() - shape.headers;
        if let Some(open) = &mut self.open
            && self.behind < MOST_SEGMENTS - 1
            && continues(open, &shape, packet)
        {
            let is_last = length < open.segment || shape.is_tcp && packet[shape.transport + TCP_FLAGS] & TCP_PUSH != 0;
            if is_last && shape.is_tcp {
                open.first[shape.transport + TCP_FLAGS] |= packet[shape.transport + TCP_FLAGS] & TCP_PUSH;
            }
            open.payload += length;
            open.next_sequence = open.next_sequence.wrapping_add(length as u32);
            self.payloads[self.behind] = IoSlice::new(&packet[shape.headers..]);
            self.behind += 1;
            if is_last {
                self.finish(write);
            }
            return;
        }
        self.finish(&mut write);
        let next_sequence = if shape.is_tcp { sequence(packet, &shape).wrapping_add(length as u32) } else { 0 };
        let is_last = shape.is_tcp && packet[shape.transport + TCP_FLAGS] & TCP_PUSH != 0;
        self.open = Some(Open { first: packet, shape, segment: length, payload: length, next_sequence });
        if is_last {
            self.finish(write);
        }
    }

    /// Writes what has been gathered.
    pub fn finish(&mut self, mut write: impl FnMut(&[IoSlice<'_>])) {
        let Some(Open { first, shape, segment, payload, .. }) = self.open.take() else { return };
        let behind = std::mem::take(&mut self.behind);
        let virtio = if behind == 0 { VirtioHeader::default() } else { make_super(first, &shape, segment, payload) };
        let virtio = virtio.encode();
        let mut parts = [IoSlice::new(&[]); MOST_SEGMENTS + 1];
        parts[0] = IoSlice::new(&virtio);
        parts[1] = IoSlice::new(first);
        parts[2..2 + behind].copy_from_slice(&self.payloads[..behind]);
        write(&parts[..2 + behind]);
    }
}

/// Makes the headers of `first` those of a super-packet with `payload` octets, whose checksum the kernel need not look at.
fn make_super(first: &mut [u8], shape: &Shape, segment: usize, payload: usize) -> VirtioHeader {
    let (network, transport) = first[..shape.headers].split_at_mut(shape.transport);
    let transport_length = (shape.headers - shape.transport + payload) as u16;
    let is_v4 = shape.transport == IPV4_HEADER;
    if is_v4 {
        network[2..4].copy_from_slice(&(transport_length + IPV4_HEADER as u16).to_be_bytes());
        network[10..12].fill(0);
        let sum = !fold(add_bytes(0, network));
        network[10..12].copy_from_slice(&sum.to_ne_bytes());
    } else {
        network[4..6].copy_from_slice(&transport_length.to_be_bytes());
    }
    let (protocol, checksum, gso) = match (shape.is_tcp, is_v4) {
        (true, true) => (TCP, TCP_CHECKSUM, Gso::TcpV4),
        (true, false) => (TCP, TCP_CHECKSUM, Gso::TcpV6),
        (false, _) => (UDP, UDP_CHECKSUM, Gso::Udp),
    };
    if !shape.is_tcp {
        transport[4..6].copy_from_slice(&transport_length.to_be_bytes());
    }
    let sum = fold(pseudo_header(network, protocol) + u64::from(transport_length.to_be()));
    transport[checksum..checksum + 2].copy_from_slice(&sum.to_ne_bytes());
    VirtioHeader {
        needs_checksum: true,
        gso,
        header_length: shape.headers as u16,
        segment: segment as u16,
        checksum_start: shape.transport as u16,
        checksum_offset: checksum as u16,
    }
}

fn sequence(packet: &[u8], shape: &Shape) -> u32 {
    let at = shape.transport + 4;
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

/// Whether `packet` comes right behind what is open, and fits.
fn continues(open: &Open<'_>, shape: &Shape, packet: &[u8]) -> bool {
    let length = packet.len() - shape.headers;
    (shape.transport, shape.headers, shape.is_tcp) == (open.shape.transport, open.shape.headers, open.shape.is_tcp)
        && length <= open.segment
        && open.first.len() + (open.payload - open.segment) + length <= usize::from(u16::MAX)
        && (!shape.is_tcp || sequence(packet, shape) == open.next_sequence)
        && shape.is_same_flow(open.first, packet)
}
