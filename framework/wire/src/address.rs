//! Where things are: real legs and virtual addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The permanent addresses that applications talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddresses {
    /// Out of the DC's virtual IPv4 prefix.
    pub v4: Ipv4Addr,
    /// Out of the DC's random RFC 4193 prefix: the identity.
    pub v6: Ipv6Addr,
}

/// One way to a node: what it calls its address and what its DC sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Leg {
    /// The address and port the node itself sends from.
    pub real: SocketAddr,
    /// The address and port the DC sees, equal to `real` where no NAT is between.
    pub outer: SocketAddr,
}

impl Leg {
    /// Whether something between the node and its DC rewrote the address.
    pub fn is_translated(&self) -> bool {
        self.real != self.outer
    }
}

/// The addresses of a server that is dual stack; at least one is present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DualStack {
    /// Its IPv4 address and port.
    pub v4: Option<SocketAddrV4>,
    /// Its IPv6 address and port.
    pub v6: Option<SocketAddrV6>,
}

impl DualStack {
    /// The first address of each family, with this port.
    pub fn of(addresses: &[IpAddr], port: u16) -> Self {
        let mut dual = Self::default();
        for address in addresses {
            match *address {
                IpAddr::V4(address) => dual.v4 = dual.v4.or(Some(SocketAddrV4::new(address, port))),
                IpAddr::V6(address) => dual.v6 = dual.v6.or(Some(SocketAddrV6::new(address, port, 0, 0))),
            }
        }
        dual
    }

    /// The address of the same family as `local`, if there is one.
    pub fn matching(&self, local: SocketAddr) -> Option<SocketAddr> {
        match local {
            SocketAddr::V4(_) => self.v4.map(SocketAddr::V4),
            SocketAddr::V6(_) => self.v6.map(SocketAddr::V6),
        }
    }

    /// Every address, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + use<> {
        self.v4.map(SocketAddr::V4).into_iter().chain(self.v6.map(SocketAddr::V6))
    }
}
