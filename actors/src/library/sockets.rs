//! Virtual sockets: TCP and UDP between permanent addresses. Each keeps its node alive.

use super::node::Node;
use ntmobile_ports::net::{ByteStream, NetError, Received};
use ntmobile_stack::{TcpListener, TcpStream, UdpSocket};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TCP connection between permanent addresses: it survives every move of either end.
#[derive(Debug)]
pub struct VirtualTcpStream {
    stream: TcpStream,
    _node: Node,
}

impl VirtualTcpStream {
    pub(super) fn new(stream: TcpStream, node: Node) -> Self {
        Self { stream, _node: node }
    }

    /// This end.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr()
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.stream.peer_addr()
    }
}

impl AsyncRead for VirtualTcpStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for VirtualTcpStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl ByteStream for VirtualTcpStream {
    fn peer(&self) -> SocketAddr {
        self.peer_addr()
    }

    fn local(&self) -> SocketAddr {
        self.local_addr()
    }
}

/// A TCP port on the node's permanent addresses.
#[derive(Debug)]
pub struct VirtualTcpListener {
    listener: TcpListener,
    node: Node,
}

impl VirtualTcpListener {
    pub(super) fn new(listener: TcpListener, node: Node) -> Self {
        Self { listener, node }
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Waits for the next connection. One task at a time.
    pub async fn accept(&self) -> Result<VirtualTcpStream, NetError> {
        Ok(VirtualTcpStream::new(self.listener.accept().await?, self.node.clone()))
    }
}

/// A UDP port on the node's permanent addresses.
#[derive(Debug)]
pub struct VirtualUdpSocket {
    socket: UdpSocket,
    _node: Node,
}

impl VirtualUdpSocket {
    pub(super) fn new(socket: UdpSocket, node: Node) -> Self {
        Self { socket, _node: node }
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.socket.port()
    }

    /// Sends a datagram to a peer's permanent address, as [`Node::lookup`] gives it. Without a tunnel to a peer met before
    /// it waits for one.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<(), NetError> {
        self.socket.send_to(bytes, to)
    }

    /// Waits for the next datagram. One task at a time.
    pub async fn recv_from(&self) -> Result<Received, NetError> {
        self.socket.recv_from().await
    }
}
