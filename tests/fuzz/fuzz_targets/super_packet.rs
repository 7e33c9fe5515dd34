//! No super-packet breaks the cutting, whatever its headers say; and joining loses no octet of what it is given.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_net::tun::offload::{Coalescer, Mergeable, SuperPacket, VIRTIO_LENGTH, VirtioHeader, complete_checksum};

fuzz_target!(|input: ([u8; VIRTIO_LENGTH], Vec<Vec<u8>>, bool)| {
    let (virtio, mut packets, is_udp) = input;
    let virtio = VirtioHeader::decode(&virtio);
    for packet in &packets {
        if let Ok(Some(train)) = SuperPacket::parse(&virtio, packet) {
            let mut out = vec![0; train.longest()];
            for number in 0..train.count() {
                let written = train.write(number, &mut out);
                assert_eq!(written, Some(train.length(number)));
            }
        }
        complete_checksum(&virtio, &mut packet.clone()).ok();
    }
    let given: usize = packets.iter().map(Vec::len).sum();
    let (mut written, mut writes) = (0, 0);
    let mut count = |parts: &[std::io::IoSlice<'_>]| {
        written += parts.iter().skip(1).map(|part| part.len()).sum::<usize>();
        writes += 1;
    };
    let most = packets.len();
    let mut coalescer = Coalescer::new(Mergeable { tcp: true, udp: is_udp });
    for packet in &mut packets {
        coalescer.push(packet, &mut count);
    }
    coalescer.finish(&mut count);
    assert!(writes <= most && written <= given);
});
