//! The header that a TUN device with `IFF_VNET_HDR` puts before each packet.

/// Its length, as we set it.
pub const VIRTIO_LENGTH: usize = 10;

const NEEDS_CHECKSUM: u8 = 1;
const TCP_V4: u8 = 1;
const TCP_V6: u8 = 4;
const UDP_L4: u8 = 5;
/// A bit beside the type: congestion was experienced.
const ECN: u8 = 0x80;

/// How a super-packet is to be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gso {
    /// Not at all: it is one packet.
    #[default]
    None,
    /// As TCP over IPv4.
    TcpV4,
    /// As TCP over IPv6.
    TcpV6,
    /// As UDP over either.
    Udp,
    /// In a way that was never asked for.
    Unknown(u8),
}

/// What the header says, numbers in the machine's own byte order on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// Whether the checksum holds only the pseudo-header's sum.
    pub needs_checksum: bool,
    /// How to cut.
    pub gso: Gso,
    /// The length of all headers; a hint.
    pub header_length: u16,
    /// The payload of each segment but the last.
    pub segment: u16,
    /// Where the sum begins, and with it the transport header.
    pub checksum_start: u16,
    /// Where the checksum is, from there.
    pub checksum_offset: u16,
}

impl VirtioHeader {
    /// Reads a header.
    pub fn decode(bytes: &[u8; VIRTIO_LENGTH]) -> Self {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let gso = match bytes[1] & !ECN {
            0 => Gso::None,
            TCP_V4 => Gso::TcpV4,
            TCP_V6 => Gso::TcpV6,
            UDP_L4 => Gso::Udp,
            other => Gso::Unknown(other),
        };
        Self {
            needs_checksum: bytes[0] & NEEDS_CHECKSUM != 0,
            gso,
            header_length: word(2),
            segment: word(4),
            checksum_start: word(6),
            checksum_offset: word(8),
        }
    }

    /// Writes the header.
    pub fn encode(&self) -> [u8; VIRTIO_LENGTH] {
        let mut bytes = [0; VIRTIO_LENGTH];
        bytes[0] = if self.needs_checksum { NEEDS_CHECKSUM } else { 0 };
        bytes[1] = match self.gso {
            Gso::None => 0,
            Gso::TcpV4 => TCP_V4,
            Gso::TcpV6 => TCP_V6,
            Gso::Udp => UDP_L4,
            Gso::Unknown(other) => other,
        };
        let words = [self.header_length, self.segment, self.checksum_start, self.checksum_offset];
        for (place, word) in bytes[2..].chunks_exact_mut(2).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }
}
