//! The network as one host sees it: datagrams, byte streams, its own addresses.

use bytes::Bytes;
use futures::future::BoxFuture;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};

/// Why the network refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetError {
    /// Another socket has the port.
    #[error("port {0} is already in use; stop the other program or choose another port")]
    PortInUse(u16),
    /// No free port is left.
    #[error("no free port is left")]
    NoPort,
    /// The port is one of those that not everybody may open.
    #[error(
        "port {0} needs privilege; run as root, give the program CAP_NET_BIND_SERVICE, or choose a port from 1024 on"
    )]
    PrivilegedPort(u16),
    /// What was asked for is the administrator's to do.
    #[error("{0} needs privilege; run as root or give the program CAP_NET_ADMIN")]
    NeedsNetAdmin(&'static str),
    /// The address to listen on is not one of the host's.
    #[error("{0} is not an address of this host; listen on one that is, or on all")]
    NotOurAddress(IpAddr),
    /// The destination cannot be reached from here.
    #[error("{0} cannot be reached from here")]
    Unreachable(SocketAddr),
    /// The other side refused.
    #[error("{0} refused the connection")]
    Refused(SocketAddr),
    /// The other side did not answer.
    #[error("{0} did not answer")]
    TimedOut(SocketAddr),
    /// The host is down or the socket closed.
    #[error("the socket is closed")]
    Closed,
    /// Anything else the operating system says.
    #[error("{0}")]
    Other(String),
}

/// A datagram as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Where it came from.
    pub from: SocketAddr,
    /// Which of our addresses it came to.
    pub to: IpAddr,
    /// What it carries.
    pub bytes: Bytes,
}

/// A UDP port of a host, for both address families at once.
pub trait UdpPort: Send + Sync + std::fmt::Debug {
    /// The port number.
    fn port(&self) -> u16;

    /// Sends a datagram; a full queue loses it, as UDP does.
    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError>;

    /// Takes the next datagram, or arranges to be woken. One task at a time.
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>>;
}

impl dyn UdpPort {
    /// Waits for the next datagram.
    pub async fn receive(&self) -> Result<Received, NetError> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }
}

/// A reliable byte stream.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// The other end.
    fn peer(&self) -> SocketAddr;

    /// This end.
    fn local(&self) -> SocketAddr;
}

/// A TCP port that accepts connections.
pub trait TcpPort: Send + Sync {
    /// The port number.
    fn port(&self) -> u16;

    /// Waits for the next connection.
    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>, NetError>>;
}

/// A host's network.
pub trait Net: Send + Sync + 'static {
    /// Opens a UDP port; 0 for any free one.
    fn bind_udp(&self, port: u16) -> Result<Arc<dyn UdpPort>, NetError>;

    /// Opens a TCP port; 0 for any free one.
    fn listen_tcp(&self, port: u16) -> Result<Box<dyn TcpPort>, NetError>;

    /// Opens a TCP connection.
    fn connect_tcp(&self, to: SocketAddr) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>>;

    /// The host's own usable addresses now, the preferred one first; no loopback, no link-local.
    fn addresses(&self) -> Vec<IpAddr>;

    /// Completes when [`Net::addresses`] may have changed since `seen` was returned by the last call (0 at first).
    /// Returns the new count.
    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64>;
}
