//! A UDP port of the host: one number on every address, received in batches.
//!
//! **One port, several sockets.** Each address that the port is opened on has a socket of its own: by default one for all
//! of IPv4 and one for all of IPv6, which takes no IPv4. Every datagram tells which of our addresses it came to.
//!
//! **Receiving.** One call takes up to 32 super-packets of up to 64 datagrams, which are given out one at a time. Each gets
//! memory of its own, so that a small datagram that is kept holds no large buffer.
//!
//! **Sending** never waits: what the operating system's queue has no room for is lost, as on the way, and counted. A port of
//! a server answers from the address that it was asked on ([`NetOptions::answer_from_asked`]); a node's does not, since it
//! moves between networks and the operating system knows where the way leads now.
//!
//! **Length.** A datagram longer than the path takes is cut into IP fragments here, at the source, as soon as the path has
//! said so (RFC 1191, RFC 8201); never by a router.

mod asked;
mod message;
#[cfg(test)]
mod tests;

pub use message::Outgoing;

use crate::net::NetOptions;
use crate::socket::{self, BindFailure};
use asked::Asked;
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Protocol, Type};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// So many super-packets are taken in one call.
const BATCH: usize = 32;
/// The largest super-packet.
const SUPER_PACKET: usize = 65_536;

thread_local! {
    /// Where super-packets are received before their datagrams get memory of their own; one for all ports of a thread.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open UDP port; dropping it closes it.
pub struct OsUdpPort {
    port: u16,
    sockets: Vec<PortSocket>,
    received: Mutex<Waiting>,
    asked: Option<Mutex<Asked>>,
    lost: AtomicU64,
}

struct PortSocket {
    address: IpAddr,
    io: UdpSocket,
    state: UdpSocketState,
}

/// What has been received and not yet given out.
#[derive(Default)]
struct Waiting {
    datagrams: VecDeque<Received>,
    /// The socket that has its turn: none starves the others.
    turn: usize,
}

impl OsUdpPort {
    /// Opens `port`, or any free one when it is 0.
    pub(crate) fn bind(options: &NetOptions, port: u16) -> Result<Self, NetError> {
        let (sockets, port) = socket::bind_all(options, port, |address| PortSocket::bind(options, address))?;
        let asked = options.answer_from_asked.then(Mutex::default);
        Ok(Self { port, sockets, received: Mutex::default(), asked, lost: AtomicU64::new(0) })
    }

    /// Sends one datagram or a super-packet of several. What the queue has no room for is lost and counted. Where the path
    /// takes no datagrams of that length in one piece, each goes on its own, in fragments.
    pub fn send_outgoing(&self, outgoing: &Outgoing<'_>) -> Result<(), NetError> {
        let to = SocketAddr::new(outgoing.to.ip().to_canonical(), outgoing.to.port());
        let socket = self.socket_for(to.ip(), outgoing.from).ok_or(NetError::Unreachable(to))?;
        let whole = Outgoing { to, ..*outgoing };
        match (message::send(socket.io.as_fd(), &whole), outgoing.segment) {
            (Ok(()), _) => Ok(()),
            (Err(error), Some(segment)) if is_about_cutting(&error) => {
                for bytes in outgoing.bytes.chunks(usize::from(segment.max(1))) {
                    let one = Outgoing { bytes, segment: None, ..whole };
                    message::send(socket.io.as_fd(), &one).or_else(|error| self.lost_or_refused(to, &error))?;
                }
                Ok(())
            }
            (Err(error), _) => self.lost_or_refused(to, &error),
        }
    }

    /// How many datagrams or super-packets found no room in the operating system's queue.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The socket of the destination's family; the one bound to `from` if there are several.
    fn socket_for(&self, to: IpAddr, from: Option<IpAddr>) -> Option<&PortSocket> {
        let mut of_family = self.sockets.iter().filter(|socket| socket.address.is_ipv4() == to.is_ipv4());
        let first = of_family.clone().next();
        of_family.find(|socket| Some(socket.address) == from).or(first)
    }

    fn lost_or_refused(&self, to: SocketAddr, error: &io::Error) -> Result<(), NetError> {
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            // No route, no address to send from, or a route or a firewall that forbids it.
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EADDRNOTAVAIL
                | libc::ENODEV
                | libc::EACCES
                | libc::EPERM
                | libc::EINVAL,
            ) => Err(NetError::Unreachable(to)),
            _ => Err(socket::other(&format!("nothing can be sent to {to}"), error)),
        }
    }

    /// Sends from the address that `to` asked, if one is remembered and still ours.
    fn send_as_asked(&self, asked: &Mutex<Asked>, to: SocketAddr, bytes: &[u8]) -> Result<(), NetError> {
        let from = asked.lock().unwrap_or_else(PoisonError::into_inner).of(&to);
        let outgoing = Outgoing { to, from, bytes, segment: None };
        match self.send_outgoing(&outgoing) {
            Err(NetError::Unreachable(_)) if from.is_some() => {
                asked.lock().unwrap_or_else(PoisonError::into_inner).forget(&to);
                self.send_outgoing(&Outgoing { from: None, ..outgoing })
            }
            outcome => outcome,
        }
    }

    fn remember(&self, datagrams: &VecDeque<Received>) {
        if let Some(asked) = &self.asked {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            for received in datagrams {
                asked.remember(received.from, received.to);
            }
        }
    }
}

impl UdpPort for OsUdpPort {
    fn port(&self) -> u16 {
        self.port
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        match &self.asked {
            Some(asked) => self.send_as_asked(asked, to, &bytes),
            None => self.send_outgoing(&Outgoing { to, from: None, bytes: &bytes, segment: None }),
        }
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        let mut waiting = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(received) = waiting.datagrams.pop_front() {
                return Poll::Ready(Ok(received));
            }
            let mut is_any_ready = false;
            for _ in 0..self.sockets.len() {
                waiting.turn = (waiting.turn + 1) % self.sockets.len();
                let socket = &self.sockets[waiting.turn];
                match socket.io.poll_recv_ready(context) {
                    Poll::Pending => {}
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(socket::other("nothing can be received", &error)));
                    }
                    Poll::Ready(Ok(())) => {
                        is_any_ready = true;
                        match socket.receive(&mut waiting.datagrams) {
                            Ok(()) => break,
                            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                            Err(error) => return Poll::Ready(Err(socket::other("nothing can be received", &error))),
                        }
                    }
                }
            }
            if !is_any_ready {
                return Poll::Pending;
            }
            self.remember(&waiting.datagrams);
        }
    }
}

impl PortSocket {
    fn bind(options: &NetOptions, address: SocketAddr) -> Result<(Self, u16), BindFailure> {
        let socket = socket::open(options, address.ip(), Type::DGRAM, Protocol::UDP)?;
        socket::set_buffers(&socket, options.buffer);
        socket.bind(&address.into()).map_err(|error| BindFailure::new(address, &error))?;
        let set_up = || -> io::Result<_> {
            let state = UdpSocketState::new((&socket).into())?;
            fragment_at_the_source(&socket, address.ip())?;
            let io = UdpSocket::from_std(socket.into())?;
            let port = io.local_addr()?.port();
            Ok((Self { address: address.ip(), io, state }, port))
        };
        set_up().map_err(|error| BindFailure::Refused(socket::other(&format!("{address} cannot be set up"), &error)))
    }

    /// Takes what has come, or fails with [`io::ErrorKind::WouldBlock`].
    fn receive(&self, datagrams: &mut VecDeque<Received>) -> io::Result<()> {
        BUFFER.with_borrow_mut(|buffer| {
            // Zeroed memory costs nothing until it is written to.
            buffer.resize(BATCH * SUPER_PACKET, 0);
            let mut meta = [RecvMeta::default(); BATCH];
            let count = {
                let mut chunks = buffer.chunks_exact_mut(SUPER_PACKET);
                let mut parts: [IoSliceMut<'_>; BATCH] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().expect("there is one for each")));
                self.io.try_io(Interest::READABLE, || self.state.recv((&self.io).into(), &mut parts, &mut meta))?
            };
            for (chunk, meta) in buffer.chunks_exact(SUPER_PACKET).zip(&meta[..count]) {
                let to = meta.dst_ip.unwrap_or(self.address);
                // A datagram without a byte carries nothing for anyone, but it is one.
                let stride = meta.stride.max(1);
                let mut rest = &chunk[..meta.len];
                loop {
                    let (datagram, others) = rest.split_at(stride.min(rest.len()));
                    datagrams.push_back(Received { from: meta.addr, to, bytes: Bytes::copy_from_slice(datagram) });
                    rest = others;
                    if rest.is_empty() {
                        break;
                    }
                }
            }
            Ok(())
        })
    }
}

/// Whether a super-packet may be refused for what it is: a path that takes shorter datagrams only, a driver that does not cut.
fn is_about_cutting(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO | libc::EOPNOTSUPP))
}

/// What exceeds the path is cut here: the kernel keeps what the path has told, and sets "don't fragment" on the rest, so that
/// it goes on telling.
fn fragment_at_the_source(socket: &impl AsFd, address: IpAddr) -> io::Result<()> {
    if address.is_ipv4() {
        return socket::set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_WANT);
    }
    socket::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_WANT)?;
    socket::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0)
}

impl fmt::Debug for OsUdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {}", self.port)
    }
}
