//! A user-space TCP and UDP stack over any packet carrier: virtual sockets and the simulator's TCP.
//!
//! **Invariant:** a [`Stack`] knows packets, a clock and nothing else. What it wants sent goes to the output it was made
//! with; what arrives is handed to [`Stack::inject`]; what waits, waits on the clock port. So the same stack carries the
//! TCP of simulated hosts under virtual time and the virtual sockets of a node, whose carrier is the tunnel.
//!
//! - UDP and ICMP are handled here, packet by packet (`udp`, `packet`).
//! - TCP is smoltcp's. Each connection has an interface of its own behind the stack's table of connections, since an
//!   interface walks all its sockets for every packet (`connection`). Backlog, port numbers, resets for unknown
//!   segments, path MTU and what becomes of a connection whose stream was dropped are the stack's (`tcp`).
//!
//! smoltcp recovers from loss without selective acknowledgements: under heavy loss a transfer completes, slowly.

mod connection;
mod driver;
mod packet;
mod stack;
mod state;
mod tcp;
mod udp;

pub use stack::{Output, Stack, StackOptions};
pub use tcp::{TcpListener, TcpStream};
pub use udp::UdpSocket;
