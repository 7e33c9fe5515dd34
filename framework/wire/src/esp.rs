//! Application packets: ESP in tunnel mode (RFC 4303) for UDP (RFC 3948), with AES-128-GCM (RFC 4106) or
//! ChaCha20-Poly1305 (RFC 7634).
//!
//! ```text
//! SPI 4 | sequence 4 | IV 8 | inner packet, padding, pad length 1, next header 1 | integrity check value 16
//! ^^^^^^ authenticated ^^^^^         ^^^^^^ encrypted and authenticated ^^^^^^
//! ```
//!
//! Both directions work inside the caller's buffer and allocate nothing.

mod key;
#[cfg(test)]
mod tests;
mod train;

pub use key::{EspKey, UnknownSuite};
pub use train::Reservation;

use crate::identifier::Spi;
use crate::replay::EspWindow;
use key::EspCipher;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// SPI, sequence and IV: what stands before the inner packet.
pub const HEADER_LENGTH: usize = 16;

/// The octets of the integrity check value behind it.
pub const ICV_LENGTH: usize = 16;

/// Next header of an IPv4 packet.
pub const NEXT_HEADER_IPV4: u8 = 4;

/// Next header of an IPv6 packet.
pub const NEXT_HEADER_IPV6: u8 = 41;

/// Next header of a dummy packet, which the receiver drops.
pub const NEXT_HEADER_DUMMY: u8 = 59;

/// From this sequence number on a rekey is due.
pub const REKEY_DUE: u32 = 1 << 31;

/// SPI and sequence: what is authenticated in the clear.
const ASSOCIATED_LENGTH: usize = 8;

/// Padding aligns the encrypted part to so many octets.
const ALIGNMENT: usize = 4;

/// Pad length and next header.
const TRAILER_LENGTH: usize = 2;

/// The whole length of the ESP packet around `inner` octets.
pub const fn sealed_length(inner: usize) -> usize {
    HEADER_LENGTH + (inner + TRAILER_LENGTH).next_multiple_of(ALIGNMENT) + ICV_LENGTH
}

/// Why a packet was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Every sequence number has been used: only a new generation helps.
    #[error("the key has sealed all the packets it may")]
    Exhausted,
    /// The buffer is shorter than [`sealed_length`].
    #[error("the buffer has {have} octets, the sealed packet needs {need}")]
    NoRoom {
        /// The buffer's length.
        have: usize,
        /// The length it needs.
        need: usize,
    },
}

/// Why a packet was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EspError {
    /// It is too short for an ESP packet.
    #[error("too short for an ESP packet")]
    Malformed,
    /// Its sequence number came before, or is too old to tell.
    #[error("sequence number {0} came before or is too old")]
    Replayed(u32),
    /// It was not sealed under this key, or was changed on the way.
    #[error("the packet is not authentic")]
    NotAuthentic,
    /// Its padding is not what RFC 4303 prescribes.
    #[error("the packet's padding is malformed")]
    Padding,
}

/// The sending side of one generation of one direction. Many threads may seal at once: the sequence is one atomic.
pub struct EspSealer {
    spi: Spi,
    cipher: EspCipher,
    last: AtomicU32,
}

impl EspSealer {
    /// Begins at sequence number 1. A key has one sealer in its life: a second would repeat nonces.
    pub fn new(spi: Spi, key: &EspKey) -> Self {
        Self { spi, cipher: key.cipher(), last: AtomicU32::new(0) }
    }

    /// The SPI that every packet bears.
    pub fn spi(&self) -> Spi {
        self.spi
    }

    /// How many packets have been sealed.
    pub fn sealed(&self) -> u32 {
        self.last.load(Ordering::Relaxed)
    }

    /// So many packets have been sealed elsewhere under this sealer's key: their numbers are not used again here.
    pub fn advance(&self, sealed: u32) {
        self.last.fetch_max(sealed, Ordering::Relaxed);
    }

    /// Whether so many packets have been sealed that the next generation should be agreed on.
    pub fn is_rekey_due(&self) -> bool {
        self.sealed() >= REKEY_DUE
    }

    /// Seals in place the inner packet of `inner` octets that the caller put at [`HEADER_LENGTH`]; returns the length of
    /// the whole, which is [`sealed_length`].
    pub fn seal(&self, buffer: &mut [u8], inner: usize, next_header: u8) -> Result<usize, SealError> {
        let need = sealed_length(inner);
        if buffer.len() < need {
            return Err(SealError::NoRoom { have: buffer.len(), need });
        }
        self.reserve(1)?.seal(buffer, inner, next_header)
    }

    /// Seals under a number that is this packet's alone; `packet` has exactly the sealed length.
    fn seal_as(&self, sequence: u32, packet: &mut [u8], inner: usize, next_header: u8) {
        seal_packet(&self.cipher, self.spi, sequence, u64::from(sequence).to_be_bytes(), packet, inner, next_header);
    }
}

impl fmt::Debug for EspSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EspSealer({:?}, {} sealed)", self.spi, self.sealed())
    }
}

/// Fills in everything around the inner packet and encrypts; `packet` has exactly the sealed length.
fn seal_packet(
    cipher: &EspCipher,
    spi: Spi,
    sequence: u32,
    iv: [u8; 8],
    packet: &mut [u8],
    inner: usize,
    next_header: u8,
) {
    let (header, rest) = packet.split_at_mut(HEADER_LENGTH);
    let (body, icv) = rest.split_at_mut(rest.len() - ICV_LENGTH);
    header[..4].copy_from_slice(&spi.0.to_be_bytes());
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[8..].copy_from_slice(&iv);
    let padding = body.len() - TRAILER_LENGTH - inner;
    for (octet, value) in body[inner..].iter_mut().zip(1..=padding as u8) {
        *octet = value;
    }
    let trailer = body.len() - TRAILER_LENGTH;
    body[trailer..].copy_from_slice(&[padding as u8, next_header]);
    icv.copy_from_slice(&cipher.seal(iv, &header[..ASSOCIATED_LENGTH], body));
}

/// What an ESP packet carried.
#[derive(Debug, PartialEq, Eq)]
pub struct Inner<'a> {
    /// The inner packet, in the buffer that was opened.
    pub packet: &'a mut [u8],
    /// Its protocol.
    pub next_header: u8,
    /// The sequence number that it came under.
    pub sequence: u32,
}

/// The receiving side of one generation of one direction.
pub struct EspOpener {
    cipher: EspCipher,
    window: Mutex<EspWindow>,
}

impl EspOpener {
    /// Begins with nothing received.
    pub fn new(key: &EspKey) -> Self {
        Self { cipher: key.cipher(), window: Mutex::default() }
    }

    /// Opens a whole ESP packet in place. The anti-replay window is asked before the cryptography, since that is cheaper,
    /// and changed only after it, since a forged packet must not close the window for a true one.
    pub fn open<'a>(&self, packet: &'a mut [u8]) -> Result<Inner<'a>, EspError> {
        let sequence = Parsed::sequence_of(packet)?;
        if !self.with_window(|window| window.is_fresh(sequence.into())) {
            return Err(EspError::Replayed(sequence));
        }
        let mut parsed = Parsed::split(packet)?;
        if !parsed.decrypt(&self.cipher) {
            return Err(EspError::NotAuthentic);
        }
        if !self.with_window(|window| window.accept(sequence.into())) {
            return Err(EspError::Replayed(sequence));
        }
        let (packet, next_header) = without_padding(parsed.body).ok_or(EspError::Padding)?;
        Ok(Inner { packet, next_header, sequence })
    }

    fn with_window<T>(&self, ask: impl FnOnce(&mut EspWindow) -> T) -> T {
        ask(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for EspOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EspOpener(…)")
    }
}

/// The parts of an ESP packet that is long enough to have them.
struct Parsed<'a> {
    header: &'a [u8; HEADER_LENGTH],
    body: &'a mut [u8],
    icv: &'a [u8; ICV_LENGTH],
}

impl<'a> Parsed<'a> {
    fn split(packet: &'a mut [u8]) -> Result<Self, EspError> {
        let (header, rest) = packet.split_first_chunk_mut().ok_or(EspError::Malformed)?;
        let (body, icv) = rest.split_last_chunk_mut().ok_or(EspError::Malformed)?;
        if body.len() < TRAILER_LENGTH { Err(EspError::Malformed) } else { Ok(Self { header, body, icv }) }
    }

    /// The sequence number of a packet that is long enough; 0 is nobody's.
    fn sequence_of(packet: &[u8]) -> Result<u32, EspError> {
        let header = packet.first_chunk::<HEADER_LENGTH>().ok_or(EspError::Malformed)?;
        if packet.len() < HEADER_LENGTH + TRAILER_LENGTH + ICV_LENGTH {
            return Err(EspError::Malformed);
        }
        let sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        if sequence == 0 { Err(EspError::Replayed(0)) } else { Ok(sequence) }
    }

    /// Decrypts the body in place; `false` if it is not authentic.
    fn decrypt(&mut self, cipher: &EspCipher) -> bool {
        let [associated @ .., i0, i1, i2, i3, i4, i5, i6, i7] = self.header;
        cipher.open([*i0, *i1, *i2, *i3, *i4, *i5, *i6, *i7], associated, self.body, self.icv)
    }
}

/// Splits the inner packet from padding, pad length and next header. The padding is authentic by now; that it counts
/// upwards from 1 is checked because RFC 4303 says so.
fn without_padding(body: &mut [u8]) -> Option<(&mut [u8], u8)> {
    let (rest, [padding, next_header]) = body.split_last_chunk_mut()?;
    let inner = rest.len().checked_sub(usize::from(*padding))?;
    let (packet, padding) = rest.split_at_mut(inner);
    padding.iter().copied().eq(1..=padding.len() as u8).then_some((packet, *next_header))
}
