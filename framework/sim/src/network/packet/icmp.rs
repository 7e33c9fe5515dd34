//! ICMP errors: word that a packet did not get through, with the head of that packet.

use super::{Packet, Transport, bytes, checksum, protocol};
use std::net::SocketAddr;

/// The length of an ICMP error's own header.
pub(super) const HEADER: usize = 8;
/// How much of the lost packet's payload is quoted behind its header.
pub(super) const QUOTED_TRANSPORT: usize = 8;

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
/// Ports are 0 where what it carries has none and was too short to tell.
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
            Transport::Other { .. } | Transport::Udp { .. } | Transport::Tcp { .. } => true,
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

    /// Replaces where it came from, as a NAT does on the error's way back; the quoted checksum stays right.
    pub(in crate::network) fn set_source(&mut self, to: SocketAddr) {
        let from = std::mem::replace(&mut self.source, to);
        self.correct_checksum(from, to);
    }

    /// Replaces where it went, as a NAT does on the error's way back; the quoted checksum stays right.
    pub(in crate::network) fn set_destination(&mut self, to: SocketAddr) {
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
