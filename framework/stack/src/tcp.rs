//! TCP: a stream and a listener.
//!
//! **How a connection ends.** `shutdown` sends FIN after everything written; reading goes on until the other end has sent
//! its own. A dropped stream closes gracefully in the background, as the close of a socket does on every host: what was
//! written still arrives. It is broken off with a reset instead when received bytes were not read, when more arrive
//! afterwards, and when the other end stays silent for the stack's time-out. A dropped listener resets what it has not
//! accepted.

use crate::connection::{Cause, Connection, FourTuple, Role};
use crate::stack::Stack;
use crate::state::Listening;
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, NetError, TcpPort};
use ntmobile_proto::time::Instant;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One connection.
#[derive(Debug)]
pub struct TcpStream {
    stack: Stack,
    number: u64,
    tuple: FourTuple,
}

impl TcpStream {
    pub(crate) async fn connect(stack: Stack, to: SocketAddr) -> Result<Self, NetError> {
        stack.ensure_driver();
        let stream = stack.act(|state, now, effects| {
            let number = state.connect(to, now, effects)?;
            let tuple = state.connections.get(&number).ok_or(NetError::Unreachable(to))?.tuple;
            Ok(Self { stack: stack.clone(), number, tuple })
        })?;
        poll_fn(|context| {
            stream.with(|connection, _| match connection.failure() {
                Some(failure) => Poll::Ready(Err(failure.clone())),
                None if connection.is_open() => Poll::Ready(Ok(())),
                None => {
                    connection.writer = Some(context.waker().clone());
                    Poll::Pending
                }
            })
        })
        .await?;
        Ok(stream)
    }

    /// Probes an idle connection at this interval: it fails when the other end stays silent for the stack's time-out.
    pub fn set_keepalive(&self, interval: Option<Duration>) {
        self.with(|connection, now| connection.set_keepalive(interval, now));
    }

    /// This end.
    pub fn local_addr(&self) -> SocketAddr {
        self.tuple.local
    }

    /// The other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.tuple.remote
    }

    /// Does something to the connection and then lets it act.
    fn with<T>(&self, action: impl FnOnce(&mut Connection, Instant) -> T) -> T {
        self.stack.act(|state, now, effects| {
            let connection = state.connections.get_mut(&self.number).expect("a connection lives as long as its stream");
            let value = action(connection, now);
            state.poll(self.number, now, Cause::Other, effects);
            value
        })
    }
}

fn broken(connection: &Connection) -> io::Error {
    match connection.failure() {
        Some(NetError::TimedOut(_)) => io::ErrorKind::TimedOut.into(),
        Some(_) => io::ErrorKind::ConnectionReset.into(),
        None => io::ErrorKind::BrokenPipe.into(),
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|connection, _| {
            let read = connection.read(into.initialize_unfilled());
            into.advance(read);
            if read > 0 || into.remaining() == 0 || connection.finished() {
                Poll::Ready(Ok(()))
            } else if connection.readable() {
                Poll::Ready(Err(broken(connection)))
            } else {
                connection.reader = Some(context.waker().clone());
                Poll::Pending
            }
        })
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|connection, _| match connection.write(bytes) {
            Some(0) if !bytes.is_empty() => {
                connection.writer = Some(context.waker().clone());
                Poll::Pending
            }
            Some(written) => Poll::Ready(Ok(written)),
            None => Poll::Ready(Err(broken(connection))),
        })
    }

    /// What was written is in the stack's hands, which sends it whether or not anybody waits.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|connection, _| connection.close());
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for TcpStream {
    fn peer(&self) -> SocketAddr {
        self.tuple.remote
    }

    fn local(&self) -> SocketAddr {
        self.tuple.local
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        self.stack.act(|state, now, effects| state.release(self.number, now, effects));
    }
}

/// A port on which connections are accepted.
#[derive(Debug)]
pub struct TcpListener {
    stack: Stack,
    port: u16,
}

impl TcpListener {
    pub(crate) fn bind(stack: Stack, port: u16) -> Result<Self, NetError> {
        stack.ensure_driver();
        let port = stack.act(|state, _, _| {
            let port = match port {
                0 => state.ephemeral_port(|state, port| !state.listening.contains_key(&port))?,
                port if state.listening.contains_key(&port) => return Err(NetError::PortInUse(port)),
                port => port,
            };
            let backlog = state.options.backlog;
            state.listening.insert(port, Listening { backlog, ..Listening::default() });
            Ok(port)
        })?;
        Ok(Self { stack, port })
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for the next connection. One task at a time.
    pub async fn accept(&self) -> Result<TcpStream, NetError> {
        poll_fn(|context| {
            self.stack.act(|state, _, _| {
                let Some(listening) = state.listening.get_mut(&self.port) else {
                    return Poll::Ready(Err(NetError::Closed));
                };
                let Some(number) = listening.ready.pop_front() else {
                    listening.acceptor = Some(context.waker().clone());
                    return Poll::Pending;
                };
                listening.pending -= 1;
                let connection = state.connections.get_mut(&number).expect("who waits to be accepted is not forgotten");
                connection.role = Role::Owned;
                Poll::Ready(Ok(TcpStream { stack: self.stack.clone(), number, tuple: connection.tuple }))
            })
        })
        .await
    }
}

impl TcpPort for TcpListener {
    fn port(&self) -> u16 {
        self.port
    }

    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>, NetError>> {
        Box::pin(async { Ok(Box::new(self.accept().await?) as Box<dyn ByteStream>) })
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.stack.act(|state, now, effects| state.stop_listening(self.port, now, effects));
    }
}
