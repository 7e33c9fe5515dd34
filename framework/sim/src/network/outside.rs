//! Interfaces that lead out of the model: a host's network layer is then elsewhere, in a real kernel for instance.
//!
//! What comes over the link of an open interface is handed to whoever drives the network, fragments as they are; and what that
//! one hands in leaves as it is. The link is as modelled, so its delay, loss, rate and MTU apply. Addresses that belong behind
//! the interface are the interface's own and what was delegated to it; nobody else's name can be borrowed (RFC 2827).

use super::counters::DropReason;
use super::packet::{IcmpKind, Packet};
use super::prefix::Prefix;
use super::{InterfaceId, Network};
use ntmobile_proto::time::Instant;
use std::net::IpAddr;

impl Network {
    /// Opens the interface by which a node is attached. From now on its host neither receives nor remembers anything.
    pub fn open(&mut self, interface: InterfaceId) {
        self.interface_mut(interface).is_open = true;
    }

    /// Whether it has been opened and not been detached since.
    pub fn is_open(&self, interface: InterfaceId) -> bool {
        let place = self.interface(interface);
        place.is_open && self.node(place.node).interfaces.contains(&interface)
    }

    /// Leads a prefix to an open interface: a whole network lies behind it outside the model, as behind a router.
    pub fn delegate(&mut self, interface: InterfaceId, prefix: Prefix) {
        let upper = self.interface(interface).peer;
        self.interface_mut(interface).delegated.push(prefix);
        self.announce(self.interface(upper).node, prefix, Some(upper));
    }

    /// Sends a packet by an open interface, as it is. One that is too large for the link and must not be cut is answered
    /// at once; whatever else becomes of it is counted at the interface's node.
    pub fn emit(&mut self, now: Instant, interface: InterfaceId, packet: Packet) {
        let place = self.interface(interface);
        let (node, mtu) = (place.node, place.transmitter.record.mtu);
        self.node_mut(node).counters.originated += 1;
        if !self.node(node).is_up {
            self.drop_packet(node, DropReason::NodeDown);
        } else if !self.is_open(interface) {
            self.drop_packet(node, DropReason::LinkDown);
        } else if !self.belongs_behind(interface, packet.source) {
            self.drop_packet(node, DropReason::ForeignSource);
        } else if packet.wire_len() <= mtu {
            self.carry(now, interface, packet);
        } else if packet.dont_fragment() {
            self.drop_packet(node, DropReason::TooBig);
            self.answer(interface, IcmpKind::PacketTooBig { mtu: mtu as u32 }, &packet);
        } else {
            self.transmit_split(now, node, interface, packet, mtu);
        }
    }

    /// What has come over open interfaces since the last call.
    pub fn drain_handed_out(&mut self) -> std::vec::Drain<'_, (InterfaceId, Packet)> {
        self.handed_out.drain(..)
    }

    fn belongs_behind(&self, interface: InterfaceId, address: IpAddr) -> bool {
        let place = self.interface(interface);
        place.addresses.iter().any(|assigned| assigned.address == address)
            || place.delegated.iter().any(|prefix| prefix.contains(address))
    }

    /// Hands an error about a packet straight back out, in the name of the node at the link's other end.
    fn answer(&mut self, interface: InterfaceId, kind: IcmpKind, subject: &Packet) {
        let place = self.interface(interface);
        let (node, upper) = (place.node, place.peer);
        let reporter = self.reporter(self.interface(upper).node, upper, subject.is_ipv4());
        let Some(error) = reporter.and_then(|reporter| Packet::icmp_error(reporter, kind, subject)) else { return };
        let counters = &mut self.node_mut(node).counters;
        counters.originated += 1;
        counters.delivered += 1;
        self.handed_out.push((interface, error));
    }
}
