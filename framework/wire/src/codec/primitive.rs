//! How integers, texts, lists, names, addresses and keys are encoded.

use super::{
    ADDRESS_LIMIT, BYTES_LIMIT, Decode, DecodeError, Encode, LEG_LIMIT, Reader, SECRET_LIMIT, TEXT_LIMIT, Writer,
};
use crate::address::{DualStack, Leg, VirtualAddresses};
use crate::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi, Transaction};
use crate::key::{NamedKey, PublicKey, Secret, SecretBytes, SecretText};
use crate::name::{Account, Fqdn};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Encode for $integer {
            fn encode(&self, writer: &mut Writer) {
                writer.put(&self.to_be_bytes());
            }
        }

        impl Decode for $integer {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array().map(Self::from_be_bytes)
            }
        }
    )*};
}

macro_rules! identifiers {
    ($($name:ident),*) => {$(
        impl Encode for $name {
            fn encode(&self, writer: &mut Writer) {
                writer.write(&self.0);
            }
        }

        impl Decode for $name {
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.read().map(Self)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64);
identifiers!(KeyId, Session, Transaction, Negotiation, ApplicationId, Spi, PublicKey);

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, writer: &mut Writer) {
        writer.put(self);
    }
}

impl<const N: usize> Decode for [u8; N] {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array()
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, writer: &mut Writer) {
        writer.write(&self.0);
        writer.write(&self.1);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((reader.read()?, reader.read()?))
    }
}

impl<T: Encode> Encode for Box<T> {
    fn encode(&self, writer: &mut Writer) {
        writer.write(&**self);
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, writer: &mut Writer) {
        match self {
            None => writer.put(&[0]),
            Some(value) => {
                writer.put(&[1]);
                writer.write(value);
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u8>()? {
            0 => Ok(None),
            1 => reader.read().map(Some),
            other => Err(DecodeError::Presence(other)),
        }
    }
}

/// Reads a length that `limit` bounds.
fn bounded(length: usize, what: &'static str, limit: usize) -> Result<usize, DecodeError> {
    if length > limit { Err(DecodeError::Limit { what, length, limit }) } else { Ok(length) }
}

/// Writes bytes behind a 16-bit length. Bytes above a field's limit are written all the same, for the receiver to refuse.
fn put_long(writer: &mut Writer, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    writer.write(&length);
    writer.put(&bytes[..usize::from(length)]);
}

impl Encode for Vec<u8> {
    fn encode(&self, writer: &mut Writer) {
        put_long(writer, self);
    }
}

impl Decode for Vec<u8> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = bounded(reader.read::<u16>()?.into(), "a byte string", BYTES_LIMIT)?;
        reader.take(length).map(<[u8]>::to_vec)
    }
}

impl Encode for SecretBytes {
    fn encode(&self, writer: &mut Writer) {
        put_long(writer, self.expose());
    }
}

impl Decode for SecretBytes {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.read().map(Self::new)
    }
}

impl Encode for SecretText {
    fn encode(&self, writer: &mut Writer) {
        put_long(writer, self.expose().as_bytes());
    }
}

impl Decode for SecretText {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = bounded(reader.read::<u16>()?.into(), "a secret text", SECRET_LIMIT)?;
        let text = str::from_utf8(reader.take(length)?).map_err(|_| DecodeError::Text)?;
        Ok(Self::new(text))
    }
}

impl Encode for String {
    /// A text for people is cut at its limit, between two characters.
    fn encode(&self, writer: &mut Writer) {
        let text = &self[..self.floor_char_boundary(TEXT_LIMIT)];
        writer.write(&(text.len() as u8));
        writer.put(text.as_bytes());
    }
}

impl Decode for String {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = bounded(reader.read::<u8>()?.into(), "a text", TEXT_LIMIT)?;
        str::from_utf8(reader.take(length)?).map(Self::from).map_err(|_| DecodeError::Text)
    }
}

/// Writes a list behind an 8-bit count. Lists have the best first: what is above the limit is left out.
fn put_list<T: Encode>(writer: &mut Writer, list: &[T], limit: usize) {
    let list = &list[..list.len().min(limit)];
    writer.write(&(list.len() as u8));
    for entry in list {
        writer.write(entry);
    }
}

/// Reads a list behind an 8-bit count.
fn read_list<T: Decode>(reader: &mut Reader<'_>, what: &'static str, limit: usize) -> Result<Vec<T>, DecodeError> {
    let count = bounded(reader.read::<u8>()?.into(), what, limit)?;
    (0..count).map(|_| reader.read()).collect()
}

impl Encode for Vec<SocketAddr> {
    fn encode(&self, writer: &mut Writer) {
        put_list(writer, self, ADDRESS_LIMIT);
    }
}

impl Decode for Vec<SocketAddr> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_list(reader, "a list of addresses", ADDRESS_LIMIT)
    }
}

impl Encode for Vec<Leg> {
    fn encode(&self, writer: &mut Writer) {
        put_list(writer, self, LEG_LIMIT);
    }
}

impl Decode for Vec<Leg> {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        read_list(reader, "a list of legs", LEG_LIMIT)
    }
}

impl Encode for Fqdn {
    /// A name that the message has already had is written as 0 and its position among the message's different names: the
    /// largest messages would not fit a datagram otherwise.
    fn encode(&self, writer: &mut Writer) {
        let earlier = writer.names.iter().position(|name| name == self);
        if let Some(position) = earlier.and_then(|position| u8::try_from(position).ok()) {
            writer.put(&[0, position]);
        } else {
            writer.write(&(self.as_str().len() as u8));
            writer.put(self.as_str().as_bytes());
            writer.names.push(self.clone());
        }
    }
}

impl Decode for Fqdn {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read::<u8>()? {
            0 => {
                let position: u8 = reader.read()?;
                reader.names.get(usize::from(position)).cloned().ok_or(DecodeError::Name)
            }
            length => {
                let text = str::from_utf8(reader.take(length.into())?).map_err(|_| DecodeError::Name)?;
                let name = Self::parse(text).ok().filter(|name| name.as_str() == text).ok_or(DecodeError::Name)?;
                reader.names.push(name.clone());
                Ok(name)
            }
        }
    }
}

impl Encode for Account {
    fn encode(&self, writer: &mut Writer) {
        let text = self.to_string();
        writer.write(&(text.len() as u8));
        writer.put(text.as_bytes());
    }
}

impl Decode for Account {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length: u8 = reader.read()?;
        let text = str::from_utf8(reader.take(length.into())?).map_err(|_| DecodeError::Name)?;
        Self::parse(text).ok().filter(|account| account.to_string() == text).ok_or(DecodeError::Name)
    }
}

impl Encode for Ipv4Addr {
    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.octets());
    }
}

impl Decode for Ipv4Addr {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array::<4>().map(Self::from)
    }
}

impl Encode for Ipv6Addr {
    fn encode(&self, writer: &mut Writer) {
        writer.put(&self.octets());
    }
}

impl Decode for Ipv6Addr {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array::<16>().map(Self::from)
    }
}

impl Encode for SocketAddr {
    /// The family as 4 or 6, the address, the port. Flow label and scope have no meaning for anyone else and stay behind.
    fn encode(&self, writer: &mut Writer) {
        match self.ip() {
            IpAddr::V4(address) => {
                writer.put(&[4]);
                writer.write(&address);
            }
            IpAddr::V6(address) => {
                writer.put(&[6]);
                writer.write(&address);
            }
        }
        writer.write(&self.port());
    }
}

impl Decode for SocketAddr {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let address: IpAddr = match reader.read::<u8>()? {
            4 => reader.read::<Ipv4Addr>()?.into(),
            6 => reader.read::<Ipv6Addr>()?.into(),
            number => return Err(DecodeError::UnknownVariant { what: "an address family", number }),
        };
        Ok(Self::new(address, reader.read()?))
    }
}

impl Encode for DualStack {
    fn encode(&self, writer: &mut Writer) {
        writer.write(&self.v4.map(|address| (*address.ip(), address.port())));
        writer.write(&self.v6.map(|address| (*address.ip(), address.port())));
    }
}

impl Decode for DualStack {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let v4 = reader.read::<Option<(Ipv4Addr, u16)>>()?.map(|(address, port)| SocketAddrV4::new(address, port));
        let v6 =
            reader.read::<Option<(Ipv6Addr, u16)>>()?.map(|(address, port)| SocketAddrV6::new(address, port, 0, 0));
        if v4.is_none() && v6.is_none() {
            return Err(DecodeError::NoAddress);
        }
        Ok(Self { v4, v6 })
    }
}

impl Encode for Secret {
    fn encode(&self, writer: &mut Writer) {
        writer.put(self.expose());
    }
}

impl Decode for Secret {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_bytes)
    }
}

super::positional!(NamedKey { id, secret });
super::positional!(VirtualAddresses { v4, v6 });
super::positional!(Leg { real, outer });
