//! Where a node is and how it is woken: registration, keepalive, notification.

use crate::address::{DualStack, VirtualAddresses};
use crate::codec::{numbered, positional};
use crate::identifier::{ApplicationId, Session};
use crate::key::NamedKey;
use crate::name::Fqdn;
use std::net::SocketAddr;

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

numbered!(Reachability { 1 UdpKeepalive, 2 TcpNs, 3 Push });

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

positional!(RegistrationRequest { application, real, reachability, device_token, epoch });

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

positional!(RegistrationResponse { addresses, outer, lifetime_s, keepalive_s, notification, prefix_lengths });

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

positional!(NotificationAssignment { server, addresses, key, server_session, keepalive_s });

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

positional!(Keepalive { application, real, epoch });

/// *NTM ACK*, the general acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NtmAck {
    /// The address that the acknowledged datagram came from, where the sender wants to know.
    pub observed: Option<SocketAddr>,
}

positional!(NtmAck { observed });

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

positional!(NotificationDirection { node, application, key, lifetime_s, node_session });

/// *Notification Registration*: node → NS on TCP under K_ntmns; answered by *NTM ACK*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRegistration {
    /// The node.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
}

positional!(NotificationRegistration { node, application });

/// *Notification*, the wake-up: DC → NS under K_dcns, then NS → node on TCP under K_ntmns; each answered by *NTM ACK*,
/// the NS's only after the node's. It says nothing but that the node should pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The node to wake.
    pub node: Fqdn,
    /// Which of its applications.
    pub application: ApplicationId,
}

positional!(Notification { node, application });
