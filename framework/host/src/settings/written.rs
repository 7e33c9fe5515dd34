//! Values that are written as text: names, prefixes.

use ntmobile_settings::units::parse_prefix;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Deref;
use std::str::FromStr;
use thiserror::Error;

/// A value as its type reads it from text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Written<T>(pub T);

impl<T> Deref for Written<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
            type Value = Written<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Written<T>, E> {
                text.parse().map(Written).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not {wanted}")]
pub struct PrefixError {
    text: String,
    wanted: &'static str,
}

/// `100.64.16.0/20`: out of which nodes get their virtual IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix4(pub Ipv4Addr, pub u8);

impl FromStr for Prefix4 {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wanted = "an IPv4 prefix of 8 to 28 bits such as \"100.64.16.0/20\", with nothing set behind it";
        parse_prefix::<Ipv4Addr>(text)
            .filter(|(address, length)| (8..=28).contains(length) && address.to_bits() & (u32::MAX >> length) == 0)
            .map(|(address, length)| Self(address, length))
            .ok_or_else(|| PrefixError { text: text.to_owned(), wanted })
    }
}

/// `fd12:3456:789a:1::/64`: out of which nodes get their virtual IPv6 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix6(pub Ipv6Addr);

impl FromStr for Prefix6 {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let wanted = "a /64 of fd00::/8 such as \"fd12:3456:789a:1::/64\", with nothing set behind it";
        parse_prefix::<Ipv6Addr>(text)
            .filter(|(address, length)| {
                *length == 64 && address.octets()[0] == 0xfd && address.to_bits() & u128::from(u64::MAX) == 0
            })
            .map(|(address, _)| Self(address))
            .ok_or_else(|| PrefixError { text: text.to_owned(), wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_it_says() {
        assert_eq!("100.64.16.0/20".parse(), Ok(Prefix4(Ipv4Addr::new(100, 64, 16, 0), 20)));
        assert!("100.64.16.1/20".parse::<Prefix4>().is_err());
        assert!("100.64.16.0/29".parse::<Prefix4>().is_err());
        assert!("fd12:3456:789a:1::/64".parse::<Prefix6>().is_ok());
        let error = "fd12:3456:789a:1::/48".parse::<Prefix6>().expect_err("a /64");
        assert!(error.to_string().contains("a /64 of fd00::/8 such as"), "{error}");
    }
}
