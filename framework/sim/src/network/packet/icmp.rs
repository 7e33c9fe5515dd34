//! ICMP: errors, which are word that a packet did not get through, with the head of that packet; and echo.

use super::{Packet, Transport, bytes, checksum, protocol};
use std::net::{Ipv4Addr, SocketAddr};

/// The length of an ICMP error's own header.
pub(super) const HEADER: usize = 8;
/// How much of the lost packet's payload is quoted behind its header.
pub(super) const QUOTED_TRANSPORT: usize = 8;

/// The length of an echo's header up to its identifier.
pub(super) const ECHO_HEADER: usize = 6;

/// The length of the sequence number behind it.
pub(super) const ECHO_SEQUENCE: usize = 2;

/// The types of the echo and of its answer, in IPv4 and IPv6.
const ECHO_KINDS: [(u8, u8); 2] = [(8, 0), (128, 129)];

/// The type of an echo, or of its answer.
pub(super) fn echo_kind(ipv4: bool, is_request: bool) -> u8 {
    let (request, reply) = ECHO_KINDS[usize::from(!ipv4)];
    if is_request { request } else { reply }
}

/// Whether a message of this type and code is an echo or its answer; `None` for neither.
pub(super) fn is_echo_request(ipv4: bool, [kind, code]: [u8; 2]) -> Option<bool> {
    let (request, reply) = ECHO_KINDS[usize::from(!ipv4)];
    match kind {
        _ if code != 0 => None,
        kind if kind == request => Some(true),
        kind if kind == reply => Some(false),
        _ => None,
    }
}

/// What could not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unreachable {
    /// There is no route.
    Network,
    /// Nobody has the address.
    Host,
    /// Nobody listens at the port.
    Port,
    /// A firewall forbids it.
    Prohibited,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IcmpKind {
    /// The packet could not be delivered.
    Unreachable(Unreachable),
    /// The packet does not fit the next link and must not be cut (*fragmentation needed* in IPv4).
    PacketTooBig {
        /// How large a packet that link carries.
        mtu: u32,
    },
    /// The packet made too many hops.
    TimeExceeded,
}

impl IcmpKind {
    /// Type, code and the four bytes behind the checksum.
    pub(super) fn encode(self, ipv4: bool) -> (u8, u8, [u8; 4]) {
        match (self, ipv4) {
            (Self::Unreachable(Unreachable::Network), true) => (3, 0, [0; 4]),
            (Self::Unreachable(Unreachable::Host), true) => (3, 1, [0; 4]),
            (Self::Unreachable(Unreachable::Port), true) => (3, 3, [0; 4]),
            (Self::Unreachable(Unreachable::Prohibited), true) => (3, 13, [0; 4]),
            (Self::PacketTooBig { mtu }, true) => (3, 4, mtu.min(0xffff).to_be_bytes()),
            (Self::TimeExceeded, true) => (11, 0, [0; 4]),
            (Self::Unreachable(Unreachable::Network), false) => (1, 0, [0; 4]),
            (Self::Unreachable(Unreachable::Prohibited), false) => (1, 1, [0; 4]),
            (Self::Unreachable(Unreachable::Host), false) => (1, 3, [0; 4]),
            (Self::Unreachable(Unreachable::Port), false) => (1, 4, [0; 4]),
            (Self::PacketTooBig { mtu }, false) => (2, 0, mtu.to_be_bytes()),
            (Self::TimeExceeded, false) => (3, 0, [0; 4]),
        }
    }

    /// The reverse; `None` for anything that is not an error of these kinds.
    pub(super) fn decode(ipv4: bool, kind: u8, code: u8, rest: [u8; 4]) -> Option<Self> {
        Some(match (ipv4, kind, code) {
            (true, 3, 0) | (false, 1, 0) => Self::Unreachable(Unreachable::Network),
            (true, 3, 1) | (false, 1, 3) => Self::Unreachable(Unreachable::Host),
            (true, 3, 3) | (false, 1, 4) => Self::Unreachable(Unreachable::Port),
            (true, 3, 13) | (false, 1, 1) => Self::Unreachable(Unreachable::Prohibited),
            (true, 3, 4) => Self::PacketTooBig { mtu: u32::from(u16::from_be_bytes([rest[2], rest[3]])) },
            (false, 2, 0) => Self::PacketTooBig { mtu: u32::from_be_bytes(rest) },
            (true, 11, 0) | (false, 3, 0) => Self::TimeExceeded,
            _ => return None,
        })
    }
}

/// The head of the lost packet: its IP header and the first eight bytes behind it.
///
/// Ports are the first four bytes behind the header, whatever they mean there: 0 where it was too short to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Where it came from.
    pub source: SocketAddr,
    /// Where it went.
    pub destination: SocketAddr,
    /// What it carried.
    pub protocol: u8,
    /// How many hops it could still make.
    pub hop_limit: u8,
    /// Whether it must not be cut.
    pub dont_fragment: bool,
    /// The number that its fragments had in common.
    pub identification: u32,
    /// The length of what it carried.
    pub length: u16,
    /// The four bytes behind the ports: length and checksum of UDP, the sequence number of TCP.
    pub rest: [u8; 4],
}

impl Quoted {
    /// The head of `packet`; `None` for packets of which no errors are reported.
    pub(super) fn of(packet: &Packet) -> Option<Self> {
        let is_reported = match &packet.transport {
            Transport::Icmp(_) => false,
            Transport::Fragment(fragment) => {
                fragment.offset == 0 && !matches!(fragment.protocol, protocol::ICMP | protocol::ICMPV6)
            }
            Transport::Other { .. } | Transport::Udp { .. } | Transport::Tcp { .. } | Transport::Echo { .. } => true,
        };
        if !is_reported {
            return None;
        }
        let head = bytes::transport_head(packet);
        let port = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        Some(Self {
            source: SocketAddr::new(packet.source, port(0)),
            destination: SocketAddr::new(packet.destination, port(2)),
            protocol: packet.protocol(),
            hop_limit: packet.hop_limit,
            dont_fragment: packet.dont_fragment,
            identification: packet.identification,
            length: u16::try_from(packet.transport_len()).unwrap_or(u16::MAX),
            rest: [head[4], head[5], head[6], head[7]],
        })
    }

    /// What of an echo, in IPv4, distinguishes it in a NAT: the identifier, at the asking side. `None` for anything else.
    fn echo(&self) -> Option<(bool, u16)> {
        let [kind, code] = self.source.port().to_be_bytes();
        let is_request = (self.protocol == protocol::ICMP).then(|| is_echo_request(true, [kind, code]))??;
        Some((is_request, u16::from_be_bytes([self.rest[0], self.rest[1]])))
    }

    /// Source and destination by which a NAT knows the packet.
    pub(in crate::network) fn nat_endpoints(&self) -> (SocketAddr, SocketAddr) {
        let (source, destination) = match self.echo() {
            Some((true, identifier)) => (identifier, 0),
            Some((false, identifier)) => (0, identifier),
            None => (self.source.port(), self.destination.port()),
        };
        (SocketAddr::new(self.source.ip(), source), SocketAddr::new(self.destination.ip(), destination))
    }

    /// Replaces the identifier of an echo; its quoted checksum stays right.
    fn set_identifier(&mut self, from: u16, to: u16) {
        let word = |port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let corrected = checksum::replace(self.destination.port(), word(from), word(to));
        self.destination.set_port(corrected);
        self.rest[..2].copy_from_slice(&to.to_be_bytes());
    }

    /// Replaces where it came from, as a NAT does on the error's way back; the quoted checksum stays right.
    pub(in crate::network) fn set_source(&mut self, to: SocketAddr) {
        if let Some((is_request, identifier)) = self.echo() {
            self.source.set_ip(to.ip());
            if is_request {
                self.set_identifier(identifier, to.port());
            }
            return;
        }
        let from = std::mem::replace(&mut self.source, to);
        self.correct_checksum(from, to);
    }

    /// Replaces where it went, as a NAT does on the error's way back; the quoted checksum stays right.
    pub(in crate::network) fn set_destination(&mut self, to: SocketAddr) {
        if let Some((is_request, identifier)) = self.echo() {
            self.destination.set_ip(to.ip());
            if !is_request {
                self.set_identifier(identifier, to.port());
            }
            return;
        }
        let from = std::mem::replace(&mut self.destination, to);
        self.correct_checksum(from, to);
    }

    /// UDP's checksum is among the quoted bytes; TCP's is behind them.
    fn correct_checksum(&mut self, from: SocketAddr, to: SocketAddr) {
        let checksum = u16::from_be_bytes([self.rest[2], self.rest[3]]);
        if self.protocol == protocol::UDP && checksum != 0 {
            let corrected = match checksum::replace(checksum, from, to) {
                0 => 0xffff,
                corrected => corrected,
            };
            self.rest[2..].copy_from_slice(&corrected.to_be_bytes());
        }
    }

    /// The eight bytes quoted behind the header.
    pub(super) fn head(&self) -> [u8; QUOTED_TRANSPORT] {
        let mut head = [0; QUOTED_TRANSPORT];
        head[..2].copy_from_slice(&self.source.port().to_be_bytes());
        head[2..4].copy_from_slice(&self.destination.port().to_be_bytes());
        head[4..].copy_from_slice(&self.rest);
        head
    }
}

/// An ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What went wrong.
    pub kind: IcmpKind,
    /// With which packet.
    pub quoted: Quoted,
}
