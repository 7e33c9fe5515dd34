//! What packets look like on the wire.

use super::*;
use ::bytes::Bytes;
use proptest::prelude::*;

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address and port")
}

#[test]
fn a_udp_datagram_has_the_published_bytes() {
    // The checksums were computed by another program, from RFC 1071.
    let packet = Packet::udp(socket("192.0.2.1:4500"), socket("198.51.100.2:53"), Bytes::from_static(b"abc"))
        .expect("one family")
        .with_identification(0x1234)
        .with_dont_fragment(true);
    let expected: [u8; 31] = [
        0x45, 0x00, 0x00, 0x1f, 0x12, 0x34, 0x40, 0x00, 0x40, 0x11, 0x3c, 0x63, 192, 0, 2, 1, 198, 51, 100, 2, 0x11,
        0x94, 0x00, 0x35, 0x00, 0x0b, 0x3d, 0x75, b'a', b'b', b'c',
    ];
    assert_eq!(packet.to_bytes(), &expected[..]);
    assert_eq!(packet.wire_len(), expected.len());
}

#[test]
fn mixed_families_and_oversize_are_refused() {
    let (v4, v6) = (socket("192.0.2.1:1"), socket("[2001:db8::1]:1"));
    assert_eq!(Packet::udp(v4, v6, Bytes::new()), Err(PacketError::MixedFamilies));
    assert_eq!(Packet::udp(v4, v4, Bytes::from(vec![0; 65_508])), Err(PacketError::TooLarge));
    assert!(Packet::udp(v4, v4, Bytes::from(vec![0; 65_507])).is_ok());
    assert!(Packet::udp(v6, v6, Bytes::from(vec![0; 65_527])).is_ok());
    assert_eq!(Packet::udp(v6, v6, Bytes::from(vec![0; 65_528])), Err(PacketError::TooLarge));
    assert_eq!(Packet::tcp(v4.ip(), v4.ip(), Bytes::from_static(&[0; 19])), Err(PacketError::Length));
}

#[test]
fn no_errors_about_errors_or_later_pieces() {
    let subject = Packet::udp(socket("192.0.2.1:1"), socket("192.0.2.2:2"), Bytes::from_static(b"x")).expect("fine");
    let reporter = "192.0.2.3".parse().expect("an address");
    let error = Packet::icmp_error(reporter, IcmpKind::TimeExceeded, &subject).expect("an error");
    assert_eq!(error.destination(), subject.source());
    assert!(Packet::icmp_error(reporter, IcmpKind::TimeExceeded, &error).is_none());
    let piece = |offset| Fragment { protocol: protocol::UDP, offset, more: true, bytes: Bytes::from_static(&[0; 8]) };
    let of =
        |offset| Packet::new(subject.source, subject.destination, Transport::Fragment(piece(offset))).expect("fine");
    assert!(Packet::icmp_error(reporter, IcmpKind::TimeExceeded, &of(0)).is_some());
    assert!(Packet::icmp_error(reporter, IcmpKind::TimeExceeded, &of(8)).is_none());
}

fn endpoints() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
    let v4 = any::<([u8; 4], u16, [u8; 4], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    let v6 = any::<([u8; 16], u16, [u8; 16], u16)>().prop_map(|(a, p, b, q)| ((a, p).into(), (b, q).into()));
    prop_oneof![v4, v6]
}

fn kinds() -> impl Strategy<Value = IcmpKind> {
    prop_oneof![
        Just(IcmpKind::TimeExceeded),
        (68u32..65_536).prop_map(|mtu| IcmpKind::PacketTooBig { mtu }),
        prop_oneof![
            Just(Unreachable::Network),
            Just(Unreachable::Host),
            Just(Unreachable::Port),
            Just(Unreachable::Prohibited)
        ]
        .prop_map(IcmpKind::Unreachable),
    ]
}

fn packets() -> impl Strategy<Value = Packet> {
    let payload = || proptest::collection::vec(any::<u8>(), 0..100).prop_map(Bytes::from);
    let udp = (endpoints(), payload()).prop_map(|((from, to), payload)| Packet::udp(from, to, payload));
    let tcp = (endpoints(), proptest::collection::vec(any::<u8>(), 20..100)).prop_map(|((from, to), mut segment)| {
        segment[..2].copy_from_slice(&from.port().to_be_bytes());
        segment[2..4].copy_from_slice(&to.port().to_be_bytes());
        Packet::tcp(from.ip(), to.ip(), segment.into())
    });
    let fragment = (endpoints(), 1u16..100, any::<bool>(), payload()).prop_map(|((from, to), unit, more, bytes)| {
        let fragment = Fragment { protocol: protocol::UDP, offset: unit * 8, more, bytes };
        Packet::new(from.ip(), to.ip(), Transport::Fragment(fragment))
    });
    let icmp = (endpoints(), kinds(), payload()).prop_map(|((from, to), kind, payload)| {
        let subject = Packet::udp(from, to, payload)?;
        Ok(Packet::icmp_error(to.ip(), kind, &subject).expect("an error about a datagram"))
    });
    let other = (endpoints(), payload())
        .prop_map(|((from, to), payload)| Packet::new(from.ip(), to.ip(), Transport::Other { protocol: 50, payload }));
    let echo = (endpoints(), any::<(bool, u16)>(), proptest::collection::vec(any::<u8>(), 2..100)).prop_map(
        |((from, to), (is_request, identifier), rest)| {
            Packet::new(from.ip(), to.ip(), Transport::Echo { is_request, identifier, rest: rest.into() })
        },
    );
    (prop_oneof![udp, tcp, fragment, icmp, echo, other], any::<(u8, bool, u16)>()).prop_map(
        |(packet, (hops, keep, number))| {
            let packet = packet.expect("one family and small").with_hop_limit(hops);
            if packet.is_ipv4() {
                packet.with_dont_fragment(keep).with_identification(number.into())
            } else if matches!(packet.transport, Transport::Fragment(_)) {
                packet.with_identification(number.into())
            } else {
                packet
            }
        },
    )
}

/// TCP segments carry a stale checksum in memory; two packets are the same if they are so on the wire.
fn on_the_wire(packet: &Packet) -> Bytes {
    packet.to_bytes()
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(packet in packets()) {
        let bytes = packet.to_bytes();
        prop_assert_eq!(bytes.len(), packet.wire_len());
        let again = Packet::from_bytes(&bytes);
        prop_assert_eq!(again.as_ref().map(on_the_wire), Ok(bytes));
        if !matches!(packet.transport, Transport::Tcp { .. }) {
            prop_assert_eq!(again, Ok(packet));
        }
    }

    #[test]
    fn one_flipped_bit_under_a_checksum_is_noticed(packet in packets(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let covered = match &packet.transport {
            Transport::Udp { .. } | Transport::Tcp { .. } | Transport::Icmp(_) | Transport::Echo { .. } => {
                packet.transport_len()
            }
            Transport::Fragment(_) | Transport::Other { .. } => return Ok(()),
        };
        let mut bytes = packet.to_bytes().to_vec();
        let place = bytes.len() - covered + at.index(covered);
        bytes[place] ^= 1 << bit;
        prop_assert!(Packet::from_bytes(&bytes.into()).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in 0u8..16) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = version << 4 | 5;
        }
        if let Ok(packet) = Packet::from_bytes(&bytes.into()) {
            packet.to_bytes();
        }
    }
}
