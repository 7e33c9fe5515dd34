//! The internet checksum (RFC 1071).

use super::protocol;
use std::net::{IpAddr, SocketAddr};

/// A sum that is still open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// The sum over the pseudo-header of what an IP packet carries (RFC 768, RFC 8200 §8.1).
    pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Self {
        let sum = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                Self::default().add(&source.octets()).add(&destination.octets())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                Self::default().add(&source.octets()).add(&destination.octets())
            }
            _ => unreachable!("a packet's addresses are of one family"),
        };
        Self(sum.0 + u64::from(protocol) + length as u64)
    }

    /// Adds bytes; an odd one at the end counts as if a zero followed.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let words = bytes.chunks_exact(2);
        let last = words.remainder().first().map_or(0, |byte| u64::from(*byte) << 8);
        Self(self.0 + last + words.map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum::<u64>())
    }

    /// The checksum. Over bytes that include a correct one it is 0.
    pub(super) fn finish(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }
}

/// The checksum after one endpoint among what it covers was replaced (RFC 1624).
pub(super) fn replace(checksum: u16, from: SocketAddr, to: SocketAddr) -> u16 {
    let sum_of = |endpoint: SocketAddr| {
        let sum = Sum(u64::from(endpoint.port()));
        match endpoint.ip() {
            IpAddr::V4(address) => sum.add(&address.octets()),
            IpAddr::V6(address) => sum.add(&address.octets()),
        }
    };
    // The complement of a folded sum takes it away.
    Sum(u64::from(!checksum) + u64::from(sum_of(from).finish()) + sum_of(to).0).finish()
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
