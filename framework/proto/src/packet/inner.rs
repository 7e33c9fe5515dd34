//! Inner packets: as much of IPv4, IPv6 and UDP as the packet path needs.

use bytes::Bytes;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::esp::{NEXT_HEADER_IPV4, NEXT_HEADER_IPV6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

/// The UDP port between the two virtual addresses of a tunnel that belongs to signalling. No application's packet to it
/// enters a tunnel.
pub const CONTROL_PORT: u16 = 4793;

const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const IPV6_HEADER: usize = 40;

/// What the packet path reads of an inner packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerHeader {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// Its length by its own header; what follows is padding.
    pub length: usize,
    /// Where its payload begins.
    payload: usize,
    /// The protocol of the payload; `None` in every fragment but the first, whose payload begins in the middle.
    protocol: Option<u8>,
    /// Whether it is a piece of a larger packet.
    is_fragment: bool,
}

impl InnerHeader {
    /// Reads the header of an IP packet; `None` if it is not one, or not all there.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::parse_v4(packet),
            6 => Self::parse_v6(packet),
            _ => None,
        }
    }

    fn parse_v4(packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let payload = usize::from(header[0] & 0xf) * 4;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if payload < header.len() || length < payload || packet.len() < length {
            return None;
        }
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        Some(Self {
            source: Ipv4Addr::new(header[12], header[13], header[14], header[15]).into(),
            destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]).into(),
            length,
            payload,
            protocol: (fragment & 0x1fff == 0).then_some(header[9]),
            is_fragment: fragment & 0x3fff != 0,
        })
    }

    fn parse_v6(packet: &[u8]) -> Option<Self> {
        let (header, _) = packet.split_first_chunk::<IPV6_HEADER>()?;
        let length = IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]]));
        let address = |at: usize| <[u8; 16]>::try_from(&header[at..at + 16]).ok().map(Ipv6Addr::from);
        (packet.len() >= length).then_some(Self {
            source: address(8)?.into(),
            destination: address(24)?.into(),
            length,
            payload: IPV6_HEADER,
            protocol: Some(header[6]),
            is_fragment: false,
        })
    }

    /// The next header that announces this packet in ESP.
    pub fn next_header(&self) -> u8 {
        if self.source.is_ipv4() { NEXT_HEADER_IPV4 } else { NEXT_HEADER_IPV6 }
    }

    /// Whether the packet goes to the control port.
    pub(super) fn is_to_control(&self, packet: &[u8]) -> bool {
        self.protocol == Some(UDP)
            && packet.get(self.payload + 2..self.payload + 4) == Some(CONTROL_PORT.to_be_bytes().as_slice())
    }

    /// Where the control message is, if the packet is a whole one.
    pub(super) fn control(&self, packet: &[u8]) -> Option<Range<usize>> {
        if self.is_fragment || !self.is_to_control(packet) {
            return None;
        }
        let udp = packet.get(self.payload..self.length)?.first_chunk::<UDP_HEADER>()?;
        let end = self.payload + usize::from(u16::from_be_bytes([udp[4], udp[5]]));
        (self.payload + UDP_HEADER..=self.length).contains(&end).then_some(self.payload + UDP_HEADER..end)
    }

    /// Puts another IPv4 address into the packet at `offset` of its header and corrects the checksums of IPv4, TCP and UDP.
    fn rewrite_v4(&self, packet: &mut [u8], offset: usize, address: Ipv4Addr) {
        let Some(place) = packet.get_mut(offset..offset + 4) else { return };
        let old: [u8; 4] = [place[0], place[1], place[2], place[3]];
        place.copy_from_slice(&address.octets());
        adjust(packet, 10, old, address.octets());
        match self.protocol {
            Some(TCP) => adjust(packet, self.payload + 16, old, address.octets()),
            Some(UDP) if packet.get(self.payload + 6..self.payload + 8) != Some(&[0, 0]) => {
                adjust(packet, self.payload + 6, old, address.octets());
            }
            _ => {}
        }
    }

    /// Replaces the source of an IPv4 packet.
    pub(super) fn rewrite_source(&self, packet: &mut [u8], address: Ipv4Addr) {
        self.rewrite_v4(packet, 12, address);
    }

    /// Replaces the destination of an IPv4 packet.
    pub(super) fn rewrite_destination(&self, packet: &mut [u8], address: Ipv4Addr) {
        self.rewrite_v4(packet, 16, address);
    }
}

/// Corrects the checksum at `offset` for four octets that have changed (RFC 1624).
fn adjust(packet: &mut [u8], offset: usize, old: [u8; 4], new: [u8; 4]) {
    let Some([high, low]) = packet.get_mut(offset..offset + 2) else { return };
    let mut sum = u32::from(!u16::from_be_bytes([*high, *low]));
    for pair in old.chunks_exact(2) {
        sum += u32::from(!u16::from_be_bytes([pair[0], pair[1]]));
    }
    for pair in new.chunks_exact(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair[1]]));
    }
    [*high, *low] = (!fold(sum)).to_be_bytes();
}

/// Adds the carries of a one's complement sum back in.
fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// A control message as an inner packet: UDP between the two virtual IPv6 addresses, which are unique without coordination.
/// `None` if the message does not fit a packet.
pub fn control_packet(from: &VirtualAddresses, to: &VirtualAddresses, message: &[u8]) -> Option<Bytes> {
    let length = u16::try_from(UDP_HEADER + message.len()).ok()?;
    let mut packet = Vec::with_capacity(IPV6_HEADER + usize::from(length));
    packet.extend_from_slice(&[0x60, 0, 0, 0]);
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[UDP, 64]);
    packet.extend_from_slice(&from.v6.octets());
    packet.extend_from_slice(&to.v6.octets());
    for word in [CONTROL_PORT, CONTROL_PORT, length, 0] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(message);
    let checksum = udp_v6_checksum(&packet).to_be_bytes();
    packet[IPV6_HEADER + 6..IPV6_HEADER + 8].copy_from_slice(&checksum);
    Some(packet.into())
}

/// The checksum of a UDP packet over IPv6 whose checksum field is zero (RFC 8200 §8.1).
fn udp_v6_checksum(packet: &[u8]) -> u16 {
    let words = packet[8..].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let length = (packet.len() - IPV6_HEADER) as u32;
    match !fold(words.fold(length + u32::from(UDP), |sum, word| u32::from(fold(sum + word)))) {
        0 => 0xffff,
        checksum => checksum,
    }
}
