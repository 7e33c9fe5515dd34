//! The internet checksum (RFC 1071).

use super::protocol;
use std::net::{IpAddr, SocketAddr};

/// A sum that is still open: of words in the machine's own byte order, since the order changes nothing but the order of
/// the result's bytes (RFC 1071 §2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// The sum over the pseudo-header of what an IP packet carries (RFC 768, RFC 8200 §8.1).
    pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        Self::default().address(source).address(destination).word(u16::from(protocol)).word(length as u16)
    }

    /// Adds a number of 16 bits.
    fn word(self, word: u16) -> Self {
        Self(self.0 + u64::from(word.to_be()))
    }

    fn address(self, address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => self.add(&address.octets()),
            IpAddr::V6(address) => self.add(&address.octets()),
        }
    }

    /// Adds bytes; an odd one at the end counts as if a zero followed.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        // Four bytes at a time: the carries of both halves are folded in at the end.
        let words = bytes.chunks_exact(4);
        let mut last = [0; 4];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        let sum = words.map(|word| u64::from(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).sum::<u64>();
        Self(self.0 + sum + u64::from(u32::from_ne_bytes(last)))
    }

    /// The checksum. Over bytes that include a correct one it is 0.
    pub(super) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::from_be(!(sum as u16))
    }
}

/// The checksum after one endpoint among what it covers was replaced (RFC 1624).
pub(super) fn replace(checksum: u16, from: SocketAddr, to: SocketAddr) -> u16 {
    let sum_of = |endpoint: SocketAddr| Sum::default().address(endpoint.ip()).word(endpoint.port());
    // The complement of a folded sum takes it away.
    let rest = Sum::default().word(!checksum).word(sum_of(from).finish());
    Sum(rest.0 + sum_of(to).0).finish()
}

/// The checksum of what an IP packet carries; `None` for protocols without one.
pub(super) fn of_transport(source: IpAddr, destination: IpAddr, number: u8, bytes: &[u8]) -> Option<u16> {
    let with_pseudo_header = || Sum::pseudo_header(source, destination, number, bytes.len()).add(bytes).finish();
    match number {
        protocol::ICMP => Some(Sum::default().add(bytes).finish()),
        protocol::UDP | protocol::TCP | protocol::ICMPV6 => Some(with_pseudo_header()),
        _ => None,
    }
}
