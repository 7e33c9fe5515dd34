//! What an application asks of its node, and what the node tells it.

use super::Attempt;
use crate::endpoint::Peer;
use crate::machine::CertificateFault;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::message::{Refusal, RefusalCode};
use ntmobile_wire::name::Fqdn;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// What is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeCommand {
    /// Log in and register; told by [`NodeEvent::Joined`] or [`NodeEvent::JoinFailed`].
    Join,
    /// See that a tunnel to this peer stands; told by [`NodeEvent::Connected`] or [`NodeEvent::ConnectFailed`].
    Connect {
        /// Whom the outcome is for.
        waiter: u64,
        /// The peer's name.
        peer: Fqdn,
        /// Which of its applications; 0 for its default.
        application: ApplicationId,
    },
    /// Find out how long a round trip to this peer takes, if a tunnel to it stands; told by [`NodeEvent::RoundTrip`], unless the
    /// question or its answer is lost.
    Measure {
        /// The peer.
        peer: Peer,
    },
    /// Close every tunnel and stop keeping reachable.
    Leave,
}

/// Why a node could not join.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The AS or DC did not accept the credential.
    #[error("the account or its credential is wrong; check both, or ask whoever runs the network for an account")]
    WrongCredentials,
    /// The AS cannot be reached.
    #[error("the Account Server cannot be reached ({0}); check the network and the server's name")]
    AccountServerUnreachable(String),
    /// A server's certificate was refused, or this node's was.
    #[error("{server} cannot be trusted: {fault}")]
    CertificateRefused {
        /// The AS or the DC.
        server: Fqdn,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// The DC cannot be found in DNS.
    #[error("the domain's Direction Coordinator cannot be found ({0}); check the account's domain and DNS")]
    CoordinatorNotFound(String),
    /// The DC cannot be reached.
    #[error("the Direction Coordinator cannot be reached ({0}); try again later")]
    CoordinatorUnreachable(String),
    /// No Notification Server serves this node.
    #[error("no Notification Server can be reached ({0}); use udp-keepalive or try again later")]
    NotificationServerUnreachable(String),
    /// A server cannot store what it would have to remember of this node.
    #[error("a server of the network cannot store anything ({0}); try again when its operator has made room")]
    StorageFailed(String),
    /// The host has no network.
    #[error("the host has no usable address; connect it to a network")]
    NoAddress,
    /// The application left before the node had joined.
    #[error("the node was told to leave before it had joined")]
    Left,
    /// Any other refusal.
    #[error("refused: {} ({:?})", .0.detail, .0.code)]
    Refused(Refusal),
}

/// Why a tunnel could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The node is not logged in and registered.
    #[error("this node has not joined the network yet")]
    NotJoined,
    /// No node of the network bears this name.
    #[error("no node is named {0}; check the spelling")]
    NoSuchName(Fqdn),
    /// The peer is registered but does not wake.
    #[error("{0} is asleep and could not be woken; try again later")]
    PeerAsleep(Fqdn),
    /// The peer is not registered.
    #[error("{0} is not connected to the network now")]
    PeerNotRegistered(Fqdn),
    /// A relay is needed and none answers.
    #[error("no direct path exists and no Relay Server answers")]
    NoRelay,
    /// A server that is needed does not answer.
    #[error("a server that is needed does not answer ({0}); try again later")]
    ServerUnreachable(String),
    /// A server that is needed cannot store what it would have to remember.
    #[error("a server that is needed cannot store anything ({0}); try again when its operator has made room")]
    StorageFailed(String),
    /// A step of the sequence was not answered in time.
    #[error("timed out at {step}")]
    TimedOut {
        /// The message that was not answered.
        step: &'static str,
    },
    /// The peer's key is not vouched for, or its content does not open.
    #[error("the tunnel key could not be agreed: {0}")]
    KeyAgreement(String),
    /// Any other refusal.
    #[error("refused: {} ({:?})", .0.detail, .0.code)]
    Refused(Refusal),
}

impl ConnectError {
    pub(super) fn from_refusal(peer: &Fqdn, refusal: Refusal) -> Self {
        match refusal.code {
            RefusalCode::NoSuchName => Self::NoSuchName(peer.clone()),
            RefusalCode::PeerAsleep => Self::PeerAsleep(peer.clone()),
            RefusalCode::PeerNotRegistered => Self::PeerNotRegistered(peer.clone()),
            RefusalCode::NoRelay => Self::NoRelay,
            RefusalCode::ServerUnreachable => Self::ServerUnreachable(refusal.detail),
            RefusalCode::StorageFailed => Self::StorageFailed(refusal.detail),
            _ => Self::Refused(refusal),
        }
    }
}

/// A tunnel as an application sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The peer and its application.
    pub peer: Peer,
    /// The peer's permanent addresses.
    pub addresses: VirtualAddresses,
    /// The relay, where the path goes through one.
    pub relay: Option<Fqdn>,
    /// Where packets are sent to.
    pub remote: SocketAddr,
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |connection: &Connection| match &connection.relay {
            Some(relay) => format!("by {relay}"),
            None => "directly".to_owned(),
        };
        match self {
            Self::Joined { node, addresses } => {
                write!(f, "joined as {node} with {} and {}", addresses.v4, addresses.v6)
            }
            Self::JoinFailed(error) => write!(f, "could not join: {error}"),
            Self::Registered { outer } => write!(f, "registered again, seen at {outer}"),
            Self::AddressesChanged { before, now } => write!(
                f,
                "has other addresses, {} and {} instead of {} and {}: its Direction Coordinator has lost its store",
                now.v4, now.v6, before.v4, before.v6
            ),
            Self::RegistrationLost(error) => write!(f, "lost its registration: {error}"),
            Self::Connected { connection, .. } => write!(f, "reaches {} {}", connection.peer, by(connection)),
            Self::ConnectFailed { error, .. } => write!(f, "found no way: {error}"),
            Self::TunnelBuilt { connection, handover: false, .. } => {
                write!(f, "has a tunnel to {} {}", connection.peer, by(connection))
            }
            Self::TunnelBuilt { connection, handover: true, .. } => {
                write!(f, "has moved its tunnel to {}, which goes {}", connection.peer, by(connection))
            }
            Self::TunnelFailed { peer, error, .. } => write!(f, "has found no way to {peer}: {error}"),
            Self::RoundTrip { peer, took } => write!(f, "is {} µs from {peer} and back", took.as_micros()),
            Self::TunnelClosed { peer, reason } => write!(f, "has no tunnel to {peer} any more: {reason}"),
        }
    }
}

/// What a node tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The node is logged in and registered.
    Joined {
        /// Its name.
        node: Fqdn,
        /// Its permanent addresses.
        addresses: VirtualAddresses,
    },
    /// The node could not join; it does not try any more by itself.
    JoinFailed(JoinError),
    /// The node is registered again, after a move or because the DC asked for it.
    Registered {
        /// Where the DC sees it.
        outer: SocketAddr,
    },
    /// The DC has allotted other permanent addresses: it has lost its store. Whoever remembers the old ones reaches nobody, or
    /// somebody else.
    AddressesChanged {
        /// Those that the node had.
        before: VirtualAddresses,
        /// Those that it has now.
        now: VirtualAddresses,
    },
    /// The node cannot reach its DC at present; it goes on trying.
    RegistrationLost(JoinError),
    /// A tunnel stands.
    Connected {
        /// Whom it is for.
        waiter: u64,
        /// The tunnel.
        connection: Connection,
    },
    /// A tunnel could not be had.
    ConnectFailed {
        /// Whom it is for.
        waiter: u64,
        /// Why.
        error: ConnectError,
    },
    /// A tunnel was built or built anew, whoever asked for it.
    TunnelBuilt {
        /// The tunnel.
        connection: Connection,
        /// Whether it replaces one, after a move.
        handover: bool,
        /// How long that took: since it was asked for, or since this end noticed that it had moved.
        took: Duration,
        /// What was tried until it stood; the last of it succeeded.
        attempts: Vec<Attempt>,
    },
    /// A tunnel did not come about, whoever asked for it.
    TunnelFailed {
        /// The peer.
        peer: Peer,
        /// Why.
        error: ConnectError,
        /// What was tried.
        attempts: Vec<Attempt>,
    },
    /// What [`NodeCommand::Measure`] has found.
    RoundTrip {
        /// The peer.
        peer: Peer,
        /// From the question to the answer, inside the tunnel.
        took: Duration,
    },
    /// A tunnel is gone.
    TunnelClosed {
        /// The peer.
        peer: Peer,
        /// Why, in a word: `idle`, `closed`, `handover failed`, `left`, `peer silent`.
        reason: &'static str,
    },
}
