//! What the kernel leaves to us when packets cross it by the dozen: cutting a super-packet into segments, and putting segments
//! of one flow together again. Pure: no system call, no clock, no allocation.
//!
//! A super-packet is one IP packet of up to 64 KiB behind a virtio header that says how it is to be cut (TSO and USO in the
//! kernel's words). Out: [`SuperPacket`] writes each segment, checksums and all, where it is to be sealed. In: [`Coalescer`]
//! gathers what was opened. Neither reorders the packets of a flow.

mod checksum;
mod coalesce;
mod split;
#[cfg(test)]
mod tests;
mod virtio;

pub use coalesce::{Coalescer, MOST_SEGMENTS, Mergeable};
pub use split::{SplitError, SuperPacket, complete_checksum};
pub use virtio::{Gso, VIRTIO_LENGTH, VirtioHeader};

pub(crate) use checksum::{add_bytes, fold};

/// Protocol number of TCP.
const TCP: u8 = 6;
/// Protocol number of UDP.
const UDP: u8 = 17;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Where TCP has its checksum.
const TCP_CHECKSUM: usize = 16;
/// Where UDP has its checksum.
const UDP_CHECKSUM: usize = 6;

/// The sum of the pseudo-header of the IP packet `header` begins, without the length.
fn pseudo_header(header: &[u8], protocol: u8) -> u64 {
    let addresses = if header[0] >> 4 == 4 { 12..IPV4_HEADER } else { 8..IPV6_HEADER };
    add_bytes(u64::from(u16::from(protocol).to_be()), &header[addresses])
}
