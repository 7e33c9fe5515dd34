//! IP packets as the stack reads and writes them: headers taken apart, datagrams, resets and ICMP messages made.

pub(crate) mod icmp;

use bytes::Bytes;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
    UdpRepr,
};
use std::net::{IpAddr, SocketAddr};

/// The hop limit of what the stack sends.
const HOP_LIMIT: u8 = 64;

/// The packet's addresses and what it carries. Fragments and IPv6 extension headers are not taken apart: such a packet
/// is none of ours.
pub(crate) struct Packet<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: IpProtocol,
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Takes the IP header apart; `None` if it is not sound.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => {
                let packet = Ipv4Packet::new_checked(bytes).ok()?;
                let whole = !packet.more_frags() && packet.frag_offset() == 0;
                (whole && packet.verify_checksum()).then(|| Self {
                    source: IpAddr::V4(packet.src_addr()),
                    destination: IpAddr::V4(packet.dst_addr()),
                    protocol: packet.next_header(),
                    payload: packet.payload(),
                })
            }
            6 => {
                let packet = Ipv6Packet::new_checked(bytes).ok()?;
                Some(Self {
                    source: IpAddr::V6(packet.src_addr()),
                    destination: IpAddr::V6(packet.dst_addr()),
                    protocol: packet.next_header(),
                    payload: packet.payload(),
                })
            }
            _ => None,
        }
    }

    /// The UDP datagram in it: source and destination port, payload.
    pub(crate) fn udp(&self) -> Option<(u16, u16, &'a [u8])> {
        let packet = UdpPacket::new_checked(self.payload).ok()?;
        let repr = UdpRepr::parse(&packet, &self.source.into(), &self.destination.into(), &checksums()).ok()?;
        Some((repr.src_port, repr.dst_port, packet.payload()))
    }

    /// The TCP segment in it.
    pub(crate) fn tcp(&self) -> Option<TcpRepr<'a>> {
        let packet = TcpPacket::new_checked(self.payload).ok()?;
        TcpRepr::parse(&packet, &self.source.into(), &self.destination.into(), &checksums()).ok()
    }
}

fn checksums() -> ChecksumCapabilities {
    ChecksumCapabilities::default()
}

/// How many bytes the IP header takes in this family.
pub(crate) fn ip_header(address: IpAddr) -> usize {
    if address.is_ipv4() { 20 } else { 40 }
}

/// Makes a packet: the IP header, then `length` bytes that `fill` writes. Both addresses are of one family.
fn build(
    source: IpAddr,
    destination: IpAddr,
    protocol: IpProtocol,
    length: usize,
    fill: impl FnOnce(&mut [u8]),
) -> Bytes {
    let ip = IpRepr::new(source.into(), destination.into(), protocol, length, HOP_LIMIT);
    let mut bytes = vec![0; ip.buffer_len()];
    ip.emit(&mut bytes, &checksums());
    fill(&mut bytes[ip.header_len()..]);
    bytes.into()
}

/// A UDP datagram.
pub(crate) fn udp(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> Bytes {
    let repr = UdpRepr { src_port: from.port(), dst_port: to.port() };
    let length = repr.header_len() + payload.len();
    build(from.ip(), to.ip(), IpProtocol::Udp, length, |buffer| {
        let (source, destination): (IpAddress, IpAddress) = (from.ip().into(), to.ip().into());
        let mut packet = UdpPacket::new_unchecked(buffer);
        repr.emit(
            &mut packet,
            &source,
            &destination,
            payload.len(),
            |into| into.copy_from_slice(payload),
            &checksums(),
        );
    })
}

/// The reset that answers a segment of no connection (RFC 9293 §3.10.7.1); `None` for a reset, which is never answered.
pub(crate) fn reset(packet: &Packet<'_>, segment: &TcpRepr<'_>) -> Option<Bytes> {
    if segment.control == TcpControl::Rst {
        return None;
    }
    let (seq_number, ack_number) = match segment.ack_number {
        Some(acknowledged) => (acknowledged, None),
        None => (TcpSeqNumber(0), Some(segment.seq_number + segment.segment_len())),
    };
    let repr = TcpRepr {
        src_port: segment.dst_port,
        dst_port: segment.src_port,
        control: TcpControl::Rst,
        seq_number,
        ack_number,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None, None, None],
        timestamp: None,
        payload: &[],
    };
    Some(build(packet.destination, packet.source, IpProtocol::Tcp, repr.buffer_len(), |buffer| {
        let (source, destination) = (packet.destination.into(), packet.source.into());
        repr.emit(&mut TcpPacket::new_unchecked(buffer), &source, &destination, &checksums());
    }))
}
