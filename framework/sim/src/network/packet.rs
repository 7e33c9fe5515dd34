//! A packet of the simulated internet: its headers as fields, its payload shared, its bytes made only when asked for.

mod bytes;
mod checksum;
mod icmp;
#[cfg(test)]
mod tests;

pub use icmp::{IcmpError, IcmpKind, Quoted, Unreachable};

use ::bytes::Bytes;
use bytes::IPV6_FRAGMENT_HEADER;
pub(crate) use bytes::decode_transport;
use bytes::{IPV4_HEADER, IPV6_HEADER, UDP_HEADER};
use std::net::{IpAddr, SocketAddr};
use thiserror::Error;

/// The numbers by which the IP header names what it carries.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// The IPv6 fragment header.
    pub const IPV6_FRAGMENT: u8 = 44;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// The bits of a TCP header that a middlebox looks at.
pub mod tcp_flag {
    /// The sender will send no more.
    pub const FIN: u8 = 0x01;
    /// The sender wants to open.
    pub const SYN: u8 = 0x02;
    /// The connection is broken off.
    pub const RST: u8 = 0x04;
    /// The acknowledgement counts.
    pub const ACK: u8 = 0x10;
}

/// How many hops a packet may make, unless it says otherwise.
pub const DEFAULT_HOP_LIMIT: u8 = 64;

/// Why something is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// One address is IPv4, the other IPv6.
    #[error("a packet cannot go from an IPv4 to an IPv6 address or back")]
    MixedFamilies,
    /// The bytes end too early or their length fields contradict each other.
    #[error("the packet's lengths contradict each other")]
    Length,
    /// Neither IPv4 nor IPv6.
    #[error("IP version {0} is unknown")]
    Version(u8),
    /// The checksum of the IPv4, UDP, TCP or ICMP header is wrong.
    #[error("a checksum is wrong")]
    Checksum,
    /// More than an IP packet can carry.
    #[error("the payload is larger than an IP packet can be")]
    TooLarge,
}

/// A piece of a packet that was cut up on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the whole packet carries.
    pub protocol: u8,
    /// Where the piece begins in the whole packet's payload, in bytes; a multiple of 8.
    pub offset: u16,
    /// Whether more pieces follow it.
    pub more: bool,
    /// The piece.
    pub bytes: Bytes,
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A UDP datagram.
    Udp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
        /// What the datagram carries.
        payload: Bytes,
    },
    /// A TCP segment.
    Tcp {
        /// The source port.
        source: u16,
        /// The destination port.
        destination: u16,
        /// The segment, header and all. Its ports and checksum are stale: the fields beside it hold the ports, and
        /// whoever makes bytes of the packet computes the checksum.
        segment: Bytes,
    },
    /// Word that another packet did not get through.
    Icmp(Box<IcmpError>),
    /// A question whether somebody is there, or its answer: ICMP echo.
    Echo {
        /// Whether it is the question.
        is_request: bool,
        /// What question and answer of one conversation have in common, as ports are for UDP.
        identifier: u16,
        /// Everything behind the identifier: the sequence number, then what is echoed.
        rest: Bytes,
    },
    /// A piece of a packet.
    Fragment(Fragment),
    /// Anything else.
    Other {
        /// Its number in the IP header.
        protocol: u8,
        /// Its bytes.
        payload: Bytes,
    },
}

/// One IP packet, of either version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) hop_limit: u8,
    pub(super) dont_fragment: bool,
    pub(super) identification: u32,
    pub(super) transport: Transport,
}

impl Packet {
    /// A packet with the default hop limit that may be fragmented.
    pub fn new(source: IpAddr, destination: IpAddr, transport: Transport) -> Result<Self, PacketError> {
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(PacketError::MixedFamilies);
        }
        match &transport {
            Transport::Tcp { segment, .. } if segment.len() < bytes::TCP_HEADER => return Err(PacketError::Length),
            Transport::Echo { rest, .. } if rest.len() < icmp::ECHO_SEQUENCE => return Err(PacketError::Length),
            _ => {}
        }
        let packet = Self {
            source,
            destination,
            hop_limit: DEFAULT_HOP_LIMIT,
            dont_fragment: false,
            identification: 0,
            transport,
        };
        // The length field of IPv4 counts the header, that of IPv6 does not.
        let limit = usize::from(u16::MAX) + if source.is_ipv4() { 0 } else { IPV6_HEADER };
        if packet.wire_len() > limit || packet.transport_len() > usize::from(u16::MAX) {
            return Err(PacketError::TooLarge);
        }
        Ok(packet)
    }

    /// A UDP datagram.
    pub fn udp(source: SocketAddr, destination: SocketAddr, payload: Bytes) -> Result<Self, PacketError> {
        let transport = Transport::Udp { source: source.port(), destination: destination.port(), payload };
        Self::new(source.ip(), destination.ip(), transport)
    }

    /// A TCP segment, given with its header; the ports are read from it.
    pub fn tcp(source: IpAddr, destination: IpAddr, segment: Bytes) -> Result<Self, PacketError> {
        let port = |at: usize| segment.get(at..at + 2).map(|port| u16::from_be_bytes([port[0], port[1]]));
        let (Some(from), Some(to)) = (port(0), port(2)) else { return Err(PacketError::Length) };
        Self::new(source, destination, Transport::Tcp { source: from, destination: to, segment })
    }

    /// An ICMP error about `subject`, from the node with the address `reporter`; `None` about packets of which no
    /// errors are reported: errors themselves, and pieces other than the first.
    pub fn icmp_error(reporter: IpAddr, kind: IcmpKind, subject: &Packet) -> Option<Self> {
        let quoted = Quoted::of(subject)?;
        Self::new(reporter, subject.source, Transport::Icmp(Box::new(IcmpError { kind, quoted }))).ok()
    }

    /// Forbids routers to fragment it (in IPv6 they never do).
    pub fn with_dont_fragment(mut self, dont_fragment: bool) -> Self {
        self.dont_fragment = dont_fragment;
        self
    }

    /// Sets how many hops it may make.
    pub fn with_hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    /// Sets the number that its fragments have in common; a host does so when it sends.
    pub fn with_identification(mut self, identification: u32) -> Self {
        self.identification = identification;
        self
    }

    /// Where it comes from.
    pub fn source(&self) -> IpAddr {
        self.source
    }

    /// Where it goes.
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// Whether it is IPv4.
    pub fn is_ipv4(&self) -> bool {
        self.source.is_ipv4()
    }

    /// How many hops it may still make.
    pub fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    /// Whether routers must not fragment it.
    pub fn dont_fragment(&self) -> bool {
        self.dont_fragment || !self.is_ipv4()
    }

    /// The number that its fragments have in common.
    pub fn identification(&self) -> u32 {
        self.identification
    }

    /// What it carries.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// What it carries, taken out of it.
    pub fn into_transport(self) -> Transport {
        self.transport
    }

    /// Source and destination with their ports, where it carries a whole UDP datagram or TCP segment.
    pub fn endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        match self.transport {
            Transport::Udp { source, destination, .. } | Transport::Tcp { source, destination, .. } => {
                Some((SocketAddr::new(self.source, source), SocketAddr::new(self.destination, destination)))
            }
            Transport::Icmp(_) | Transport::Echo { .. } | Transport::Fragment(_) | Transport::Other { .. } => None,
        }
    }

    /// Source and destination by which a NAT knows the packet; beside ports there is the identifier of an echo, at the
    /// asking side.
    pub(super) fn nat_endpoints(&self) -> Option<(SocketAddr, SocketAddr)> {
        let ports = match self.transport {
            Transport::Echo { is_request: true, identifier, .. } => (identifier, 0),
            Transport::Echo { is_request: false, identifier, .. } => (0, identifier),
            _ => return self.endpoints(),
        };
        Some((SocketAddr::new(self.source, ports.0), SocketAddr::new(self.destination, ports.1)))
    }

    /// The number of what it carries.
    pub fn protocol(&self) -> u8 {
        match &self.transport {
            Transport::Udp { .. } => protocol::UDP,
            Transport::Tcp { .. } => protocol::TCP,
            Transport::Icmp(_) | Transport::Echo { .. } if self.is_ipv4() => protocol::ICMP,
            Transport::Icmp(_) | Transport::Echo { .. } => protocol::ICMPV6,
            Transport::Fragment(fragment) => fragment.protocol,
            Transport::Other { protocol, .. } => *protocol,
        }
    }

    /// The flags of the TCP header.
    pub fn tcp_flags(&self) -> Option<u8> {
        match &self.transport {
            Transport::Tcp { segment, .. } => segment.get(13).copied(),
            _ => None,
        }
    }

    /// Its length in bytes, IP header included.
    pub fn wire_len(&self) -> usize {
        self.header_len() + self.transport_len()
    }

    /// The length of its IP headers.
    pub(super) fn header_len(&self) -> usize {
        match (self.is_ipv4(), &self.transport) {
            (true, _) => IPV4_HEADER,
            (false, Transport::Fragment(_)) => IPV6_HEADER + IPV6_FRAGMENT_HEADER,
            (false, _) => IPV6_HEADER,
        }
    }

    pub(super) fn transport_len(&self) -> usize {
        match &self.transport {
            Transport::Udp { payload, .. } => UDP_HEADER + payload.len(),
            Transport::Tcp { segment, .. } => segment.len(),
            Transport::Icmp(_) => icmp::HEADER + self.header_len() + icmp::QUOTED_TRANSPORT,
            Transport::Echo { rest, .. } => icmp::ECHO_HEADER + rest.len(),
            Transport::Fragment(fragment) => fragment.bytes.len(),
            Transport::Other { payload, .. } => payload.len(),
        }
    }

    /// Replaces where it comes from, port or identifier included, as a NAT does.
    pub(super) fn set_source(&mut self, to: SocketAddr) {
        self.source = to.ip();
        match &mut self.transport {
            Transport::Udp { source: port, .. }
            | Transport::Tcp { source: port, .. }
            | Transport::Echo { is_request: true, identifier: port, .. } => *port = to.port(),
            Transport::Echo { .. } | Transport::Icmp(_) | Transport::Fragment(_) | Transport::Other { .. } => {}
        }
    }

    /// Replaces where it goes, port or identifier included, as a NAT does.
    pub(super) fn set_destination(&mut self, to: SocketAddr) {
        self.destination = to.ip();
        match &mut self.transport {
            Transport::Udp { destination: port, .. }
            | Transport::Tcp { destination: port, .. }
            | Transport::Echo { is_request: false, identifier: port, .. } => *port = to.port(),
            Transport::Echo { .. } | Transport::Icmp(_) | Transport::Fragment(_) | Transport::Other { .. } => {}
        }
    }
}
