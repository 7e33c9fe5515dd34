//! How a tunnel is built and kept: relays, hole punching, Tunnel Request, sessions, and control inside the tunnel.

use super::direction::{RelayHandshake, TunnelEnd};
use crate::address::DualStack;
use crate::codec::positional;
use crate::identifier::{Negotiation, Session, Spi};
use crate::key::NamedKey;
use crate::name::Fqdn;

/// *Relay Direction*: DC_MN → RS under K_dcrs. Also DC_MN → DC_CN under K_dcdc, where DC_MN has no RS: DC_CN directs one of
/// its own with it and answers *Relay Assignment*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayDirection {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// How the ends meet.
    pub handshake: RelayHandshake,
    /// K_tun.
    pub k_tun: NamedKey,
    /// SPI of packets towards MN.
    pub spi_mn: Spi,
    /// SPI of packets towards CN.
    pub spi_cn: Spi,
    /// MN's session.
    pub mn_session: Session,
    /// CN's session.
    pub cn_session: Session,
    /// How long an idle relay entry is held, in seconds.
    pub idle_s: u32,
}

positional!(RelayDirection { negotiation, handshake, k_tun, spi_mn, spi_cn, mn_session, cn_session, idle_s });

/// *Relay Response*: RS → DC_MN under K_dcrs, in `rendezvous`; in `forwarded` it is *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayResponse {
    /// The negotiation.
    pub negotiation: Negotiation,
}

positional!(RelayResponse { negotiation });

/// *Relay Assignment*: DC_CN → DC_MN under K_dcdc: the RS that relays the tunnel of a *Relay Direction* between DCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAssignment {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// FQDN_RS.
    pub relay: Fqdn,
    /// Where it listens.
    pub addresses: DualStack,
    /// Its session.
    pub session: Session,
}

positional!(RelayAssignment { negotiation, relay, addresses, session });

/// *Hole Punching*: node → RS under K_tun; proves and opens the leg. Answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolePunching {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// SPI of packets towards the sender: which leg it opens.
    pub spi_in: Spi,
}

positional!(HolePunching { negotiation, spi_in });

/// *Tunnel Request*: end → end, or end → RS, under K_tun or K_tmp by [`TunnelProtection`](super::TunnelProtection).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRequest {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// Which end sends.
    pub end: TunnelEnd,
    /// K_mncn, wrapped by the agreement and protection; empty where the sender is not the one that carries it.
    pub wrapped_key: Vec<u8>,
}

positional!(TunnelRequest { negotiation, end, wrapped_key });

/// *Tunnel Response*: sealed with K_mncn when it comes from the peer, with K_tun when it comes from the RS (`rendezvous`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelResponse {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// The other end's content, where the RS hands it over.
    pub wrapped_key: Vec<u8>,
}

positional!(TunnelResponse { negotiation, wrapped_key });

/// *Source Unknown*: RS → node, unsealed: a known SPI came from an address that has not proved itself. Node → node, unsealed:
/// a packet came whose SPI no tunnel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUnknown {
    /// The SPI that came.
    pub spi: Spi,
}

positional!(SourceUnknown { spi });

/// *Session Challenge*: a session not seen before must echo before it is believed; under the key of the message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChallenge {
    /// What to echo.
    pub nonce: [u8; 16],
}

positional!(SessionChallenge { nonce });

/// *Session Echo*: the answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEcho {
    /// What was challenged with.
    pub nonce: [u8; 16],
}

positional!(SessionEcho { nonce });

/// *Rekey Request*: end → end inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyRequest {
    /// The generation that the new key belongs to.
    pub generation: u8,
    /// The fresh K_mncn, protected by the tunnel that carries it and, with `public-key`, sealed to the peer again.
    pub wrapped_key: Vec<u8>,
}

positional!(RekeyRequest { generation, wrapped_key });

/// *Rekey Response*: the peer accepts the generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyResponse {
    /// The generation.
    pub generation: u8,
}

positional!(RekeyResponse { generation });

/// *Close*: the tunnel is no longer wanted, inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close;

positional!(Close {});

/// *Tunnel Probe*: end → end inside the tunnel: is anybody there? Answered by *NTM ACK* inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelProbe;

positional!(TunnelProbe {});
