//! Byte streams: TCP of the host, both families.

use crate::net::NetOptions;
use crate::socket::{self, BindFailure};
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, NetError, TcpPort};
use socket2::{Protocol, Type};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// So many connections wait for being accepted.
const BACKLOG: i32 = 1_024;

/// A port that accepts connections; dropping it closes it.
pub(crate) struct OsTcpPort {
    port: u16,
    listeners: Vec<TcpListener>,
}

impl OsTcpPort {
    pub(crate) fn listen(options: &NetOptions, port: u16) -> Result<Self, NetError> {
        let (listeners, port) = socket::bind_all(options, port, |address| listen(options, address))?;
        Ok(Self { port, listeners })
    }
}

fn listen(options: &NetOptions, address: SocketAddr) -> Result<(TcpListener, u16), BindFailure> {
    let socket = socket::open(options, address.ip(), Type::STREAM, Protocol::TCP)?;
    let open = || -> io::Result<_> {
        // A server that is started again need not wait until the connections of its former life are forgotten.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    open().map_err(|error| BindFailure::new(address, &error))
}

impl TcpPort for OsTcpPort {
    fn port(&self) -> u16 {
        self.port
    }

    fn accept(&self) -> BoxFuture<'_, Result<Box<dyn ByteStream>, NetError>> {
        Box::pin(poll_fn(|context| {
            for listener in &self.listeners {
                loop {
                    match listener.poll_accept(context) {
                        Poll::Pending => break,
                        // Who left before being accepted is nobody's concern.
                        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                        Poll::Ready(Err(error)) => {
                            return Poll::Ready(Err(socket::other("no connection can be accepted", &error)));
                        }
                        Poll::Ready(Ok((stream, _))) => {
                            if let Ok(stream) = OsStream::new(stream) {
                                return Poll::Ready(Ok(Box::new(stream) as Box<dyn ByteStream>));
                            }
                        }
                    }
                }
            }
            Poll::Pending
        }))
    }
}

/// Opens a connection within the time that the options grant.
pub(crate) fn connect(
    options: &NetOptions,
    to: SocketAddr,
) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>> {
    let opened = match socket::open(options, to.ip(), Type::STREAM, Protocol::TCP) {
        Ok(socket) => Ok(socket),
        Err(BindFailure::NoSuchFamily(_)) => Err(NetError::Unreachable(to)),
        Err(failure) => Err(failure.into()),
    };
    let limit = options.connect_timeout;
    Box::pin(async move {
        let connecting = TcpSocket::from_std_stream(opened?.into()).connect(to);
        let stream = match tokio::time::timeout(limit, connecting).await {
            Err(_elapsed) => return Err(NetError::TimedOut(to)),
            Ok(connected) => connected.and_then(OsStream::new).map_err(|error| refusal(to, &error))?,
        };
        Ok(Box::new(stream) as Box<dyn ByteStream>)
    })
}

fn refusal(to: SocketAddr, error: &io::Error) -> NetError {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ECONNRESET) => NetError::Refused(to),
        Some(libc::ETIMEDOUT) => NetError::TimedOut(to),
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::EADDRNOTAVAIL
            | libc::EACCES
            | libc::EPERM
            | libc::EINVAL,
        ) => NetError::Unreachable(to),
        _ => socket::other(&format!("no connection to {to}"), error),
    }
}

/// A connection and the addresses of its ends, which it keeps when it is closed.
struct OsStream {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
}

impl OsStream {
    fn new(stream: TcpStream) -> io::Result<Self> {
        // Requests and answers are written whole; waiting for more to send would only delay them.
        stream.set_nodelay(true)?;
        Ok(Self { peer: stream.peer_addr()?, local: stream.local_addr()?, stream })
    }
}

impl ByteStream for OsStream {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn local(&self) -> SocketAddr {
        self.local
    }
}

impl AsyncRead for OsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for OsStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
