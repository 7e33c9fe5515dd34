//! *Packet too big*, back to the application (RFC 792 with RFC 1191, RFC 4443).

use crate::tun::offload::{add_bytes, fold};

/// As much of the packet as an answer quotes; an IPv6 answer stays within 1,280 octets.
const QUOTED_V4: usize = 548;
const QUOTED_V6: usize = 1_280 - 48;
/// Type and code of *fragmentation needed*.
const FRAGMENTATION_NEEDED: [u8; 2] = [3, 4];
/// Type and code of ICMPv6's *packet too big*.
const PACKET_TOO_BIG: [u8; 2] = [2, 0];
const ICMP: u8 = 1;
const ICMP_V6: u8 = 58;

/// The answer to a packet larger than `mtu`, which comes from whom the packet was for. `None` if the packet must not be
/// answered, because it may be fragmented instead or is an error itself.
pub(super) fn packet_too_big(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    match packet.first()? >> 4 {
        4 => fragmentation_needed(packet, mtu),
        6 => packet_too_big_v6(packet, mtu),
        _ => None,
    }
}

/// Whether the packet may not be fragmented on its way.
pub(super) fn is_whole(packet: &[u8]) -> bool {
    match packet.first().map(|octet| octet >> 4) {
        Some(4) => packet.get(6).is_some_and(|octet| octet & 0x40 != 0),
        _ => true,
    }
}

fn fragmentation_needed(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<20>()?;
    let options = usize::from(header[0] & 0xf) * 4;
    // An error about ICMP is allowed only where that is a question or an answer (echo).
    if !is_whole(packet) || (header[9] == ICMP && !matches!(packet.get(options), Some(0 | 8))) {
        return None;
    }
    let quoted = &packet[..packet.len().min(QUOTED_V4)];
    let length = (28 + quoted.len()) as u16;
    let mut answer = Vec::with_capacity(length.into());
    answer.extend_from_slice(&[0x45, 0]);
    answer.extend_from_slice(&length.to_be_bytes());
    answer.extend_from_slice(&[0, 0, 0x40, 0, 64, ICMP, 0, 0]);
    answer.extend_from_slice(&header[16..20]);
    answer.extend_from_slice(&header[12..16]);
    let sum = !fold(add_bytes(0, &answer));
    answer[10..12].copy_from_slice(&sum.to_ne_bytes());
    answer.extend_from_slice(&FRAGMENTATION_NEEDED);
    answer.extend_from_slice(&[0; 4]);
    answer.extend_from_slice(&mtu.to_be_bytes());
    answer.extend_from_slice(quoted);
    let sum = !fold(add_bytes(0, &answer[20..]));
    answer[22..24].copy_from_slice(&sum.to_ne_bytes());
    Some(answer)
}

fn packet_too_big_v6(packet: &[u8], mtu: u16) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<40>()?;
    // No error about an error.
    if header[6] == ICMP_V6 && packet.get(40).is_none_or(|kind| *kind < 128) {
        return None;
    }
    let quoted = &packet[..packet.len().min(QUOTED_V6)];
    let length = (8 + quoted.len()) as u16;
    let mut answer = Vec::with_capacity(40 + usize::from(length));
    answer.extend_from_slice(&[0x60, 0, 0, 0]);
    answer.extend_from_slice(&length.to_be_bytes());
    answer.extend_from_slice(&[ICMP_V6, 64]);
    answer.extend_from_slice(&header[24..40]);
    answer.extend_from_slice(&header[8..24]);
    answer.extend_from_slice(&PACKET_TOO_BIG);
    answer.extend_from_slice(&[0; 4]);
    answer.extend_from_slice(&mtu.to_be_bytes());
    answer.extend_from_slice(quoted);
    let pseudo = u64::from(length.to_be()) + u64::from(u16::from(ICMP_V6).to_be());
    let sum = !fold(add_bytes(pseudo, &answer[8..]));
    answer[42..44].copy_from_slice(&sum.to_ne_bytes());
    Some(answer)
}
