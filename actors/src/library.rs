//! The `library` model: an application links NTMobile in and talks through virtual sockets, without root and without a
//! device of its own.
//!
//! ```no_run
//! # async fn application(device: &ntmobile_actors::library::Device) -> Result<(), Box<dyn std::error::Error>> {
//! use ntmobile_actors::library::{Node, Password};
//! use tokio::io::AsyncWriteExt;
//!
//! let node = Node::join(device, "alice@u1.example", Password::from_env("NTM_PASSWORD")?).await?;
//! let mut stream = node.connect("bob.u2.example:7000").await?; // through any NAT, across any move
//! stream.write_all(b"hello").await?;
//! # Ok(())
//! # }
//! ```
//!
//! A packet's way: virtual socket → user-space stack → tunnel table (sealed) → signalling port, and back. No mailbox is on
//! it; the node's actor only changes the table.

mod destination;
mod device;
mod error;
mod node;
mod path;
mod sockets;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;

pub use crate::engine::{JoinError, LookupError};
pub use destination::{Destination, DestinationError};
pub use device::{Device, NoPassword, Password, StoreSource};
pub use error::ConnectError;
pub use node::Node;
pub use sockets::{VirtualTcpListener, VirtualTcpStream, VirtualUdpSocket};

pub(crate) use path::NodePath;

use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::net::SocketAddr;

/// A node that a tunnel leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name.
    pub name: Fqdn,
    /// Its permanent addresses.
    pub addresses: VirtualAddresses,
    /// The Relay Server, where the path went through one when the tunnel was built.
    pub relay: Option<Fqdn>,
}

impl Peer {
    /// A port on the peer, at its permanent IPv6 address: that one is unique wherever the peer belongs.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses.v6.into(), port)
    }

    /// A port on the peer, at its permanent IPv4 address, for applications that know no other.
    pub fn at_v4(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.addresses.v4.into(), port)
    }
}
