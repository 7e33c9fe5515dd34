//! A UDP port of a simulated host.

use crate::network::NodeId;
use crate::world::Shared;
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

/// An open port; dropping it frees the port.
pub(super) struct SimUdpPort {
    shared: Arc<Shared>,
    node: NodeId,
    port: u16,
    socket: u64,
}

impl SimUdpPort {
    pub(super) fn new(shared: Arc<Shared>, node: NodeId, port: u16, socket: u64) -> Self {
        Self { shared, node, port, socket }
    }
}

impl UdpPort for SimUdpPort {
    fn port(&self) -> u16 {
        self.port
    }

    fn send(&self, to: SocketAddr, bytes: Bytes) -> Result<(), NetError> {
        self.shared.act(|state, effects| {
            if state.host(self.node).udp_of(self.port, self.socket).is_none() {
                return Err(NetError::Closed);
            }
            state.send_datagram(&self.shared, (self.node, self.port), to, bytes, effects)
        })
    }

    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<Result<Received, NetError>> {
        let mut state = self.shared.lock();
        let Some(port) = state.host(self.node).udp_of(self.port, self.socket) else {
            return Poll::Ready(Err(NetError::Closed));
        };
        if let Some(received) = port.queue.pop_front() {
            return Poll::Ready(Ok(received));
        }
        let known = port.reader.as_ref().is_some_and(|reader| reader.will_wake(context.waker()));
        let old = if known { None } else { port.reader.replace(context.waker().clone()) };
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl Drop for SimUdpPort {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        let host = state.host(self.node);
        let closed = host.udp_of(self.port, self.socket).is_some().then(|| host.udp.remove(&self.port));
        drop(state);
        // Its waker is dropped outside the lock.
        drop(closed);
    }
}

impl fmt::Debug for SimUdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UDP port {} of host {}", self.port, self.node.number())
    }
}
