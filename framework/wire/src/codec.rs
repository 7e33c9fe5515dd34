//! The positional encoding: every field in the order of its struct, integers big-endian, no tags and no padding.
//!
//! **Invariant:** what a decoder accepts it has read to the last byte, and it never reserves memory by a length that the
//! input merely claims. Structs never grow in place: what a later version adds travels as an [`Extensions`] entry.

mod extension;
mod primitive;

pub use extension::Extensions;

use crate::name::Fqdn;
use std::fmt;
use thiserror::Error;

/// The version of the wire format that this crate speaks.
pub const VERSION: u8 = 1;

/// The most bytes that a signalling datagram may have.
pub const DATAGRAM_LIMIT: usize = 1_200;

/// The most bytes in an opaque byte string: tokens and wrapped keys.
pub const BYTES_LIMIT: usize = 256;

/// The most bytes in a secret text: passwords.
pub const SECRET_LIMIT: usize = 512;

/// The most bytes in a text for people.
pub const TEXT_LIMIT: usize = 120;

/// The most socket addresses in a list.
pub const ADDRESS_LIMIT: usize = 8;

/// The most legs in a list.
pub const LEG_LIMIT: usize = 4;

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("the input ends inside a field")]
    Truncated,
    /// Something follows where nothing may.
    #[error("{0} bytes follow where nothing may")]
    TrailingBytes(usize),
    /// The datagram does not begin with the non-ESP marker.
    #[error("the datagram does not begin with the non-ESP marker")]
    NotSignalling,
    /// A version that this crate does not speak.
    #[error("version {0} of the wire format is not spoken here")]
    UnsupportedVersion(u8),
    /// A message type that this version does not have.
    #[error("there is no message of type {0}")]
    UnknownKind(u8),
    /// A field says neither that a value is absent (0) nor present (1).
    #[error("a presence octet is {0}, neither 0 nor 1")]
    Presence(u8),
    /// A choice between structures that this version does not have.
    #[error("{what} has no variant {number}")]
    UnknownVariant {
        /// The structure.
        what: &'static str,
        /// The number that came.
        number: u8,
    },
    /// A name is not one, is not in lower case, or refers to a name that the message does not have.
    #[error("a name is malformed")]
    Name,
    /// A text is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// A field is longer than its limit.
    #[error("{what} has {length} entries, the limit is {limit}")]
    Limit {
        /// The kind of field.
        what: &'static str,
        /// The length it claims.
        length: usize,
        /// The length it may have.
        limit: usize,
    },
    /// A dual-stack server without any address.
    #[error("a server has no address at all")]
    NoAddress,
    /// An extension that must be understood and is not.
    #[error("the critical extension {0:#06x} is not understood")]
    CriticalExtension(u16),
    /// An extension comes twice.
    #[error("the extension {0:#06x} comes twice")]
    DuplicateExtension(u16),
}

/// Where a message is written to. Room for a whole datagram is reserved at once, so that no copy of a secret stays behind
/// in a buffer that grew.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    names: Vec<Fqdn>,
}

impl Writer {
    /// Begins with nothing written.
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(DATAGRAM_LIMIT), names: Vec::new() }
    }

    /// Appends bytes as they are.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Encodes a value behind what is there.
    pub(crate) fn write(&mut self, value: &impl Encode) {
        value.encode(self);
    }

    /// What has been written.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Where a message is read from.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    names: Vec<Fqdn>,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, names: Vec::new() }
    }

    /// Takes the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Takes the next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Decodes the next value.
    pub(crate) fn read<T: Decode>(&mut self) -> Result<T, DecodeError> {
        T::decode(self)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses whatever is left.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(DecodeError::TrailingBytes(left)),
        }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({} bytes left)", self.rest.len())
    }
}

/// What can be written.
pub(crate) trait Encode {
    /// Appends the value's encoding.
    fn encode(&self, writer: &mut Writer);
}

/// What can be read.
pub(crate) trait Decode: Sized {
    /// Takes the value off the input.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Encodes a struct as its fields in the order given, which is the order of their declaration.
macro_rules! positional {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, _writer: &mut $crate::codec::Writer) {
                let Self { $($field),* } = self;
                $(_writer.write($field);)*
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(_reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $($field: _reader.read()?),* })
            }
        }
    };
}

/// Encodes an enum without fields as one octet; a number that this version does not know stays what it is.
macro_rules! numbered {
    ($name:ident { $($number:literal $variant:ident),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, writer: &mut $crate::codec::Writer) {
                writer.write(&match *self {
                    $(Self::$variant => $number,)*
                    Self::Unknown(number) => number,
                });
            }
        }

        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(match reader.read::<u8>()? {
                    $($number => Self::$variant,)*
                    number => Self::Unknown(number),
                })
            }
        }
    };
}

pub(crate) use {numbered, positional};
