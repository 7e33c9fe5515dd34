//! Which packets of a real kernel the model takes in: what it knows how to carry, between addresses that routers may see.

use super::packet::{Packet, PacketError, Transport, protocol};
use bytes::Bytes;
use std::net::IpAddr;
use thiserror::Error;

/// Why a packet does not come into the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    /// It is no packet.
    #[error(transparent)]
    Malformed(#[from] PacketError),
    /// It carries what the model knows nothing of; IPv6 extension headers other than the fragment header are among it.
    #[error("the model carries UDP, TCP and ICMP, not protocol {0}")]
    UnknownTransport(u8),
    /// It is meant for its own link alone: multicast, broadcast, link-local or loopback.
    #[error("a packet from {0} to {1} stays on its own link")]
    LinkScope(IpAddr, IpAddr),
}

impl Packet {
    /// Reads a packet that a real kernel has sent. Its traffic class and flow label, which the model does not have, are lost.
    pub fn admit(bytes: &Bytes) -> Result<Self, AdmissionError> {
        let packet = Self::from_bytes(bytes)?;
        if !is_routable(packet.source) || !is_routable(packet.destination) {
            return Err(AdmissionError::LinkScope(packet.source, packet.destination));
        }
        let icmp = if packet.is_ipv4() { protocol::ICMP } else { protocol::ICMPV6 };
        match (&packet.transport, packet.protocol()) {
            (Transport::Udp { .. } | Transport::Tcp { .. } | Transport::Icmp(_) | Transport::Echo { .. }, _) => {
                Ok(packet)
            }
            (Transport::Fragment(_), protocol::UDP | protocol::TCP) => Ok(packet),
            (Transport::Fragment(_) | Transport::Other { .. }, number) if number == icmp => Ok(packet),
            (_, number) => Err(AdmissionError::UnknownTransport(number)),
        }
    }
}

fn is_routable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast())
        }
        IpAddr::V6(address) => {
            !(address.is_unspecified()
                || address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn packet(from: &str, to: &str, transport: Transport) -> Bytes {
        let address = |text: &str| text.parse().expect("an address");
        Packet::new(address(from), address(to), transport).expect("one family").to_bytes()
    }

    fn other(number: u8) -> Transport {
        // An ICMP checksum over these is right.
        Transport::Other { protocol: number, payload: Bytes::from_static(&[13, 0, 0xf2, 0xff, 0, 0, 0, 0]) }
    }

    fn datagram(from: &str, to: &str) -> Bytes {
        let socket = |text: &str| SocketAddr::new(text.parse().expect("an address"), 9);
        Packet::udp(socket(from), socket(to), Bytes::from_static(b"x")).expect("one family").to_bytes()
    }

    #[test]
    fn what_the_model_can_carry_comes_in() {
        for bytes in [datagram("192.0.2.1", "198.51.100.2"), datagram("2001:db8::1", "2001:db8::2")] {
            let admitted = Packet::admit(&bytes).expect("a datagram");
            assert_eq!(admitted.to_bytes(), bytes);
        }
        let timestamp = packet("192.0.2.1", "198.51.100.2", other(protocol::ICMP));
        assert!(Packet::admit(&timestamp).is_ok(), "ICMP of other kinds is the hosts' own business");
    }

    #[test]
    fn transports_that_the_model_does_not_know_stay_out() {
        for number in [0, 2, 41, 43, 47, 50, 60, 132] {
            let bytes = packet("2001:db8::1", "2001:db8::2", other(number));
            assert_eq!(Packet::admit(&bytes), Err(AdmissionError::UnknownTransport(number)));
        }
        let fragment =
            super::super::Fragment { protocol: 50, offset: 0, more: true, bytes: Bytes::from_static(&[0; 8]) };
        let bytes = packet("192.0.2.1", "198.51.100.2", Transport::Fragment(fragment));
        assert_eq!(Packet::admit(&bytes), Err(AdmissionError::UnknownTransport(50)));
    }

    #[test]
    fn what_is_for_its_own_link_stays_there() {
        let pairs = [
            ("192.0.2.1", "224.0.0.22"),
            ("192.0.2.1", "255.255.255.255"),
            ("0.0.0.0", "198.51.100.2"),
            ("169.254.1.1", "198.51.100.2"),
            ("127.0.0.1", "198.51.100.2"),
            ("fe80::1", "ff02::2"),
            ("2001:db8::1", "fe80::2"),
            ("::", "2001:db8::2"),
        ];
        for (from, to) in pairs {
            let refused = Packet::admit(&datagram(from, to)).expect_err("it is for its own link");
            assert!(matches!(refused, AdmissionError::LinkScope(..)), "{from} to {to}: {refused}");
        }
    }

    #[test]
    fn a_spoilt_packet_is_told_from_a_foreign_one() {
        let mut bytes = datagram("192.0.2.1", "198.51.100.2").to_vec();
        bytes[20] ^= 1;
        assert_eq!(Packet::admit(&bytes.into()), Err(PacketError::Checksum.into()));
        assert_eq!(Packet::admit(&Bytes::new()), Err(PacketError::Length.into()));
    }
}
