//! Between hosts and network: what is sent, what is delivered, and what follows from a change of the network.

use super::hosts::HostState;
use super::{Event, Shared, State};
use crate::entropy::SimEntropy;
use crate::network::{IcmpKind, NetworkEvent, NodeId, Packet, SendError, Transport, Unreachable, protocol};
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received};
use ntmobile_proto::time::Instant;
use ntmobile_stack::{Output, Stack, StackOptions};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::task::Waker;

/// What is left to do once the world's lock is released: wakers and stacks have locks of their own.
#[derive(Default)]
pub(crate) struct Effects {
    wakers: Vec<Waker>,
    packets: Vec<(Stack, Bytes)>,
    addresses: Vec<(Stack, Vec<IpAddr>)>,
}

impl Effects {
    /// Adds whom to wake.
    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.wakers.extend(waker);
    }

    /// Whether any task may have become ready.
    pub(super) fn is_empty(&self) -> bool {
        self.wakers.is_empty() && self.packets.is_empty() && self.addresses.is_empty()
    }

    /// Does it all. Must be called without the lock.
    pub(super) fn perform(self) {
        for (stack, addresses) in self.addresses {
            stack.set_addresses(addresses);
        }
        for (stack, packet) in self.packets {
            stack.inject(packet);
        }
        for waker in self.wakers {
            waker.wake();
        }
    }
}

impl State {
    /// The time of a network event has come.
    pub(super) fn network_event(&mut self, shared: &Arc<Shared>, event: NetworkEvent, effects: &mut Effects) {
        self.network.handle(shared.now(), event);
        self.settle(shared, effects);
    }

    /// Puts what the network has scheduled into the agenda, and gives what it has delivered to the hosts.
    fn settle(&mut self, shared: &Arc<Shared>, effects: &mut Effects) {
        loop {
            for (at, event) in self.network.drain_scheduled() {
                self.agenda.schedule(at, Event::Network(event));
            }
            let delivered: Vec<_> = self.network.drain_delivered().collect();
            if delivered.is_empty() {
                return;
            }
            for (node, packet) in delivered {
                self.deliver(shared, node, packet, effects);
            }
        }
    }

    fn deliver(&mut self, shared: &Arc<Shared>, node: NodeId, packet: Packet, effects: &mut Effects) {
        let Some(host) = self.hosts.get_mut(node) else { return };
        match packet.transport() {
            Transport::Udp { source, destination, payload } => {
                let from = SocketAddr::new(packet.source(), *source);
                let received = Received { from, to: packet.destination(), bytes: payload.clone() };
                match host.udp.get_mut(destination).map(|port| port.receive(received)) {
                    Some(Ok(reader)) => effects.wakers.extend(reader),
                    Some(Err(_)) => host.counters.queue_full += 1,
                    None => {
                        host.counters.closed_port += 1;
                        self.refuse(shared.now(), node, &packet);
                    }
                }
            }
            Transport::Icmp(error) if error.quoted.protocol == protocol::UDP => host.counters.unreachable += 1,
            // Reassembled already, so a fragment here has lost its rest.
            Transport::Fragment(_) => {}
            Transport::Tcp { .. } | Transport::Icmp(_) | Transport::Echo { .. } | Transport::Other { .. } => {
                let bytes = packet.to_bytes();
                effects.packets.push((self.stack(shared, node), bytes));
            }
        }
    }

    /// Tells the sender that nobody has the port open.
    fn refuse(&mut self, now: Instant, node: NodeId, packet: &Packet) {
        let kind = IcmpKind::Unreachable(Unreachable::Port);
        if let Some(error) = Packet::icmp_error(packet.destination(), kind, packet) {
            // The host may have lost the address or its way meanwhile: then nobody is told.
            let _unsent = self.network.send(now, node, error);
        }
    }

    /// Sends a packet from a host.
    pub(crate) fn send(
        &mut self,
        shared: &Arc<Shared>,
        node: NodeId,
        packet: Packet,
        effects: &mut Effects,
    ) -> Result<(), SendError> {
        self.network.send(shared.now(), node, packet)?;
        self.settle(shared, effects);
        Ok(())
    }

    /// Sends a datagram from a host's port.
    pub(crate) fn send_datagram(
        &mut self,
        shared: &Arc<Shared>,
        (node, port): (NodeId, u16),
        to: SocketAddr,
        bytes: Bytes,
        effects: &mut Effects,
    ) -> Result<(), NetError> {
        let source = self.network.source_for(node, to.ip()).ok_or(NetError::Unreachable(to))?;
        let packet = Packet::udp(SocketAddr::new(source, port), to, bytes)
            .map_err(|error| NetError::Other(error.to_string()))?;
        self.send(shared, node, packet, effects).map_err(|error| match error {
            SendError::NotAHost => NetError::Closed,
            SendError::NotOurAddress(_) | SendError::NoRoute(_) => NetError::Unreachable(to),
            SendError::TooBig { .. } => NetError::Other(error.to_string()),
        })
    }

    /// The network has been changed by hand: hosts whose addresses are not what they were are told.
    pub(super) fn network_changed(&mut self, shared: &Arc<Shared>, effects: &mut Effects) {
        self.settle(shared, effects);
        let nodes: Vec<NodeId> = self.network.nodes().collect();
        for (number, host) in self.hosts.iter_mut() {
            let addresses = self.network.addresses(nodes[number]);
            if host.addresses != addresses {
                host.addresses.clone_from(&addresses);
                host.address_changes += 1;
                effects.wakers.append(&mut host.watchers);
                if let Some(stack) = &host.stack {
                    effects.addresses.push((stack.clone(), addresses));
                }
            }
        }
    }

    /// The host's state.
    pub(crate) fn host(&mut self, node: NodeId) -> &mut HostState {
        let (network, seed) = (&self.network, self.seed);
        self.hosts.enter(node, || {
            let label = format!("host {} ports", network.node_name(node));
            HostState::new(network.addresses(node), SimEntropy::derive(seed, &label, 0))
        })
    }

    /// The host's TCP.
    pub(crate) fn stack(&mut self, shared: &Arc<Shared>, node: NodeId) -> Stack {
        if let Some(stack) = &self.host(node).stack {
            return stack.clone();
        }
        let label = format!("host {} TCP", self.network.node_name(node));
        let nth = self.next_stream(&label);
        let entropy = SimEntropy::derive(self.seed, &label, nth);
        let host = self.host(node);
        let clock = Arc::new(shared.clock());
        let output = output(Arc::downgrade(shared), node);
        let stack = Stack::new(clock, Box::new(entropy), host.addresses.clone(), StackOptions::default(), output);
        host.stack = Some(stack.clone());
        stack
    }

    /// Everything that the host's processes had open is gone.
    pub(crate) fn crash(&mut self, node: NodeId, effects: &mut Effects) -> Option<Stack> {
        let host = self.host(node);
        for (_, mut port) in std::mem::take(&mut host.udp) {
            effects.wakers.extend(port.reader.take());
        }
        host.stack.take()
    }

    /// Switches a host off or on.
    pub(crate) fn set_power(&mut self, node: NodeId, is_up: bool) {
        self.network.set_node_up(node, is_up);
        self.host(node).is_up = is_up;
    }
}

/// Where a host's TCP segments go.
fn output(shared: Weak<Shared>, node: NodeId) -> Output {
    Arc::new(move |bytes| {
        let Some(shared) = shared.upgrade() else { return };
        let Ok(packet) = Packet::from_bytes(&bytes) else { return };
        let (sent, stack) = shared.act(|state, effects| {
            let sent = state.send(&shared, node, packet.clone(), effects);
            (sent, state.host(node).stack.clone())
        });
        // As a host's own kernel does: the path's MTU is known, so the connection learns it at once.
        if let (Err(SendError::TooBig { mtu }), Some(stack)) = (sent, stack) {
            let kind = IcmpKind::PacketTooBig { mtu: u32::try_from(mtu).unwrap_or(u32::MAX) };
            if let Some(error) = Packet::icmp_error(packet.source(), kind, &packet) {
                stack.inject(error.to_bytes());
            }
        }
    })
}
