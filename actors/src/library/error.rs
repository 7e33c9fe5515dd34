//! Why an application did not get what it asked its node for.

use super::destination::DestinationError;
use crate::driver::Gone;
use crate::server::StartError;
use ntmobile_ports::net::NetError;
use ntmobile_proto::node;
use ntmobile_wire::name::NameError;
use thiserror::Error;

/// Why a node could not join its network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The account is no account.
    #[error(transparent)]
    Account(#[from] NameError),
    /// The node could not be started on this host.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The network did not let it in.
    #[error(transparent)]
    Refused(#[from] node::JoinError),
    /// The node ended or started anew meanwhile.
    #[error("the node ended or started anew before it had joined")]
    Interrupted,
}

/// Why a tunnel could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// The name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The network did not give one.
    #[error(transparent)]
    Tunnel(#[from] node::ConnectError),
    /// The node started anew meanwhile.
    #[error("the node started anew meanwhile; try again")]
    Interrupted,
    /// The node is no more.
    #[error(transparent)]
    Gone(#[from] Gone),
}

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
