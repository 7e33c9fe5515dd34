//! What two ends have agreed on about a tunnel, and the keys that follow from it.

use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::esp::{EspKey, UnknownSuite};
use ntmobile_wire::identifier::{ApplicationId, Spi};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::Role;
use std::net::{Ipv4Addr, SocketAddr};

/// What signalling has agreed on about a tunnel.
#[derive(Clone, Debug)]
pub struct TunnelSettings {
    /// The other end.
    pub peer: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
    /// Our permanent addresses.
    pub local: VirtualAddresses,
    /// The peer's permanent addresses.
    pub remote: VirtualAddresses,
    /// What applications here call the peer's IPv4 address, where it collides with another's; else none.
    pub alias: Option<Ipv4Addr>,
    /// Where outer packets go: the peer, or the RS.
    pub next_hop: SocketAddr,
    /// Which end we are: [`Role::Mn`] or [`Role::Cn`].
    pub end: Role,
    /// The cipher.
    pub suite: CipherSuite,
    /// SPI of packets towards us.
    pub spi_in: Spi,
    /// SPI of packets towards the peer.
    pub spi_out: Spi,
}

impl TunnelSettings {
    fn far_end(&self) -> Role {
        if self.end == Role::Mn { Role::Cn } else { Role::Mn }
    }

    /// The key of packets towards us under `k_mncn` in the generation that `spi` bears.
    pub(super) fn key_in(&self, k_mncn: &Secret, spi: Spi) -> Result<EspKey, UnknownSuite> {
        EspKey::derive(k_mncn, self.suite, self.far_end(), spi)
    }

    /// The key of packets towards the peer under `k_mncn` in the generation that `spi` bears.
    pub(super) fn key_out(&self, k_mncn: &Secret, spi: Spi) -> Result<EspKey, UnknownSuite> {
        EspKey::derive(k_mncn, self.suite, self.end, spi)
    }
}
