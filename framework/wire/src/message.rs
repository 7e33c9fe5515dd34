//! Every message of the protocol as a value. How each is encoded is the business of the codec; who sends it, and under
//! which key, is said at each.

use crate::address::{DualStack, Leg, VirtualAddresses};
use crate::identifier::{ApplicationId, KeyId, Negotiation, Session, Spi};
use crate::key::{NamedKey, PublicKey, SecretText};
use crate::name::{Account, Fqdn};
use std::net::SocketAddr;

/// What a caller proves itself with at a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A password, inside TLS.
    Password(SecretText),
    /// Nothing more: the client certificate of the TLS connection is the proof.
    Certificate,
    /// The key of an earlier login that has not expired: `proof` is a MAC under it (re-login of `via-dc`).
    CurrentKey {
        /// The key that is proved.
        key_id: KeyId,
        /// HMAC-SHA256 under the re-login subkey over the account and the sender's session.
        proof: [u8; 32],
    },
}

/// The AS's signed statement that a public key belongs to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVoucher {
    /// The node.
    pub node: Fqdn,
    /// Its X25519 key for the `public-key` agreement.
    pub public_key: PublicKey,
    /// Seconds since the Unix epoch after which the voucher is void.
    pub not_after: u64,
    /// Ed25519 signature by the AS's voucher key over the three fields above.
    pub signature: [u8; 64],
}

/// *Login Request*: node → AS (`via-as`) or node → DC (`via-dc`), TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRequest {
    /// Who logs in.
    pub account: Account,
    /// The proof.
    pub credential: Credential,
    /// The application that logs in.
    pub application: ApplicationId,
    /// The node's key for the `public-key` agreement.
    pub public_key: PublicKey,
}

/// *Login Response*: what a node holds after a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginResponse {
    /// The node's name.
    pub node: Fqdn,
    /// K_ntmdc.
    pub key: NamedKey,
    /// How long K_ntmdc lives, in seconds.
    pub lifetime_s: u32,
    /// The session of the node's DC, so that its first message needs no challenge.
    pub dc_session: Session,
    /// The token for the Cache Server, opaque to the node; at most 256 bytes, empty when there is none.
    pub cs_token: Vec<u8>,
    /// The AS's statement about the node's public key.
    pub voucher: KeyVoucher,
    /// The Ed25519 key that verifies every voucher of the network.
    pub voucher_key: [u8; 32],
}

/// *Key Distribution*: AS → DC, mutual TLS (`via-as`); answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDistribution {
    /// The node that logged in.
    pub node: Fqdn,
    /// The application that logged in.
    pub application: ApplicationId,
    /// K_ntmdc.
    pub key: NamedKey,
    /// How long it lives, in seconds.
    pub lifetime_s: u32,
    /// The node's session.
    pub node_session: Session,
    /// The token that the DC hands on at a re-login.
    pub cs_token: Vec<u8>,
}

/// *Initial Data Request*: a new node asks the AS once for its DC (`via-dc`), TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialDataRequest {
    /// Who asks.
    pub account: Account,
    /// The proof; names of accounts are not given away.
    pub credential: Credential,
}

/// *Initial Data Response*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialDataResponse {
    /// The node's name.
    pub node: Fqdn,
    /// The domain whose NS record leads to the node's DC.
    pub domain: Fqdn,
}

/// *Authentication Request*: DC → AS, mutual TLS (`via-dc`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationRequest {
    /// The login to be decided.
    pub login: LoginRequest,
    /// The fingerprint (SHA-256) of the client certificate that the node showed to the DC, if it showed one.
    pub certificate: Option<[u8; 32]>,
}

/// *Authentication Response*: the AS vouches for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthenticationResponse {
    /// The node's name.
    pub node: Fqdn,
    /// See [`LoginResponse::cs_token`].
    pub cs_token: Vec<u8>,
    /// See [`LoginResponse::voucher`].
    pub voucher: KeyVoucher,
    /// See [`LoginResponse::voucher_key`].
    pub voucher_key: [u8; 32],
}

/// *Key Sharing*: first contact between two servers, mutual TLS; the requester makes the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySharingRequest {
    /// Which key of the table it is.
    pub purpose: SharedKeyPurpose,
    /// The requester's name, which its certificate must bear.
    pub requester: Fqdn,
    /// The key.
    pub key: NamedKey,
    /// How long it lives, in seconds.
    pub lifetime_s: u32,
}

/// The answer to *Key Sharing*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySharingResponse {
    /// The answering server's name.
    pub server: Fqdn,
}

/// Which server-to-server key is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKeyPurpose {
    /// K_dcdc.
    DcDc,
    /// K_dcrs.
    DcRs,
    /// K_dcns.
    DcNs,
    /// A purpose this version does not know.
    Unknown(u8),
}

/// How a node stays reachable for its DC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reachability {
    /// A keepalive datagram every 20 s.
    UdpKeepalive,
    /// A TCP connection to a Notification Server.
    TcpNs,
    /// A device token at a push service.
    Push,
    /// A strategy this version does not know.
    Unknown(u8),
}

/// *Registration Request*: node → DC under K_ntmdc, at start and at every change of network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRequest {
    /// The application that registers.
    pub application: ApplicationId,
    /// The addresses and ports the node itself sends from, at most 8; the first is the one this message leaves from.
    pub real: Vec<SocketAddr>,
    /// The reachability it wants.
    pub reachability: Reachability,
    /// For [`Reachability::Push`]; at most 256 bytes, else empty.
    pub device_token: Vec<u8>,
    /// Counts the node's registrations in this session, so that a late one never overwrites a newer one.
    pub epoch: u32,
}

/// *Registration Response*: DC → node under K_ntmdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationResponse {
    /// The permanent addresses.
    pub addresses: VirtualAddresses,
    /// Where the DC saw the request come from.
    pub outer: SocketAddr,
    /// How long the registration holds without being refreshed, in seconds.
    pub lifetime_s: u32,
    /// How often to send *Keepalive*, in seconds; 0 for never.
    pub keepalive_s: u32,
    /// The Notification Server to register with, when one was asked for.
    pub notification: Option<NotificationAssignment>,
    /// The virtual prefixes of the domain: IPv4 length and IPv6 length in bits.
    pub prefix_lengths: (u8, u8),
}

/// Where and how a node registers for notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationAssignment {
    /// FQDN_ns.
    pub server: Fqdn,
    /// Its TCP addresses.
    pub addresses: DualStack,
    /// K_ntmns.
    pub key: NamedKey,
    /// The NS's session.
    pub server_session: Session,
    /// How often to send a keepalive on the connection, in seconds (default 3,600).
    pub keepalive_s: u32,
}

/// *Keepalive*: node → DC under K_ntmdc, and node → NS on TCP under K_ntmns; answered by *NTM ACK* with the address seen.
/// Sent from a second address family it also registers that leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The application that keeps itself reachable.
    pub application: ApplicationId,
    /// The address and port the node itself sends from.
    pub real: SocketAddr,
    /// The epoch of the registration that is kept alive.
    pub epoch: u32,
}

/// *NTM ACK*, the general acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NtmAck {
    /// The address that the acknowledged datagram came from, where the sender wants to know.
    pub observed: Option<SocketAddr>,
}

/// *Notification Direction*: DC → NS under K_dcns, announces a node; answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationDirection {
    /// The node that will connect.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
    /// K_ntmns.
    pub key: NamedKey,
    /// How long it lives, in seconds.
    pub lifetime_s: u32,
    /// The node's session.
    pub node_session: Session,
}

/// *Notification Registration*: node → NS on TCP under K_ntmns; answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRegistration {
    /// The node.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
}

/// *Notification*, the wake-up: DC → NS under K_dcns, then NS → node on TCP under K_ntmns; each answered by *NTM ACK*,
/// the NS's only after the node's. It says nothing but that the node should pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The node to wake.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
}

/// A public key as it travels to the peer: with the AS's statement about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKeyOffer {
    /// The statement, key included.
    pub voucher: KeyVoucher,
}

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

/// *Direction Request*: MN → DC_MN under K_ntmdc. The Route Direction to MN completes it, or a [`Refusal`].
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

/// *Node Information Response*: DC_CN → DC_MN under K_dcdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInformationResponse {
    /// What the path is decided from.
    pub node: NodeInformation,
}

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
    /// The other end's public key, where one is used and known already.
    pub peer_public_key: Option<PublicKeyOffer>,
    /// SPI of packets towards this end.
    pub spi_in: Spi,
    /// SPI of packets towards the other end.
    pub spi_out: Spi,
    /// How long an idle tunnel is held, in seconds.
    pub idle_s: u32,
}

/// *Route Direction Acknowledge*: the end → its DC under K_ntmdc, and DC_CN → DC_MN under K_dcdc ([004]: Route Direction
/// Response, CN was woken).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionAcknowledge {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// CN's public key, for [`KeyAgreement::PublicKey`].
    pub public_key: Option<PublicKeyOffer>,
}

/// *Route Direction Request*: a woken node pulls, node → DC under K_ntmdc.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionRequest {
    /// The application that was woken.
    pub application: ApplicationId,
}

/// *Route Direction Response*: what waits for the node, if anything; more may wait behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteDirectionResponse {
    /// The direction.
    pub direction: Option<Box<RouteDirection>>,
    /// How many more wait.
    pub waiting: u8,
}

/// *Relay Direction*: DC_MN → RS under K_dcrs.
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

/// *Relay Response*: RS → DC_MN under K_dcrs, in `rendezvous`; in `forwarded` it is *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayResponse {
    /// The negotiation.
    pub negotiation: Negotiation,
}

/// *Hole Punching*: node → RS under K_tun; proves and opens the leg. Answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolePunching {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// SPI of packets towards the sender: which leg it opens.
    pub spi_in: Spi,
}

/// *Tunnel Request*: end → end, or end → RS, under K_tun or K_tmp by [`TunnelProtection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelRequest {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// Which end sends.
    pub end: TunnelEnd,
    /// K_mncn, wrapped by the agreement and protection; empty where the sender is not the one that carries it.
    pub wrapped_key: Vec<u8>,
}

/// *Tunnel Response*: sealed with K_mncn when it comes from the peer, with K_tun when it comes from the RS (`rendezvous`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunnelResponse {
    /// The negotiation.
    pub negotiation: Negotiation,
    /// The other end's content, where the RS hands it over.
    pub wrapped_key: Vec<u8>,
}

/// *Source Unknown*: RS → node, unsealed: a known SPI came from an address that has not proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUnknown {
    /// The SPI that came.
    pub spi: Spi,
}

/// *Session Challenge*: a session not seen before must echo before it is believed; under the key of the message that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionChallenge {
    /// What to echo.
    pub nonce: [u8; 16],
}

/// *Session Echo*: the answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEcho {
    /// What was challenged with.
    pub nonce: [u8; 16],
}

/// *Rekey Request*: end → end inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyRequest {
    /// The generation that the new key belongs to.
    pub generation: u8,
    /// The fresh K_mncn, protected by the tunnel that carries it and, with `public-key`, sealed to the peer again.
    pub wrapped_key: Vec<u8>,
}

/// *Rekey Response*: the peer accepts the generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RekeyResponse {
    /// The generation.
    pub generation: u8,
}

/// *Close*: the tunnel is no longer wanted, inside the tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close;

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalCode {
    /// No such name.
    NoSuchName,
    /// The credentials are wrong, or the account does not exist.
    WrongCredentials,
    /// The peer is registered but could not be woken.
    PeerAsleep,
    /// The peer has never registered, or its registration ran out.
    PeerNotRegistered,
    /// A relay is needed and none is to be had.
    NoRelay,
    /// The key has expired.
    ExpiredKey,
    /// The SPI is in use: draw again.
    SpiInUse,
    /// The other end's negotiation goes first; wait for its tunnel.
    Superseded,
    /// A server that is needed did not answer.
    ServerUnreachable,
    /// The peer's or a server's store failed.
    StorageFailed,
    /// The sender may not ask this.
    NotAllowed,
    /// The server is full; try again later.
    Overloaded,
    /// The message is understood but something in it is not supported.
    Unsupported,
    /// A code this version does not know.
    Unknown(u8),
}

/// A typed refusal in place of an answer, under the key of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// For people, at most 120 bytes.
    pub detail: String,
    /// The negotiation it ends, where it belongs to one.
    pub negotiation: Option<Negotiation>,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $number:literal $name:ident $label:literal,)*) => {
        /// Every message, by type.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Message {
            $($(#[$doc])* $name($name),)*
        }

        impl Message {
            /// Type number on the wire.
            pub fn kind(&self) -> u8 {
                match self { $(Self::$name(_) => $number,)* }
            }

            /// The message's name in the papers; also its span's name.
            pub fn label(&self) -> &'static str {
                match self { $(Self::$name(_) => $label,)* }
            }
        }

        $(impl From<$name> for Message {
            fn from(message: $name) -> Self { Self::$name(message) }
        })*
    };
}

messages! {
    /// TLS.
    1 LoginRequest "Login Request",
    /// TLS.
    2 LoginResponse "Login Response",
    /// TLS.
    3 KeyDistribution "Key Distribution",
    /// TLS.
    4 InitialDataRequest "Initial Data Request",
    /// TLS.
    5 InitialDataResponse "Initial Data Response",
    /// TLS.
    6 AuthenticationRequest "Authentication Request",
    /// TLS.
    7 AuthenticationResponse "Authentication Response",
    /// TLS.
    8 KeySharingRequest "Key Sharing Request",
    /// TLS.
    9 KeySharingResponse "Key Sharing Response",
    /// Everywhere.
    16 NtmAck "NTM ACK",
    /// Everywhere.
    17 Refusal "Refusal",
    /// Under any named key.
    18 SessionChallenge "Session Challenge",
    /// Under any named key.
    19 SessionEcho "Session Echo",
    /// K_ntmdc.
    32 RegistrationRequest "Registration Request",
    /// K_ntmdc.
    33 RegistrationResponse "Registration Response",
    /// K_ntmdc, K_ntmns.
    34 Keepalive "Keepalive",
    /// K_dcns.
    35 NotificationDirection "Notification Direction",
    /// K_ntmns.
    36 NotificationRegistration "Notification Registration",
    /// K_dcns, K_ntmns.
    37 Notification "Notification",
    /// K_ntmdc.
    48 DirectionRequest "Direction Request",
    /// K_dcdc.
    49 NodeInformationRequest "Node Information Request",
    /// K_dcdc.
    50 NodeInformationResponse "Node Information Response",
    /// K_dcdc, K_ntmdc.
    51 RouteDirection "Route Direction",
    /// K_ntmdc, K_dcdc.
    52 RouteDirectionAcknowledge "Route Direction Acknowledge",
    /// K_ntmdc.
    53 RouteDirectionRequest "Route Direction Request",
    /// K_ntmdc.
    54 RouteDirectionResponse "Route Direction Response",
    /// K_dcrs.
    55 RelayDirection "Relay Direction",
    /// K_dcrs.
    56 RelayResponse "Relay Response",
    /// K_tun.
    64 HolePunching "Hole Punching",
    /// K_tun, K_tmp.
    65 TunnelRequest "Tunnel Request",
    /// K_mncn, K_tun.
    66 TunnelResponse "Tunnel Response",
    /// Unsealed.
    67 SourceUnknown "Source Unknown",
    /// Inside the tunnel.
    80 RekeyRequest "Rekey Request",
    /// Inside the tunnel.
    81 RekeyResponse "Rekey Response",
    /// Inside the tunnel.
    82 Close "Close",
}
