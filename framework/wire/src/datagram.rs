//! What comes on a UDP port: the NAT keepalive octet, ESP, and signalling behind the non-ESP marker of RFC 3948, sealed
//! under a subkey.

use crate::codec::{Decode, DecodeError, Encode, Extensions, Reader, VERSION, Writer};
use crate::frame::{decode_body, encode_body, read_version};
use crate::identifier::{KeyId, Session, Spi, Transaction};
use crate::message::{Message, SourceUnknown};
use crate::subkey::{Subkey, TAG_LENGTH};
use crate::trace_context::TraceContext;
use bytes::Bytes;
use thiserror::Error;
use zeroize::Zeroizing;

/// Where an ESP packet has its SPI, signalling has four zero octets.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The whole of a NAT keepalive datagram.
pub const NAT_KEEPALIVE: u8 = 0xff;

/// Marker, version, kind, transaction, key id, session, sequence.
pub const HEADER_LENGTH: usize = 4 + 1 + 1 + 8 + 8 + 8 + 8;

/// The least bytes of an ESP packet: SPI, sequence, IV, one padded block and the integrity check value.
const LEAST_ESP_LENGTH: usize = 4 + 4 + 8 + 4 + 16;

/// The type of [`SourceUnknown`], the one message that is never sealed.
const SOURCE_UNKNOWN: u8 = 67;

/// What a datagram is, by its first octets alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A NAT keepalive: nothing is to be done.
    Keepalive,
    /// Signalling, marker included.
    Signalling,
    /// An ESP packet for this SPI.
    Esp(Spi),
    /// None of these.
    Malformed,
}

/// Tells ESP, signalling and keepalives apart as RFC 3948 does.
pub fn classify(datagram: &[u8]) -> Datagram {
    match datagram {
        [NAT_KEEPALIVE] => Datagram::Keepalive,
        [0, 0, 0, 0, _, ..] => Datagram::Signalling,
        [a, b, c, d, ..] if datagram.len() >= LEAST_ESP_LENGTH => {
            let spi = Spi(u32::from_be_bytes([*a, *b, *c, *d]));
            if spi.identifier() < 16 { Datagram::Malformed } else { Datagram::Esp(spi) }
        }
        _ => Datagram::Malformed,
    }
}

/// The part of a signalling datagram that is readable without a key; it is authenticated with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type of the message.
    pub kind: u8,
    /// Ties an answer to its request.
    pub transaction: Transaction,
    /// The named key that the subkey is derived from.
    pub key_id: KeyId,
    /// The sender's session.
    pub session: Session,
    /// Counts the sender's datagrams under one subkey; never repeats within the session.
    pub sequence: u64,
}

super::codec::positional!(Header { kind, transaction, key_id, session, sequence });

impl Header {
    /// Reads the header of a signalling datagram without any key.
    pub fn parse(datagram: &[u8]) -> Result<Self, DecodeError> {
        Self::split(datagram).map(|(header, _)| header)
    }

    /// The header, and the rest of the datagram.
    fn split(datagram: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let mut reader = Reader::new(datagram);
        if reader.array()? != NON_ESP_MARKER {
            return Err(DecodeError::NotSignalling);
        }
        read_version(&mut reader)?;
        let header = Self::decode(&mut reader)?;
        Ok((header, &datagram[HEADER_LENGTH..]))
    }

    fn write(&self, writer: &mut Writer) {
        writer.put(&NON_ESP_MARKER);
        writer.put(&[VERSION]);
        self.encode(writer);
    }
}

/// Why a signalling datagram could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It is not the message it says it is.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It was not sealed under this subkey, or was changed on the way.
    #[error("the datagram is not authentic")]
    NotAuthentic,
    /// It is of a type that is never sealed.
    #[error("a message of type {0} is never sealed")]
    NeverSealed(u8),
}

/// Seals a message into a datagram. The kind in the header becomes the message's.
///
/// The caller sees to it that no `sequence` repeats under `subkey`.
pub fn seal(subkey: &Subkey, header: Header, message: &Message, trace: Option<TraceContext>) -> Bytes {
    let mut writer = Writer::new();
    Header { kind: message.kind(), ..header }.write(&mut writer);
    encode_body(&mut writer, message, trace);
    let mut datagram = writer.finish();
    let (header_bytes, body) = datagram.split_at_mut(HEADER_LENGTH);
    let tag = subkey.seal(nonce(header.sequence), header_bytes, body);
    datagram.extend_from_slice(&tag);
    datagram.into()
}

/// Opens a sealed datagram. Whether `session` is believed and `sequence` is fresh is for the caller to judge.
pub fn open(subkey: &Subkey, datagram: &[u8]) -> Result<(Header, Message, Extensions), OpenError> {
    let (header, sealed) = Header::split(datagram)?;
    if header.kind == SOURCE_UNKNOWN {
        return Err(OpenError::NeverSealed(header.kind));
    }
    if sealed.len() < TAG_LENGTH {
        return Err(DecodeError::Truncated.into());
    }
    let mut body = Zeroizing::new(sealed.to_vec());
    let body =
        subkey.open(nonce(header.sequence), &datagram[..HEADER_LENGTH], &mut body).ok_or(OpenError::NotAuthentic)?;
    let (message, extensions) = decode_body(header.kind, Reader::new(body))?;
    Ok((header, message, extensions))
}

/// *Source Unknown* as a datagram: in the clear, since who sends it cannot know whom it speaks to.
pub fn encode_source_unknown(transaction: Transaction, session: Session, message: &SourceUnknown) -> Bytes {
    let mut writer = Writer::new();
    Header { kind: SOURCE_UNKNOWN, transaction, key_id: KeyId(0), session, sequence: 0 }.write(&mut writer);
    message.encode(&mut writer);
    writer.finish().into()
}

/// Reads *Source Unknown*. Nothing in it is authentic: it may make a node prove its address to an RS again, or ask a peer
/// whether it is there, and nothing else.
pub fn decode_source_unknown(datagram: &[u8]) -> Result<(Header, SourceUnknown), DecodeError> {
    let (header, body) = Header::split(datagram)?;
    if header.kind != SOURCE_UNKNOWN {
        return Err(DecodeError::UnknownKind(header.kind));
    }
    let mut reader = Reader::new(body);
    let message = reader.read()?;
    Extensions::decode(&mut reader)?;
    reader.finish()?;
    Ok((header, message))
}

/// The sequence, in the last eight octets of the nonce.
fn nonce(sequence: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence.to_be_bytes());
    nonce
}
