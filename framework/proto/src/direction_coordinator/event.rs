//! What a DC tells whoever runs it.

use crate::endpoint::Peer;
use crate::machine::StoreFailure;
use ntmobile_wire::message::RefusalCode;
use ntmobile_wire::name::Fqdn;
use std::fmt;

/// What a DC tells whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectionCoordinatorEvent {
    /// A node has a key to register with: from the AS (`via-as`) or made here (`via-dc`).
    LoggedIn {
        /// The node and its application.
        node: Peer,
    },
    /// A node has registered, or registered again.
    Registered {
        /// The node and its application.
        node: Peer,
    },
    /// A Notification Server keeps a node reachable.
    Assigned {
        /// The node and its application.
        node: Peer,
        /// The Notification Server.
        server: Fqdn,
    },
    /// A key is shared with another server.
    KeyShared {
        /// Which.
        server: Fqdn,
    },
    /// A path has been decided.
    Decided {
        /// The end that started.
        mn: Fqdn,
        /// The end that is called.
        cn: Fqdn,
        /// The relay, where one is used.
        relay: Option<Fqdn>,
        /// Which rule decided.
        because: &'static str,
    },
    /// A tunnel cannot be had.
    DirectionFailed {
        /// The end that started.
        mn: Fqdn,
        /// The end that is called.
        cn: Fqdn,
        /// Why.
        code: RefusalCode,
        /// Why, for people.
        detail: String,
    },
    /// The store did not take something.
    StoreFailed(StoreFailure),
}

impl fmt::Display for DirectionCoordinatorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LoggedIn { node } => write!(f, "{node} has logged in"),
            Self::Registered { node } => write!(f, "{node} has registered"),
            Self::Assigned { node, server } => write!(f, "{server} keeps {node} reachable"),
            Self::KeyShared { server } => write!(f, "a key is shared with {server}"),
            Self::Decided { mn, cn, relay: None, because } => write!(f, "{mn} to {cn} goes directly: {because}"),
            Self::Decided { mn, cn, relay: Some(relay), because } => {
                write!(f, "{mn} to {cn} goes by {relay}: {because}")
            }
            Self::DirectionFailed { mn, cn, code, detail } => write!(f, "{mn} to {cn} cannot be: {detail} ({code:?})"),
            Self::StoreFailed(failure) => failure.fmt(f),
        }
    }
}
