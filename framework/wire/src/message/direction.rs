//! How a tunnel is directed: Direction Request, Node Information, Route Direction.

use super::login::KeyVoucher;
use super::registration::Reachability;
use crate::address::{DualStack, Leg, VirtualAddresses};
use crate::codec::{Decode, DecodeError, Encode, Reader, Writer, numbered, positional};
use crate::identifier::{ApplicationId, Negotiation, Session, Spi};
use crate::key::NamedKey;
use crate::name::Fqdn;
use std::net::SocketAddr;

/// A public key as it travels to the peer: with the AS's statement about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeyOffer {
    /// The statement, key included.
    pub voucher: KeyVoucher,
}

positional!(PublicKeyOffer { voucher });

/// Why a tunnel is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectionReason {
    /// An application wants to talk.
    NewTunnel,
    /// This end has moved: build the tunnel again.
    Handover,
    /// The direct path did not come about: relay.
    DirectFailed,
    /// A reason this version does not know.
    Unknown(u8),
}

numbered!(DirectionReason { 1 NewTunnel, 2 Handover, 3 DirectFailed });

/// *Direction Request*: MN → DC_MN under K_ntmdc. The Route Direction to MN completes it, or a [`Refusal`](super::Refusal).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectionRequest {
    /// FQDN_CN.
    pub peer: Fqdn,
    /// The application that asks.
    pub application: ApplicationId,
    /// The peer's application that is wanted; 0 for its default.
    pub peer_application: ApplicationId,
    /// Why.
    pub reason: DirectionReason,
    /// How the tunnel key is to be agreed.
    pub agreement: KeyAgreement,
    /// How Tunnel Request is to be protected.
    pub protection: TunnelProtection,
    /// Data ciphers this node runs well, best first.
    pub suite: CipherSuite,
    /// MN's public key, for [`KeyAgreement::PublicKey`].
    pub public_key: Option<PublicKeyOffer>,
}

positional!(DirectionRequest { peer, application, peer_application, reason, agreement, protection, suite, public_key });

/// *Node Information Request*: DC_MN → DC_CN under K_dcdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInformationRequest {
    /// FQDN_CN.
    pub peer: Fqdn,
    /// The application that is wanted.
    pub peer_application: ApplicationId,
    /// FQDN_MN.
    pub requester: Fqdn,
}

positional!(NodeInformationRequest { peer, peer_application, requester });

/// *Node Information Response*: DC_CN → DC_MN under K_dcdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInformationResponse {
    /// What the path is decided from.
    pub node: NodeInformation,
}

positional!(NodeInformationResponse { node });

/// What a DC knows of one of its nodes and tells the DC that directs a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInformation {
    /// The node.
    pub node: Fqdn,
    /// The application that answers.
    pub application: ApplicationId,
    /// Every leg that is registered, at most 4.
    pub legs: Vec<Leg>,
    /// Addresses the node has but no DC has seen, at most 8.
    pub real: Vec<SocketAddr>,
    /// How it is woken.
    pub reachability: Reachability,
    /// Its permanent addresses.
    pub addresses: VirtualAddresses,
    /// Its session.
    pub session: Session,
}

positional!(NodeInformation { node, application, legs, real, reachability, addresses, session });

/// How K_mncn comes to both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAgreement {
    /// Wrapped in K_tmp.
    KTmp,
    /// Sealed to the peer's public key.
    PublicKey,
    /// An agreement this version does not know.
    Unknown(u8),
}

numbered!(KeyAgreement { 1 KTmp, 2 PublicKey });

/// How Tunnel Request is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelProtection {
    /// K_tun outside, K_tmp inside, always.
    TwoKeys,
    /// Direct: one temporary key seals it. Relayed: the RS key outside, the temporary key inside.
    OneKey,
    /// A protection this version does not know.
    Unknown(u8),
}

numbered!(TunnelProtection { 1 TwoKeys, 2 OneKey });

/// How two ends meet at an RS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RelayHandshake {
    /// CN opens its leg by Hole Punching; Tunnel Request and Response are forwarded as they are.
    Forwarded,
    /// Both send Tunnel Request to the RS, which hands each content to the other as Tunnel Response.
    Rendezvous,
    /// A handshake this version does not know.
    Unknown(u8),
}

numbered!(RelayHandshake { 1 Forwarded, 2 Rendezvous });

/// The cipher of application packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CipherSuite {
    /// AES-128-GCM with a 16-octet ICV (RFC 4106).
    Aes128Gcm,
    /// ChaCha20-Poly1305 (RFC 7634).
    ChaCha20Poly1305,
    /// A suite this version does not know.
    Unknown(u8),
}

numbered!(CipherSuite { 1 Aes128Gcm, 2 ChaCha20Poly1305 });

/// Which end of the negotiation a Route Direction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelEnd {
    /// The end that started.
    Mn,
    /// The end that is called.
    Cn,
    /// An end this version does not know.
    Unknown(u8),
}

numbered!(TunnelEnd { 1 Mn, 2 Cn });

/// What an end does with Tunnel Request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TunnelAction {
    /// Send Tunnel Request.
    Send,
    /// Await it; where a relay is used with `forwarded`, open the leg by Hole Punching first.
    Await,
    /// An action this version does not know.
    Unknown(u8),
}

numbered!(TunnelAction { 1 Send, 2 Await });

/// Which way the packets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Straight to the peer: the addresses to try, best first, at most 8.
    Direct {
        /// Where the peer is.
        candidates: Vec<SocketAddr>,
    },
    /// Through a relay.
    Relayed {
        /// FQDN_RS.
        relay: Fqdn,
        /// Where it listens.
        addresses: DualStack,
        /// Its session.
        session: Session,
        /// How the ends meet there.
        handshake: RelayHandshake,
    },
}

/// *Route Direction*: DC_MN → DC_CN under K_dcdc, then DC → node under K_ntmdc. Answered by *Route Direction Acknowledge*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirection {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// Which end this copy is for.
    pub end: TunnelEnd,
    /// What it is to do.
    pub action: TunnelAction,
    /// The end it is for.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
    /// The other end.
    pub peer: Fqdn,
    /// Which of the other end's applications.
    pub peer_application: ApplicationId,
    /// The other end's permanent addresses.
    pub peer_addresses: VirtualAddresses,
    /// The other end's session.
    pub peer_session: Session,
    /// Which way.
    pub route: Route,
    /// Why it was asked for.
    pub reason: DirectionReason,
    /// How Tunnel Request is protected.
    pub protection: TunnelProtection,
    /// How K_mncn is agreed.
    pub agreement: KeyAgreement,
    /// The cipher of application packets.
    pub suite: CipherSuite,
    /// K_tun. Absent where `one-key` needs none (direct).
    pub k_tun: Option<NamedKey>,
    /// K_tmp; never shown to an RS.
    pub k_tmp: NamedKey,
    /// The other end's public key, where one is used and known already. The voucher names `peer`: with a fourth name of
    /// full length the message would not fit a datagram.
    pub peer_public_key: Option<PublicKeyOffer>,
    /// SPI of packets towards this end.
    pub spi_in: Spi,
    /// SPI of packets towards the other end.
    pub spi_out: Spi,
    /// How long an idle tunnel is held, in seconds.
    pub idle_s: u32,
}

positional!(RouteDirection {
    negotiation,
    end,
    action,
    node,
    application,
    peer,
    peer_application,
    peer_addresses,
    peer_session,
    route,
    reason,
    protection,
    agreement,
    suite,
    k_tun,
    k_tmp,
    peer_public_key,
    spi_in,
    spi_out,
    idle_s
});

/// *Route Direction Acknowledge*: the end → its DC under K_ntmdc, and DC_CN → DC_MN under K_dcdc. The smartphone paper
/// calls it Route Direction Response: CN was woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionAcknowledge {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// CN's public key, for [`KeyAgreement::PublicKey`].
    pub public_key: Option<PublicKeyOffer>,
}

positional!(RouteDirectionAcknowledge { negotiation, public_key });

/// *Route Direction Request*: a woken node pulls, node → DC under K_ntmdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionRequest {
    /// The application that was woken.
    pub application: ApplicationId,
}

positional!(RouteDirectionRequest { application });

/// *Route Direction Response*: what waits for the node, if anything; more may wait behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionResponse {
    /// The direction.
    pub direction: Option<Box<RouteDirection>>,
    /// How many more wait.
    pub waiting: u8,
}

positional!(RouteDirectionResponse { direction, waiting });

impl Encode for Route {
    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Direct { candidates } => {
                writer.put(&[1]);
                writer.write(candidates);
            }
            Self::Relayed { relay, addresses, session, handshake } => {
                writer.put(&[2]);
                writer.write(relay);
                writer.write(addresses);
                writer.write(session);
                writer.write(handshake);
            }
        }
    }
}

impl Decode for Route {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.read()? {
            1 => Ok(Self::Direct { candidates: reader.read()? }),
            2 => Ok(Self::Relayed {
                relay: reader.read()?,
                addresses: reader.read()?,
                session: reader.read()?,
                handshake: reader.read()?,
            }),
            number => Err(DecodeError::UnknownVariant { what: "a route", number }),
        }
    }
}
