//! What an NS tells whoever runs it.

use crate::endpoint::Peer;
use crate::machine::StoreFailure;
use ntmobile_wire::name::Fqdn;
use std::fmt;

/// What an NS tells whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotificationServerEvent {
    /// A DC has shared a key: it may announce its nodes.
    KeyShared {
        /// Which.
        coordinator: Fqdn,
    },
    /// A DC has announced a node, which may connect from now on.
    Announced {
        /// Which DC.
        coordinator: Fqdn,
        /// Which node.
        node: Peer,
    },
    /// A node waits on its connection.
    Connected {
        /// Which.
        node: Peer,
    },
    /// A node's connection is gone.
    Disconnected {
        /// Which.
        node: Peer,
    },
    /// A node was woken and has answered.
    Woken {
        /// Which.
        node: Peer,
    },
    /// A node was woken and has not answered.
    NotWoken {
        /// Which.
        node: Peer,
    },
    /// The store did not take something.
    StoreFailed(StoreFailure),
}

impl fmt::Display for NotificationServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyShared { coordinator } => write!(f, "{coordinator} has shared a key"),
            Self::Announced { coordinator, node } => write!(f, "{coordinator} has announced {node}"),
            Self::Connected { node } => write!(f, "{node} waits on its connection"),
            Self::Disconnected { node } => write!(f, "{node}'s connection is gone"),
            Self::Woken { node } => write!(f, "{node} was woken"),
            Self::NotWoken { node } => write!(f, "{node} did not wake"),
            Self::StoreFailed(failure) => failure.fmt(f),
        }
    }
}
