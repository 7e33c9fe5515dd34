//! A UDP port of the host: one number on every address, received in batches.
//!
//! **One port, several sockets.** Each address that the port is opened on has a socket of its own: by default one for all
//! of IPv4 and one for all of IPv6, which takes no IPv4. Every datagram tells which of our addresses it came to.
//!
//! **Receiving.** One call takes up to 32 super-packets of up to 64 datagrams, which are given out one at a time. Each gets
//! memory of its own, so that a small datagram that is kept holds no large buffer.
//!
//! **Sending** never waits: what the operating system's queue has no room for is lost, as on the way, and counted. The first
//! datagram of a task's turn leaves at once, so that whoever sends it hears if it cannot; the others of the same turn leave
//! together when it ends, those to one destination in one call (GSO). A port of
//! a server answers from the address that it was asked on ([`NetOptions::answer_from_asked`]); a node's does not, since it
//! moves between networks and the operating system knows where the way leads now.
//!
//! **Length.** A datagram longer than the path takes is cut into IP fragments here, at the source, as soon as the path has
//! said so (RFC 1191, RFC 8201); never by a router. "Too long" is all that is believed of what routers and hosts on the way
//! say: anybody can say "unreachable" in their name, and whoever waits for an answer has a time limit anyway.

pub(crate) mod asked;
pub(crate) mod message;
mod outbox;
mod sockets;
#[cfg(test)]
mod tests;

pub use message::Outgoing;

use crate::net::NetOptions;
use crate::socket::{self, BindFailure};
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use outbox::Outbox;
use quinn_udp::{RecvMeta, UdpSocketState};
use socket2::{Protocol, Type};
use sockets::Sockets;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// So many super-packets are taken in one call.
const BATCH: usize = 32;
/// Datagrams of another protocol come to the port, which the kernel takes: ESP (RFC 3948).
const UDP_ENCAP: libc::c_int = 100;
const UDP_ENCAP_ESPINUDP: libc::c_int = 2;
/// The largest super-packet.
const SUPER_PACKET: usize = 65_536;

thread_local! {
    /// Where super-packets are received before their datagrams get memory of their own; one for all ports of a thread.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open UDP port; dropping it closes it.
pub struct OsUdpPort {
    port: u16,
    sockets: Arc<Sockets>,
    outbox: Arc<Outbox>,
    received: Mutex<Waiting>,
}

/// The socket of one of its addresses, or of all of a family.
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
        let sockets = Arc::new(Sockets::new(sockets, options.answer_from_asked));
        Ok(Self { port, outbox: Outbox::open(Arc::clone(&sockets)), sockets, received: Mutex::default() })
    }

    /// Sends one datagram or a super-packet of several, at once. What the queue has no room for is lost and counted. Where the
    /// path takes no datagrams of that length in one piece, each goes on its own, in fragments.
    pub fn send_outgoing(&self, outgoing: &Outgoing<'_>) -> Result<(), NetError> {
        self.outbox.depart();
        self.sockets.send(outgoing)
    }

    /// Has the kernel take the ESP packets that come to this port (`UDP_ENCAP`); signalling still comes here.
    pub(crate) fn give_esp_to_kernel(&self) -> io::Result<()> {
        for socket in self.sockets.all() {
            // The kernel would take a train that it has put together for one packet.
            socket::set_option(&socket.io, libc::SOL_UDP, libc::UDP_GRO, 0)?;
            socket::set_option(&socket.io, libc::SOL_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)?;
        }
        Ok(())
    }

    /// How many datagrams or super-packets found no room in the operating system's queue.
    pub fn lost(&self) -> u64 {
        self.sockets.lost()
    }
}

impl Drop for OsUdpPort {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

impl UdpPort for OsUdpPort {
    fn port(&self) -> u16 {
        self.port
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        self.outbox.send(to, &bytes)
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        let mut waiting = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(received) = waiting.datagrams.pop_front() {
                return Poll::Ready(Ok(received));
            }
            let mut is_any_ready = false;
            let sockets = self.sockets.all();
            for _ in 0..sockets.len() {
                waiting.turn = (waiting.turn + 1) % sockets.len();
                let socket = &sockets[waiting.turn];
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
            self.sockets.remember(&waiting.datagrams);
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
