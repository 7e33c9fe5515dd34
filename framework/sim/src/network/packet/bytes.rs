//! Packets to bytes and back, as they are on a real wire: for captures, for TCP, for fragments.

use super::checksum::{self, Sum};
use super::{Fragment, IcmpError, IcmpKind, Packet, PacketError, Quoted, Transport, icmp, protocol};
use bytes::Bytes;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The length of an IPv4 header without options.
pub(crate) const IPV4_HEADER: usize = 20;
/// The length of an IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;
/// The length of the IPv6 fragment header.
pub(super) const IPV6_FRAGMENT_HEADER: usize = 8;
/// The length of a UDP header.
pub(crate) const UDP_HEADER: usize = 8;
/// The length of a TCP header without options.
pub(super) const TCP_HEADER: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;

/// What an IP header says, without its addresses.
struct Header {
    protocol: u8,
    hop_limit: u8,
    dont_fragment: bool,
    identification: u32,
    length: usize,
}

impl Packet {
    /// The packet as it is on the wire, checksums included.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.wire_len());
        self.encode(&mut out);
        out.into()
    }

    /// Appends the packet as it is on the wire.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let header = Header {
            protocol: self.protocol(),
            hop_limit: self.hop_limit,
            dont_fragment: self.dont_fragment,
            identification: self.identification,
            length: self.transport_len(),
        };
        let fragment = match &self.transport {
            Transport::Fragment(fragment) => Some((fragment.offset, fragment.more)),
            _ => None,
        };
        encode_header(out, self.source, self.destination, &header, fragment);
        self.encode_transport(out);
    }

    /// What the packet carries, as it is on the wire.
    pub(crate) fn transport_bytes(&self) -> Bytes {
        match &self.transport {
            Transport::Fragment(Fragment { bytes, .. }) | Transport::Other { payload: bytes, .. } => bytes.clone(),
            Transport::Udp { .. } | Transport::Tcp { .. } | Transport::Icmp(_) | Transport::Echo { .. } => {
                let mut out = Vec::with_capacity(self.transport_len());
                self.encode_transport(&mut out);
                out.into()
            }
        }
    }

    fn encode_transport(&self, out: &mut Vec<u8>) {
        let start = out.len();
        match &self.transport {
            Transport::Fragment(Fragment { bytes, .. }) | Transport::Other { payload: bytes, .. } => {
                out.extend_from_slice(bytes);
            }
            Transport::Udp { source, destination, payload } => {
                out.extend_from_slice(&source.to_be_bytes());
                out.extend_from_slice(&destination.to_be_bytes());
                out.extend_from_slice(&(self.transport_len() as u16).to_be_bytes());
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(payload);
                // A checksum of 0 means that there is none, so its other form stands for it (RFC 768).
                let checksum = match self.checksum_of(&out[start..]) {
                    0 => 0xffff,
                    checksum => checksum,
                };
                out[start + 6..start + 8].copy_from_slice(&checksum.to_be_bytes());
            }
            Transport::Tcp { source, destination, segment } => {
                out.extend_from_slice(segment);
                out[start..start + 2].copy_from_slice(&source.to_be_bytes());
                out[start + 2..start + 4].copy_from_slice(&destination.to_be_bytes());
                out[start + 16..start + 18].fill(0);
                let checksum = self.checksum_of(&out[start..]);
                out[start + 16..start + 18].copy_from_slice(&checksum.to_be_bytes());
            }
            Transport::Echo { is_request, identifier, rest } => {
                out.extend_from_slice(&[icmp::echo_kind(self.is_ipv4(), *is_request), 0, 0, 0]);
                out.extend_from_slice(&identifier.to_be_bytes());
                out.extend_from_slice(rest);
                let checksum = self.checksum_of(&out[start..]);
                out[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
            }
            Transport::Icmp(error) => {
                let (kind, code, rest) = error.kind.encode(self.is_ipv4());
                out.extend_from_slice(&[kind, code, 0, 0]);
                out.extend_from_slice(&rest);
                let Quoted { source, destination, protocol, hop_limit, .. } = error.quoted;
                let Quoted { dont_fragment, identification, length, .. } = error.quoted;
                let length = usize::from(length);
                let header = Header { protocol, hop_limit, dont_fragment, identification, length };
                encode_header(out, source.ip(), destination.ip(), &header, None);
                out.extend_from_slice(&error.quoted.head());
                let checksum = self.checksum_of(&out[start..]);
                out[start + 2..start + 4].copy_from_slice(&checksum.to_be_bytes());
            }
        }
    }

    fn checksum_of(&self, bytes: &[u8]) -> u16 {
        checksum::of_transport(self.source, self.destination, self.protocol(), bytes)
            .expect("UDP, TCP and ICMP have a checksum")
    }

    /// Reads a packet from the wire. IPv4 options are skipped; bytes behind the packet's length are ignored.
    pub fn from_bytes(bytes: &Bytes) -> Result<Self, PacketError> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => decode_ipv4(bytes),
            Some(6) => decode_ipv6(bytes),
            Some(version) => Err(PacketError::Version(version)),
            None => Err(PacketError::Length),
        }
    }
}

/// The first eight bytes of what the packet carries, zeros behind its end.
pub(super) fn transport_head(packet: &Packet) -> [u8; icmp::QUOTED_TRANSPORT] {
    let bytes = packet.transport_bytes();
    let mut head = [0; icmp::QUOTED_TRANSPORT];
    let length = bytes.len().min(head.len());
    head[..length].copy_from_slice(&bytes[..length]);
    head
}

fn encode_header(
    out: &mut Vec<u8>,
    source: IpAddr,
    destination: IpAddr,
    header: &Header,
    fragment: Option<(u16, bool)>,
) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let start = out.len();
            let (offset, more) = fragment.unwrap_or_default();
            let dont = if header.dont_fragment { DONT_FRAGMENT } else { 0 };
            let flags = (offset / 8) | if more { MORE_FRAGMENTS } else { 0 } | dont;
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&((IPV4_HEADER + header.length) as u16).to_be_bytes());
            out.extend_from_slice(&(header.identification as u16).to_be_bytes());
            out.extend_from_slice(&flags.to_be_bytes());
            out.extend_from_slice(&[header.hop_limit, header.protocol, 0, 0]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            let checksum = Sum::default().add(&out[start..]).finish();
            out[start + 10..start + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let (next, extra) = match fragment {
                Some(_) => (protocol::IPV6_FRAGMENT, IPV6_FRAGMENT_HEADER),
                None => (header.protocol, 0),
            };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&((header.length + extra) as u16).to_be_bytes());
            out.extend_from_slice(&[next, header.hop_limit]);
            out.extend_from_slice(&source.octets());
            out.extend_from_slice(&destination.octets());
            if let Some((offset, more)) = fragment {
                out.extend_from_slice(&[header.protocol, 0]);
                out.extend_from_slice(&((offset & !7) | u16::from(more)).to_be_bytes());
                out.extend_from_slice(&header.identification.to_be_bytes());
            }
        }
        _ => unreachable!("a packet's addresses are of one family"),
    }
}

/// `N` bytes at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], PacketError> {
    let slice = bytes.get(at..).and_then(|rest| rest.get(..N)).ok_or(PacketError::Length)?;
    slice.try_into().map_err(|_| PacketError::Length)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, PacketError> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// The header fields of an IPv4 packet, and the length of its header.
fn ipv4_header(bytes: &[u8]) -> Result<(Header, IpAddr, IpAddr, usize), PacketError> {
    let fixed: [u8; IPV4_HEADER] = array(bytes, 0)?;
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    let total = usize::from(u16_at(&fixed, 2)?);
    if header_len < IPV4_HEADER || total < header_len {
        return Err(PacketError::Length);
    }
    let header = Header {
        protocol: fixed[9],
        hop_limit: fixed[8],
        dont_fragment: u16_at(&fixed, 6)? & DONT_FRAGMENT != 0,
        identification: u32::from(u16_at(&fixed, 4)?),
        length: total - header_len,
    };
    let source = Ipv4Addr::from(array::<4>(&fixed, 12)?);
    let destination = Ipv4Addr::from(array::<4>(&fixed, 16)?);
    Ok((header, source.into(), destination.into(), header_len))
}

/// The header fields of an IPv6 packet.
fn ipv6_header(bytes: &[u8]) -> Result<(Header, IpAddr, IpAddr), PacketError> {
    let fixed: [u8; IPV6_HEADER] = array(bytes, 0)?;
    let header = Header {
        protocol: fixed[6],
        hop_limit: fixed[7],
        dont_fragment: false,
        identification: 0,
        length: usize::from(u16_at(&fixed, 4)?),
    };
    let source = Ipv6Addr::from(array::<16>(&fixed, 8)?);
    let destination = Ipv6Addr::from(array::<16>(&fixed, 24)?);
    Ok((header, source.into(), destination.into()))
}

fn decode_ipv4(bytes: &Bytes) -> Result<Packet, PacketError> {
    let (header, source, destination, header_len) = ipv4_header(bytes)?;
    let end = header_len + header.length;
    if bytes.len() < end {
        return Err(PacketError::Length);
    }
    if Sum::default().add(&bytes[..header_len]).finish() != 0 {
        return Err(PacketError::Checksum);
    }
    let flags = u16_at(bytes, 6)?;
    let (offset, more) = ((flags & 0x1fff) * 8, flags & MORE_FRAGMENTS != 0);
    let payload = bytes.slice(header_len..end);
    let transport = if more || offset != 0 {
        Transport::Fragment(Fragment { protocol: header.protocol, offset, more, bytes: payload })
    } else {
        decode_transport(source, destination, header.protocol, payload)?
    };
    finish(source, destination, &header, transport)
}

fn decode_ipv6(bytes: &Bytes) -> Result<Packet, PacketError> {
    let (mut header, source, destination) = ipv6_header(bytes)?;
    let end = IPV6_HEADER + header.length;
    if bytes.len() < end {
        return Err(PacketError::Length);
    }
    let payload = bytes.slice(IPV6_HEADER..end);
    let transport = if header.protocol == protocol::IPV6_FRAGMENT {
        let fixed: [u8; IPV6_FRAGMENT_HEADER] = array(&payload, 0)?;
        header.protocol = fixed[0];
        header.identification = u32::from_be_bytes(array(&fixed, 4)?);
        let field = u16_at(&fixed, 2)?;
        let bytes = payload.slice(IPV6_FRAGMENT_HEADER..);
        Transport::Fragment(Fragment { protocol: fixed[0], offset: field & !7, more: field & 1 != 0, bytes })
    } else {
        decode_transport(source, destination, header.protocol, payload)?
    };
    finish(source, destination, &header, transport)
}

fn finish(source: IpAddr, destination: IpAddr, header: &Header, transport: Transport) -> Result<Packet, PacketError> {
    Ok(Packet::new(source, destination, transport)?
        .with_hop_limit(header.hop_limit)
        .with_dont_fragment(header.dont_fragment)
        .with_identification(header.identification))
}

/// Reads what a whole packet carries.
pub(crate) fn decode_transport(
    source: IpAddr,
    destination: IpAddr,
    number: u8,
    bytes: Bytes,
) -> Result<Transport, PacketError> {
    let checked = |bytes: &[u8]| match checksum::of_transport(source, destination, number, bytes) {
        Some(0) => Ok(()),
        Some(_) => Err(PacketError::Checksum),
        None => Ok(()),
    };
    match number {
        protocol::UDP => {
            let length = usize::from(u16_at(&bytes, 4)?);
            if length < UDP_HEADER || bytes.len() < length {
                return Err(PacketError::Length);
            }
            // In IPv4 the sender may leave the checksum out.
            if u16_at(&bytes, 6)? != 0 || source.is_ipv6() {
                checked(&bytes[..length])?;
            }
            let (source, destination) = (u16_at(&bytes, 0)?, u16_at(&bytes, 2)?);
            Ok(Transport::Udp { source, destination, payload: bytes.slice(UDP_HEADER..length) })
        }
        protocol::TCP => {
            if bytes.len() < TCP_HEADER {
                return Err(PacketError::Length);
            }
            checked(&bytes)?;
            let (source, destination) = (u16_at(&bytes, 0)?, u16_at(&bytes, 2)?);
            Ok(Transport::Tcp { source, destination, segment: bytes })
        }
        protocol::ICMP | protocol::ICMPV6 => {
            checked(&bytes)?;
            if let Some(is_request) = icmp::is_echo_request(source.is_ipv4(), array(&bytes, 0)?) {
                let identifier = u16_at(&bytes, 4)?;
                if bytes.len() < icmp::ECHO_HEADER + icmp::ECHO_SEQUENCE {
                    return Err(PacketError::Length);
                }
                return Ok(Transport::Echo { is_request, identifier, rest: bytes.slice(icmp::ECHO_HEADER..) });
            }
            match decode_icmp(source.is_ipv4(), &bytes)? {
                Some(error) => Ok(Transport::Icmp(Box::new(error))),
                None => Ok(Transport::Other { protocol: number, payload: bytes }),
            }
        }
        protocol => Ok(Transport::Other { protocol, payload: bytes }),
    }
}

fn decode_icmp(ipv4: bool, bytes: &[u8]) -> Result<Option<IcmpError>, PacketError> {
    let fixed: [u8; icmp::HEADER] = array(bytes, 0)?;
    let Some(kind) = IcmpKind::decode(ipv4, fixed[0], fixed[1], array(&fixed, 4)?) else { return Ok(None) };
    let inner = &bytes[icmp::HEADER..];
    let (header, source, destination, header_len) = if ipv4 {
        ipv4_header(inner)?
    } else {
        let (header, source, destination) = ipv6_header(inner)?;
        (header, source, destination, IPV6_HEADER)
    };
    Ok(Some(IcmpError {
        kind,
        quoted: Quoted {
            source: SocketAddr::new(source, u16_at(inner, header_len)?),
            destination: SocketAddr::new(destination, u16_at(inner, header_len + 2)?),
            protocol: header.protocol,
            hop_limit: header.hop_limit,
            dont_fragment: header.dont_fragment,
            identification: header.identification,
            length: u16::try_from(header.length).map_err(|_| PacketError::Length)?,
            rest: array(inner, header_len + 4)?,
        },
    }))
}
