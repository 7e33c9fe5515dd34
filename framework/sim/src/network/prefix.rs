//! Address prefixes, and the pools of addresses that networks hand out.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;

/// Why a prefix is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrefixError {
    /// It is not of the form `address/length`.
    #[error("`{0}` is not a prefix; write it like 192.0.2.0/24 or 2001:db8::/64")]
    Malformed(String),
    /// The length is beyond the address's bits.
    #[error("a prefix of this address cannot be {0} bits long")]
    Length(u8),
}

/// The address's bits, the first one at the top, so that both versions are cut alike.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// A mask with `length` ones at the top.
pub(super) fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// All addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// The prefix of `length` bits in which `address` lies.
    pub fn new(address: IpAddr, length: u8) -> Result<Self, PrefixError> {
        if length > Self::host(address).length {
            return Err(PrefixError::Length(length));
        }
        Ok(Self { address: Self { address, length }.at(bits(address) & mask(length)), length })
    }

    /// The prefix of one address alone.
    pub fn host(address: IpAddr) -> Self {
        Self { address, length: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Every IPv4 address.
    pub const ALL_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };

    /// Every IPv6 address.
    pub const ALL_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits are fixed.
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether it is a prefix of IPv4 addresses.
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether `address` lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        self.is_ipv4() == address.is_ipv4() && bits(address) & mask(self.length) == bits(self.address)
    }

    /// Its `number`th address; `None` beyond its end.
    pub fn nth(self, number: u128) -> Option<IpAddr> {
        let free_bits = Self::host(self.address).length - self.length;
        if free_bits < 128 && number >> free_bits != 0 {
            return None;
        }
        let shift = if self.is_ipv4() { 96 } else { 0 };
        Some(self.at(bits(self.address) | number << shift))
    }

    fn at(self, bits: u128) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits((bits >> 96) as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        }
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let malformed = || PrefixError::Malformed(text.to_owned());
        let (address, length) = text.split_once('/').ok_or_else(malformed)?;
        Self::new(address.parse().map_err(|_| malformed())?, length.parse().map_err(|_| malformed())?)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses of a prefix that a network hands out.
///
/// An address that was given back is handed out again only when no fresh one is left, the one longest free first, so
/// that whoever comes next is not taken for whoever left.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    prefix: Prefix,
    next: u128,
    returned: VecDeque<IpAddr>,
}

impl Pool {
    /// A pool whose first address belongs to the gateway.
    pub(super) fn new(prefix: Prefix) -> Self {
        Self { prefix, next: 2, returned: VecDeque::new() }
    }

    /// The address of whoever hands the others out.
    pub(super) fn gateway(&self) -> Option<IpAddr> {
        self.prefix.nth(1)
    }

    pub(super) fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Hands an address out. The last address of an IPv4 prefix is its broadcast address and stays.
    pub(super) fn take(&mut self) -> Option<IpAddr> {
        let fresh = self.prefix.nth(self.next).filter(|_| self.prefix.nth(self.next + 1).is_some());
        if fresh.is_some() {
            self.next += 1;
            return fresh;
        }
        self.returned.pop_front()
    }

    /// Takes an address back.
    pub(super) fn give_back(&mut self, address: IpAddr) {
        self.returned.push_back(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_contain_their_addresses_only() {
        let prefix: Prefix = "192.0.2.129/25".parse().expect("a prefix");
        assert_eq!(prefix.to_string(), "192.0.2.128/25");
        assert!(prefix.contains("192.0.2.255".parse().expect("an address")));
        assert!(!prefix.contains("192.0.2.127".parse().expect("an address")));
        assert!(!prefix.contains("::1".parse().expect("an address")));
        assert!(Prefix::ALL_V6.contains("2001:db8::1".parse().expect("an address")));
        assert_eq!(Prefix::ALL_V6.nth(1), Some("::1".parse().expect("an address")));
        assert_eq!(prefix.nth(127), Some("192.0.2.255".parse().expect("an address")));
        assert_eq!(prefix.nth(128), None);
    }

    #[test]
    fn broken_prefixes_are_refused() {
        for text in ["", "192.0.2.0", "192.0.2.0/33", "2001:db8::/129", "x/1", "192.0.2.0/-1"] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_reuses_only_when_nothing_fresh_is_left() {
        let mut pool = Pool::new("192.0.2.0/29".parse().expect("a prefix"));
        let first = pool.take().expect("an address");
        assert_eq!(first.to_string(), "192.0.2.2");
        pool.give_back(first);
        let rest: Vec<_> = std::iter::from_fn(|| pool.take()).map(|address| address.to_string()).collect();
        assert_eq!(rest, ["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.2"]);
    }
}
