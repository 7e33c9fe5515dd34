//! Why an application did not get what it asked its node for.

use super::destination::DestinationError;
use crate::engine::LookupError;
use ntmobile_ports::net::NetError;
use thiserror::Error;

/// Why a connection could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// The destination is none.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// There is no tunnel to it.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The tunnel stands, but the peer did not take the connection.
    #[error("{0}")]
    Refused(#[source] NetError),
}
