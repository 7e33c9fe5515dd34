//! What a node without privilege and the host program around it say to one another: the program makes the TUN device, keeps the
//! node's sockets out of it and knows which network the device is in; the node does the rest.
//!
//! ```text
//! host program                             node (model vpn-service)
//!   hello: version, network          ──▶
//!                                    ◀──   hello: version
//!                                    ◀──   protect 1 + socket      before anything is sent on it
//!   done 1                           ──▶
//!                                    ◀──   device 2: name, addresses, MTU, routes, name servers
//!   done 2 + TUN descriptor          ──▶
//!                                    ◀──   state: up
//!                                    ◀──   routes 3: add           a peer's addresses, before programs hear of them
//!   done 3 (+ a new TUN descriptor)  ──▶
//!   network: interface, addresses, … ──▶                           whenever it is another
//!   stop, or the end of the socket   ──▶
//! ```
//!
//! The socket is a Unix socket of kind SEQPACKET: what is sent in one call is received in one, whole, with the descriptor that
//! goes with it ([`HostSocket`]). Each message is one JSON object ([`EngineMessage`], [`HostMessage`]), bounded, of a version
//! that both ends say first. [`Line`] is the node's end. The book's page "A node without privilege" is for those who write the other.

mod line;
mod message;
mod socket;
#[cfg(test)]
mod tests;

pub use line::{AskError, Line, LineEnd, LineError};
pub use message::{
    Device, EngineMessage, HostMessage, LONGEST, MOST_ADDRESSES, MOST_ROUTES, MessageError, Network, State, Subnet,
    SubnetError, VERSION,
};
pub use socket::{HostSocket, SocketListener};
