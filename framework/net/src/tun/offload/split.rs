//! Cutting a super-packet into the packets that go over the wire.

use super::checksum::copy_and_add;
use super::virtio::{Gso, VirtioHeader};
use super::{
    IPV4_HEADER, IPV6_HEADER, TCP, TCP_CHECKSUM, TCP_HEADER, UDP, UDP_CHECKSUM, UDP_HEADER, add_bytes, fold,
    pseudo_header,
};
use thiserror::Error;

const TCP_FIN: u8 = 0x01;
const TCP_PUSH: u8 = 0x08;
const TCP_CONGESTION_WINDOW_REDUCED: u8 = 0x80;

/// Why a super-packet could not be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SplitError {
    /// It is to be cut in a way that was never asked for.
    #[error("segmentation of type {0} was never asked for")]
    UnknownType(u8),
    /// The virtio header and the packet contradict each other.
    #[error("the packet is not what its virtio header says")]
    Malformed,
}

/// A packet of up to 64 KiB that stands for many.
#[derive(Debug)]
pub struct SuperPacket<'a> {
    /// Of IP and transport.
    headers: &'a [u8],
    payload: &'a [u8],
    /// Where the transport header begins.
    transport: usize,
    /// Octets of payload in each segment but the last.
    segment: usize,
    is_tcp: bool,
    /// The sum of the pseudo-header without the length.
    pseudo: u64,
}

impl<'a> SuperPacket<'a> {
    /// Reads a super-packet; `None` if it is to go as it is.
    pub fn parse(virtio: &VirtioHeader, packet: &'a [u8]) -> Result<Option<Self>, SplitError> {
        let version = packet.first().ok_or(SplitError::Malformed)? >> 4;
        let (is_tcp, suits) = match virtio.gso {
            Gso::None => return Ok(None),
            Gso::TcpV4 => (true, version == 4),
            Gso::TcpV6 => (true, version == 6),
            Gso::Udp => (false, version == 4 || version == 6),
            Gso::Unknown(number) => return Err(SplitError::UnknownType(number)),
        };
        let transport = usize::from(virtio.checksum_start);
        let least = if version == 4 { IPV4_HEADER } else { IPV6_HEADER };
        let fits = if version == 4 { transport == usize::from(packet[0] & 0xf) * 4 } else { true };
        if !suits || !fits || transport < least || !virtio.needs_checksum || virtio.segment == 0 {
            return Err(SplitError::Malformed);
        }
        let rest = packet.get(transport..).ok_or(SplitError::Malformed)?;
        let length = if is_tcp {
            let offset = usize::from(*rest.get(12).ok_or(SplitError::Malformed)? >> 4) * 4;
            offset.max(TCP_HEADER)
        } else {
            UDP_HEADER
        };
        let (headers, payload) = packet.split_at_checked(transport + length).ok_or(SplitError::Malformed)?;
        if payload.is_empty() {
            return Err(SplitError::Malformed);
        }
        let pseudo = pseudo_header(headers, if is_tcp { TCP } else { UDP });
        Ok(Some(Self { headers, payload, transport, segment: usize::from(virtio.segment), is_tcp, pseudo }))
    }

    /// Into how many packets it is cut.
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.segment)
    }

    /// The length of the longest of them.
    pub fn longest(&self) -> usize {
        self.headers.len() + self.segment.min(self.payload.len())
    }

    /// The length of the packet with this number.
    pub fn length(&self, number: usize) -> usize {
        self.headers.len() + self.payload(number).len()
    }

    fn payload(&self, number: usize) -> &'a [u8] {
        let rest = self.payload.get(number * self.segment..).unwrap_or(&[]);
        &rest[..rest.len().min(self.segment)]
    }

    /// Writes the packet with this number to the beginning of `out`, with lengths, identification, sequence, flags and checksums
    /// of its own; returns its length. `None` if it does not fit.
    pub fn write(&self, number: usize, out: &mut [u8]) -> Option<usize> {
        let payload = self.payload(number);
        let length = self.headers.len() + payload.len();
        let (headers, place) = out.get_mut(..length)?.split_at_mut(self.headers.len());
        headers.copy_from_slice(self.headers);
        let (network, transport) = headers.split_at_mut(self.transport);
        write_network(network, number, length);
        let transport_length = (length - self.transport) as u16;
        let checksum = if self.is_tcp {
            let sequence = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
            let sequence = sequence.wrapping_add((number * self.segment) as u32);
            transport[4..8].copy_from_slice(&sequence.to_be_bytes());
            if number > 0 {
                transport[13] &= !TCP_CONGESTION_WINDOW_REDUCED;
            }
            if number + 1 < self.count() {
                transport[13] &= !(TCP_FIN | TCP_PUSH);
            }
            TCP_CHECKSUM
        } else {
            transport[4..6].copy_from_slice(&transport_length.to_be_bytes());
            UDP_CHECKSUM
        };
        transport[checksum..checksum + 2].fill(0);
        let sum = add_bytes(self.pseudo + u64::from(transport_length.to_be()), transport);
        let sum = !fold(copy_and_add(sum, place, payload));
        let sum = if sum == 0 && !self.is_tcp { 0xffff } else { sum };
        transport[checksum..checksum + 2].copy_from_slice(&sum.to_ne_bytes());
        Some(length)
    }
}

/// Length, and for IPv4 identification and checksum, of the segment with this number.
fn write_network(header: &mut [u8], number: usize, length: usize) {
    if header[0] >> 4 == 6 {
        return header[4..6].copy_from_slice(&((length - IPV6_HEADER) as u16).to_be_bytes());
    }
    header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
    let identification = u16::from_be_bytes([header[4], header[5]]).wrapping_add(number as u16);
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[10..12].fill(0);
    let sum = !fold(add_bytes(0, header));
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}

/// Completes the checksum of a packet that the kernel left with the sum of the pseudo-header alone.
pub fn complete_checksum(virtio: &VirtioHeader, packet: &mut [u8]) -> Result<(), SplitError> {
    if !virtio.needs_checksum {
        return Ok(());
    }
    let transport = packet.get_mut(usize::from(virtio.checksum_start)..).ok_or(SplitError::Malformed)?;
    let offset = usize::from(virtio.checksum_offset);
    if transport.len() < offset + 2 {
        return Err(SplitError::Malformed);
    }
    let sum = !fold(add_bytes(0, transport));
    let sum = if sum == 0 && offset == UDP_CHECKSUM { 0xffff } else { sum };
    transport[offset..offset + 2].copy_from_slice(&sum.to_ne_bytes());
    Ok(())
}
