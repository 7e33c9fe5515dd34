//! What an RS tells whoever runs it.

use crate::machine::StoreFailure;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::RefusalCode;
use ntmobile_wire::name::Fqdn;
use std::fmt;

/// What an RS tells whoever runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayServerEvent {
    /// A DC has shared a key: it may have tunnels relayed.
    KeyShared {
        /// Which.
        coordinator: Fqdn,
    },
    /// A tunnel is relayed from now on.
    Installed {
        /// For which DC.
        coordinator: Fqdn,
        /// Both directions of the tunnel, MN's first.
        spis: (Spi, Spi),
    },
    /// Nothing has gone through a tunnel for its time: it is relayed no longer.
    Expired {
        /// Both directions of the tunnel, MN's first.
        spis: (Spi, Spi),
    },
    /// A DC may not have a tunnel relayed.
    Refused {
        /// Which.
        coordinator: Fqdn,
        /// Why.
        code: RefusalCode,
        /// Why, for people.
        detail: String,
    },
    /// The store did not take something.
    StoreFailed(StoreFailure),
}

impl fmt::Display for RelayServerEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyShared { coordinator } => write!(f, "{coordinator} has shared a key"),
            Self::Installed { coordinator, spis: (mn, cn) } => {
                write!(f, "the tunnel {mn} / {cn} is relayed for {coordinator}")
            }
            Self::Expired { spis: (mn, cn) } => write!(f, "the tunnel {mn} / {cn} was idle and is relayed no longer"),
            Self::Refused { coordinator, code, detail } => {
                write!(f, "no tunnel is relayed for {coordinator}: {detail} ({code:?})")
            }
            Self::StoreFailed(failure) => failure.fmt(f),
        }
    }
}
