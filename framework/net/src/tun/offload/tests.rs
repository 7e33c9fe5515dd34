//! Cutting and joining, against packets whose checksums are computed the slow way.

use super::*;
use proptest::prelude::*;
use std::io::IoSlice;

/// The checksum as RFC 1071 writes it down.
fn slow_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[derive(Clone, Copy, Debug)]
struct Kind {
    v6: bool,
    tcp: bool,
}

impl Kind {
    fn network(self) -> usize {
        if self.v6 { IPV6_HEADER } else { IPV4_HEADER }
    }

    /// TCP has twelve octets of options.
    fn headers(self) -> usize {
        self.network() + if self.tcp { 32 } else { UDP_HEADER }
    }

    fn pseudo(self, packet: &[u8]) -> Vec<u8> {
        let addresses = if self.v6 { &packet[8..40] } else { &packet[12..20] };
        let length = (packet.len() - self.network()) as u16;
        [addresses, &[0, if self.tcp { TCP } else { UDP }], &length.to_be_bytes()].concat()
    }

    /// Whether lengths and checksums are right.
    fn is_sound(self, packet: &[u8]) -> bool {
        let network = self.network();
        let length = if self.v6 { &packet[4..6] } else { &packet[2..4] };
        let expected = (packet.len() - if self.v6 { network } else { 0 }) as u16;
        let transport = [self.pseudo(packet), packet[network..].to_vec()].concat();
        length == expected.to_be_bytes()
            && (self.v6 || slow_sum(&packet[..20]) == 0xffff)
            && slow_sum(&transport) == 0xffff
            && (self.tcp || packet[network + 4..network + 6] == (expected - if self.v6 { 0 } else { 20 }).to_be_bytes())
    }

    /// A packet with everything right but the transport checksum, which has the pseudo-header's sum.
    fn partial(self, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let transport = self.headers() - self.network() + payload.len();
        let protocol = if self.tcp { TCP } else { UDP };
        let mut packet = if self.v6 {
            let mut packet = vec![0x60, 1, 2, 3];
            packet.extend_from_slice(&(transport as u16).to_be_bytes());
            packet.extend_from_slice(&[protocol, 64]);
            packet.extend((1..=32).map(|octet: u8| octet));
            packet
        } else {
            let mut packet = vec![0x45, 0];
            packet.extend_from_slice(&(20 + transport as u16).to_be_bytes());
            packet.extend_from_slice(&[0xff, 0xf0, 0x40, 0, 64, protocol, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2]);
            let sum = !slow_sum(&packet);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
            packet
        };
        packet.extend_from_slice(&[0x13, 0x88, 0, 7]);
        if self.tcp {
            packet.extend_from_slice(&sequence.to_be_bytes());
            packet.extend_from_slice(&[0, 0, 0, 9, 0x80, flags, 1, 0, 0, 0, 0, 0]);
            packet.extend_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
        } else {
            packet.extend_from_slice(&(transport as u16).to_be_bytes());
            packet.extend_from_slice(&[0, 0]);
        }
        packet.extend_from_slice(payload);
        let sum = slow_sum(&self.pseudo(&packet)).to_be_bytes();
        let at = self.network() + if self.tcp { TCP_CHECKSUM } else { UDP_CHECKSUM };
        packet[at..at + 2].copy_from_slice(&sum);
        packet
    }

    fn virtio(self, segment: usize) -> VirtioHeader {
        VirtioHeader {
            needs_checksum: true,
            gso: match (self.tcp, self.v6) {
                (true, false) => Gso::TcpV4,
                (true, true) => Gso::TcpV6,
                (false, _) => Gso::Udp,
            },
            header_length: self.headers() as u16,
            segment: segment as u16,
            checksum_start: self.network() as u16,
            checksum_offset: if self.tcp { TCP_CHECKSUM as u16 } else { UDP_CHECKSUM as u16 },
        }
    }
}

fn kinds() -> impl Strategy<Value = Kind> {
    (any::<bool>(), any::<bool>()).prop_map(|(v6, tcp)| Kind { v6, tcp })
}

fn cut(virtio: &VirtioHeader, packet: &[u8]) -> Vec<Vec<u8>> {
    let whole = SuperPacket::parse(virtio, packet).expect("it is sound").expect("it is a super-packet");
    (0..whole.count())
        .map(|number| {
            let mut out = vec![0xaa; whole.length(number)];
            assert_eq!(whole.write(number, &mut out), Some(out.len()));
            out
        })
        .collect()
}

const BOTH: Mergeable = Mergeable { tcp: true, udp: true };

/// What is written, virtio header and packet in one piece.
fn join(packets: &mut [Vec<u8>], mergeable: Mergeable) -> Vec<Vec<u8>> {
    let mut written = Vec::new();
    let mut write = |parts: &[IoSlice<'_>]| written.push(parts.iter().flat_map(|part| part.to_vec()).collect());
    let mut coalescer = Coalescer::new(mergeable);
    for packet in packets {
        coalescer.push(packet, &mut write);
    }
    coalescer.finish(&mut write);
    written
}

/// What the kernel would make of what was written.
fn unfold(written: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    for written in written {
        let (virtio, packet) = written.split_first_chunk().expect("a virtio header");
        let virtio = VirtioHeader::decode(virtio);
        if virtio.gso == Gso::None {
            packets.push(packet.to_vec());
        } else {
            packets.extend(cut(&virtio, packet));
        }
    }
    packets
}

proptest! {
    #[test]
    fn segments_are_sound_and_joined_give_the_super_packet_back(
        kind in kinds(),
        payload in prop::collection::vec(any::<u8>(), 1..9_000),
        segment in 1usize..1_500,
        sequence: u32,
    ) {
        let segment = segment.max(payload.len().div_ceil(MOST_SEGMENTS)).min(payload.len());
        let packet = kind.partial(sequence, 0x18, &payload);
        let virtio = kind.virtio(segment);
        let mut segments = cut(&virtio, &packet);
        prop_assert_eq!(segments.len(), payload.len().div_ceil(segment));
        for (number, cut) in segments.iter().enumerate() {
            prop_assert!(kind.is_sound(cut), "segment {} of {:?}", number, kind);
            let part = &payload[number * segment..payload.len().min((number + 1) * segment)];
            prop_assert_eq!(&cut[kind.headers()..], part);
            if kind.tcp {
                let at = kind.network() + 4;
                let numbered = sequence.wrapping_add((number * segment) as u32).to_be_bytes();
                prop_assert_eq!(&cut[at..at + 4], &numbered[..]);
                prop_assert_eq!(cut[kind.network() + 13] & 0x08 != 0, number + 1 == segments.len(), "PSH is the last's");
            }
        }
        let count = segments.len();
        let written = join(&mut segments, BOTH);
        prop_assert_eq!(written.len(), 1);
        if count > 1 {
            prop_assert_eq!(VirtioHeader::decode(written[0].first_chunk().expect("a header")), virtio);
            prop_assert_eq!(&written[0][VIRTIO_LENGTH..], &packet[..]);
        }
    }

    #[test]
    fn joining_changes_and_reorders_nothing_that_applications_see(
        kind in kinds(),
        sizes in prop::collection::vec((0usize..300, 0usize..6, any::<bool>()), 1..100),
    ) {
        // Streams with gaps, pushes, pure acknowledgements and changes of size.
        let mut sequence = 0u32;
        let mut packets: Vec<Vec<u8>> = sizes
            .iter()
            .map(|(size, event, push)| {
                let size = if *event > 1 { 200 } else { *size };
                sequence = sequence.wrapping_add(if *event == 0 { 7 } else { 0 });
                let packet = kind.partial(sequence, if *push { 0x18 } else { 0x10 }, &vec![size as u8; size]);
                sequence = sequence.wrapping_add(size as u32);
                let mut packet = packet;
                complete_checksum(&kind.virtio(1), &mut packet).expect("it is sound");
                packet
            })
            .collect();
        // Identification and the place of PSH within what was joined are the sender's affair; the rest is not.
        let plain = |packets: &[Vec<u8>]| packets.iter().map(|packet| {
            let mut packet = packet.clone();
            if !kind.v6 { packet[4..6].fill(0); packet[10..12].fill(0); }
            if kind.tcp {
                packet[kind.network() + 13] &= !0x08;
                let at = kind.network() + TCP_CHECKSUM;
                packet[at..at + 2].fill(0);
            }
            packet
        }).collect::<Vec<_>>();
        let before = packets.clone();
        let after = unfold(&join(&mut packets, BOTH));
        prop_assert!(after.iter().all(|packet| kind.is_sound(packet)));
        prop_assert_eq!(plain(&after), plain(&before));
    }

    #[test]
    fn nonsense_is_refused_or_goes_as_it_is_without_a_panic(
        virtio: [u8; VIRTIO_LENGTH],
        mut packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..6),
    ) {
        let virtio = VirtioHeader::decode(&virtio);
        let _ = complete_checksum(&virtio, &mut packets[0]);
        if let Ok(Some(whole)) = SuperPacket::parse(&virtio, &packets[0]) {
            let mut out = vec![0; whole.longest()];
            for number in 0..whole.count().min(200) {
                prop_assert_eq!(whole.write(number, &mut out), Some(whole.length(number)));
            }
        }
        join(&mut packets, BOTH);
    }

    #[test]
    fn the_quick_sum_is_the_slow_one(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        prop_assert_eq!(fold(add_bytes(0, &bytes)), slow_sum(&bytes).to_be());
        let mut copy = vec![0; bytes.len()];
        prop_assert_eq!(fold(super::checksum::copy_and_add(0, &mut copy, &bytes)), slow_sum(&bytes).to_be());
        prop_assert_eq!(copy, bytes);
    }
}

#[test]
fn what_a_device_does_not_take_is_written_one_by_one() {
    let kind = Kind { v6: false, tcp: false };
    let packet = {
        let mut packet = kind.partial(0, 0, &[1; 100]);
        complete_checksum(&kind.virtio(1), &mut packet).expect("it is sound");
        packet
    };
    let mut packets = vec![packet; 4];
    assert_eq!(join(&mut packets.clone(), Mergeable { tcp: true, udp: false }).len(), 4);
    assert_eq!(join(&mut packets.clone(), BOTH).len(), 1);
    for packet in &mut packets {
        // A datagram without a checksum must stay without.
        packet[26..28].fill(0);
    }
    assert_eq!(join(&mut packets, BOTH).len(), 4);
}

#[test]
fn datagrams_shorter_than_a_tcp_header_are_joined() {
    for (v6, length) in [(false, 1), (false, 4), (true, 5), (true, 1)] {
        let kind = Kind { v6, tcp: false };
        let mut packet = kind.partial(0, 0, &vec![7; length]);
        complete_checksum(&kind.virtio(1), &mut packet).expect("it is sound");
        assert_eq!(join(&mut vec![packet; 3], BOTH).len(), 1);
    }
}

#[test]
fn a_segment_type_that_was_never_asked_for_is_refused() {
    let virtio = VirtioHeader { gso: Gso::Unknown(3), ..Kind { v6: false, tcp: true }.virtio(100) };
    let packet = Kind { v6: false, tcp: true }.partial(0, 0x10, &[0; 300]);
    assert_eq!(SuperPacket::parse(&virtio, &packet).map(|_| ()), Err(SplitError::UnknownType(3)));
}
