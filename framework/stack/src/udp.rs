//! UDP: a port of the stack and its queue.

use crate::packet;
use crate::stack::Stack;
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

/// How many datagrams a port holds for its reader; what comes on top is lost.
const QUEUE: usize = 512;
const UDP_HEADER: usize = 8;

/// A bound port.
#[derive(Default)]
pub(crate) struct Binding {
    queue: VecDeque<Received>,
    dropped: u64,
    reader: Option<Waker>,
}

impl Binding {
    /// Queues a datagram; whom to wake.
    pub(crate) fn receive(&mut self, received: Received) -> Option<Waker> {
        if self.queue.len() < QUEUE {
            self.queue.push_back(received);
        } else {
            self.dropped += 1;
        }
        self.reader.take()
    }

    /// Takes no more; whom to wake.
    pub(crate) fn close(&mut self) -> Option<Waker> {
        self.reader.take()
    }
}

/// A UDP socket on all addresses of a stack. Dropping it frees the port.
#[derive(Debug)]
pub struct UdpSocket {
    stack: Stack,
    port: u16,
}

impl UdpSocket {
    pub(crate) fn bind(stack: Stack, port: u16) -> Result<Self, NetError> {
        let port = stack.act(|state, _, _| {
            let port = match port {
                0 => state.ephemeral_port(|state, port| !state.udp.contains_key(&port))?,
                port if state.udp.contains_key(&port) => return Err(NetError::PortInUse(port)),
                port => port,
            };
            state.udp.insert(port, Binding::default());
            Ok(port)
        })?;
        Ok(Self { stack, port })
    }

    /// The port number.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a datagram from the stack's preferred address of the destination's family. It is one packet: larger ones
    /// than the MTU are refused.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> Result<(), NetError> {
        self.stack.act(|state, _, effects| {
            let source = state.source_for(to.ip()).ok_or(NetError::Unreachable(to))?;
            let room = state.options.mtu.saturating_sub(packet::ip_header(source) + UDP_HEADER);
            if bytes.len() > room {
                return Err(NetError::Other(format!("a datagram of {} bytes is larger than {room}", bytes.len())));
            }
            effects.packets.push_back(packet::udp(SocketAddr::new(source, self.port), to, bytes));
            Ok(())
        })
    }

    /// Waits for the next datagram. One task at a time.
    pub async fn recv_from(&self) -> Result<Received, NetError> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }

    /// How many datagrams were lost because nobody read them in time.
    pub fn dropped(&self) -> u64 {
        self.stack.act(|state, _, _| state.udp.get(&self.port).map_or(0, |binding| binding.dropped))
    }
}

impl UdpPort for UdpSocket {
    fn port(&self) -> u16 {
        self.port
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        self.send_to(&bytes, to)
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        self.stack.act(|state, _, _| {
            let Some(binding) = state.udp.get_mut(&self.port) else { return Poll::Ready(Err(NetError::Closed)) };
            match binding.queue.pop_front() {
                Some(received) => Poll::Ready(Ok(received)),
                None => {
                    binding.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        // The waker in it is dropped outside the lock.
        let binding = self.stack.act(|state, _, _| state.udp.remove(&self.port));
        drop(binding);
    }
}
