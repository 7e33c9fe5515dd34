//! ICMP, both versions: echoes are answered, errors about our packets understood, closed ports reported.

use super::{Packet, build, checksums};
use bytes::Bytes;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpProtocol,
    Ipv4Repr, Ipv6Repr,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// As much of an offending packet as an error quotes; keeps the error within 576 bytes.
const QUOTED: usize = 512;
/// Message types and codes that smoltcp leaves to be read by hand.
const V4_UNREACHABLE: u8 = 3;
const V4_FRAGMENTATION_NEEDED: u8 = 4;
const V6_UNREACHABLE: u8 = 1;
const V6_PACKET_TOO_BIG: u8 = 2;

/// What an ICMP message means to the stack.
pub(crate) enum Message {
    /// An echo request; the packet that answers it.
    Answer(Bytes),
    /// Something is wrong with a packet that we sent.
    Error(Error),
}

/// An error about a TCP or UDP packet of ours.
pub(crate) struct Error {
    pub(crate) protocol: IpProtocol,
    /// The source of the packet it is about.
    pub(crate) local: SocketAddr,
    /// The destination of the packet it is about.
    pub(crate) remote: SocketAddr,
    /// The largest packet that gets through, when that is what is wrong; unreachable otherwise.
    pub(crate) too_big_for: Option<usize>,
}

/// Understands an ICMP packet; `None` if it is unsound or of no interest.
pub(crate) fn understand(packet: &Packet<'_>) -> Option<Message> {
    match (packet.source, packet.destination, packet.protocol) {
        (IpAddr::V4(source), IpAddr::V4(destination), IpProtocol::Icmp) => v4(packet, source, destination),
        (IpAddr::V6(source), IpAddr::V6(destination), IpProtocol::Icmpv6) => v6(packet, source, destination),
        _ => None,
    }
}

fn v4(packet: &Packet<'_>, source: Ipv4Addr, destination: Ipv4Addr) -> Option<Message> {
    let icmp = Icmpv4Packet::new_checked(packet.payload).ok()?;
    if !icmp.verify_checksum() {
        return None;
    }
    let kind: u8 = icmp.msg_type().into();
    if kind == V4_UNREACHABLE {
        let too_big_for = (icmp.msg_code() == V4_FRAGMENTATION_NEEDED).then(|| two_bytes(packet.payload, 6)).flatten();
        return quoted(packet.payload.get(8..)?, too_big_for.map(usize::from)).map(Message::Error);
    }
    match Icmpv4Repr::parse(&icmp, &checksums()).ok()? {
        Icmpv4Repr::EchoRequest { ident, seq_no, data } => {
            let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
            Some(Message::Answer(emit_v4(destination, source, &reply)))
        }
        _ => None,
    }
}

fn v6(packet: &Packet<'_>, source: Ipv6Addr, destination: Ipv6Addr) -> Option<Message> {
    let icmp = Icmpv6Packet::new_checked(packet.payload).ok()?;
    if !icmp.verify_checksum(&source, &destination) {
        return None;
    }
    let kind: u8 = icmp.msg_type().into();
    if kind == V6_UNREACHABLE || kind == V6_PACKET_TOO_BIG {
        let mtu = two_bytes(packet.payload, 6).filter(|_| kind == V6_PACKET_TOO_BIG);
        return quoted(packet.payload.get(8..)?, mtu.map(usize::from)).map(Message::Error);
    }
    match Icmpv6Repr::parse(&source, &destination, &icmp, &checksums()).ok()? {
        Icmpv6Repr::EchoRequest { ident, seq_no, data } => {
            let reply = Icmpv6Repr::EchoReply { ident, seq_no, data };
            Some(Message::Answer(emit_v6(destination, source, &reply)))
        }
        _ => None,
    }
}

fn two_bytes(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
}

/// Reads addresses and ports of the quoted packet, of which only the head may be there.
fn quoted(bytes: &[u8], too_big_for: Option<usize>) -> Option<Error> {
    let (protocol, source, destination, header) = match bytes.first()? >> 4 {
        4 => {
            let header = usize::from(bytes[0] & 0x0F) * 4;
            let address = |at: usize| bytes.get(at..at + 4).and_then(|octets| <[u8; 4]>::try_from(octets).ok());
            (*bytes.get(9)?, IpAddr::from(address(12)?), IpAddr::from(address(16)?), header)
        }
        6 => {
            let address = |at: usize| bytes.get(at..at + 16).and_then(|octets| <[u8; 16]>::try_from(octets).ok());
            (*bytes.get(6)?, IpAddr::from(address(8)?), IpAddr::from(address(24)?), 40)
        }
        _ => return None,
    };
    Some(Error {
        protocol: protocol.into(),
        local: SocketAddr::new(source, two_bytes(bytes, header)?),
        remote: SocketAddr::new(destination, two_bytes(bytes, header + 2)?),
        too_big_for,
    })
}

/// The message that nothing listens on the UDP port the packet was for.
pub(crate) fn port_unreachable(packet: &Packet<'_>) -> Option<Bytes> {
    let data = &packet.payload[..packet.payload.len().min(QUOTED)];
    match (packet.source, packet.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Repr {
                src_addr: source,
                dst_addr: destination,
                next_header: packet.protocol,
                payload_len: packet.payload.len(),
                hop_limit: 64,
            };
            let reason = Icmpv4DstUnreachable::PortUnreachable;
            Some(emit_v4(destination, source, &Icmpv4Repr::DstUnreachable { reason, header, data }))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Repr {
                src_addr: source,
                dst_addr: destination,
                next_header: packet.protocol,
                payload_len: packet.payload.len(),
                hop_limit: 64,
            };
            let reason = Icmpv6DstUnreachable::PortUnreachable;
            Some(emit_v6(destination, source, &Icmpv6Repr::DstUnreachable { reason, header, data }))
        }
        _ => None,
    }
}

fn emit_v4(source: Ipv4Addr, destination: Ipv4Addr, repr: &Icmpv4Repr<'_>) -> Bytes {
    build(source.into(), destination.into(), IpProtocol::Icmp, repr.buffer_len(), |buffer| {
        repr.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums());
    })
}

fn emit_v6(source: Ipv6Addr, destination: Ipv6Addr, repr: &Icmpv6Repr<'_>) -> Bytes {
    build(source.into(), destination.into(), IpProtocol::Icmpv6, repr.buffer_len(), |buffer| {
        repr.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(buffer), &checksums());
    })
}
