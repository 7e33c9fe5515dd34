//! A host of the simulated internet, as the entity on it sees the network.

use super::udp::SimUdpPort;
use crate::network::NodeId;
use crate::world::{HostCounters, Shared};
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, Net, NetError, TcpPort, UdpPort};
use ntmobile_stack::Stack;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

/// A host. A handle: clones are the same host.
///
/// It talks to other hosts only through the network's links; there is no way around them. Its address for a destination
/// is one in the same network if it has one, else the preferred one of the destination's family.
#[derive(Clone, Debug)]
pub struct SimHost {
    shared: Arc<Shared>,
    node: NodeId,
}

impl SimHost {
    pub(crate) fn new(shared: Arc<Shared>, node: NodeId) -> Self {
        Self { shared, node }
    }

    /// Its node in the network.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// What it has counted above the network.
    pub fn counters(&self) -> HostCounters {
        self.shared.lock().host(self.node).counters
    }

    /// Takes its power away: every socket dies without a word to anybody, and what arrives is lost.
    pub fn crash(&self) {
        let stack = self.shared.act(|state, effects| {
            let stack = state.crash(self.node, effects);
            state.set_power(self.node, false);
            stack
        });
        if let Some(stack) = stack {
            stack.power_off();
        }
    }

    /// Gives it power again, with the addresses it had and no sockets.
    pub fn restart(&self) {
        self.shared.lock().set_power(self.node, true);
    }

    fn stack(&self) -> Result<Stack, NetError> {
        let mut state = self.shared.lock();
        if !state.host(self.node).is_up {
            return Err(NetError::Closed);
        }
        Ok(state.stack(&self.shared, self.node))
    }
}

impl Net for SimHost {
    fn bind_udp(&self, port: u16) -> Result<Arc<dyn UdpPort>, NetError> {
        let mut state = self.shared.lock();
        if !state.host(self.node).is_up {
            return Err(NetError::Closed);
        }
        let (port, socket) = state.host(self.node).bind(port)?;
        Ok(Arc::new(SimUdpPort::new(self.shared.clone(), self.node, port, socket)))
    }

    fn listen_tcp(&self, port: u16) -> Result<Box<dyn TcpPort>, NetError> {
        self.stack()?.listen_tcp(port)
    }

    fn connect_tcp(&self, to: SocketAddr) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>> {
        match self.stack() {
            Ok(stack) => stack.connect_tcp(to),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.shared.lock().host(self.node).addresses.clone()
    }

    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64> {
        let (shared, node) = (self.shared.clone(), self.node);
        Box::pin(poll_fn(move |context| {
            let mut state = shared.lock();
            let host = state.host(node);
            if host.address_changes > seen {
                return Poll::Ready(host.address_changes);
            }
            if !host.watchers.iter().any(|known| known.will_wake(context.waker())) {
                host.watchers.push(context.waker().clone());
            }
            Poll::Pending
        }))
    }
}
