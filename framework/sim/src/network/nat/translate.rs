//! A packet's way through a NAT: out under an outer endpoint, in to an inner one, or back by the hairpin.

use super::table::Flow;
use super::{Hairpin, Ipv6Passage};
use crate::network::counters::DropReason;
use crate::network::packet::{IcmpKind, Packet, Transport};
use crate::network::route::Target;
use crate::network::{InterfaceId, Network, NodeId, Role};
use ntmobile_proto::time::Instant;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// The IPv4 endpoint; NATs translate no other.
fn v4(endpoint: SocketAddr) -> Result<SocketAddrV4, DropReason> {
    match endpoint {
        SocketAddr::V4(endpoint) => Ok(endpoint),
        SocketAddr::V6(_) => Err(DropReason::NatProtocol),
    }
}

/// The IPv4 address that a packet goes to.
fn ipv4_destination(packet: &Packet) -> Option<Ipv4Addr> {
    match packet.destination {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

impl super::Nat {
    /// Rewrites a packet that leaves by `interface`.
    fn translate_out(&mut self, now: Instant, interface: InterfaceId, packet: &mut Packet) -> Result<(), DropReason> {
        let (protocol, tcp_flags) = (packet.protocol(), packet.tcp_flags());
        if let Some((source, destination)) = packet.nat_endpoints() {
            if let Transport::Echo { is_request: false, .. } = packet.transport {
                // Nobody can have asked: no NAT lets an echo in.
                return Err(DropReason::NatNoMapping);
            }
            let flow = Flow { protocol, tcp_flags, ours: v4(source)?, theirs: v4(destination)? };
            packet.set_source(self.table.outbound(now, interface, flow)?.into());
            return Ok(());
        }
        let Transport::Icmp(error) = &mut packet.transport else { return Err(DropReason::NatProtocol) };
        let (source, destination) = error.quoted.nat_endpoints();
        let (inner, outside) = (v4(destination)?, v4(source)?);
        let outer = self.table.outer_of(now, error.quoted.protocol, inner, outside).ok_or(DropReason::NatNoMapping)?;
        error.quoted.set_destination(outer.into());
        packet.source = (*outer.ip()).into();
        Ok(())
    }

    /// Rewrites a packet that comes in.
    fn translate_in(&mut self, now: Instant, packet: &mut Packet) -> Result<(), DropReason> {
        let (protocol, tcp_flags) = (packet.protocol(), packet.tcp_flags());
        if let Some((source, destination)) = packet.nat_endpoints() {
            let flow = Flow { protocol, tcp_flags, ours: v4(destination)?, theirs: v4(source)? };
            packet.set_destination(self.table.inbound(now, flow)?.into());
            return Ok(());
        }
        let Transport::Icmp(error) = &mut packet.transport else { return Err(DropReason::NatProtocol) };
        let outer = v4(error.quoted.nat_endpoints().0)?;
        let inner = self.table.inner_of(now, error.quoted.protocol, outer).ok_or(DropReason::NatNoMapping)?;
        error.quoted.set_source(inner.into());
        packet.destination = (*inner.ip()).into();
        Ok(())
    }

    /// Rewrites a packet from behind the NAT to one of its own outer endpoints.
    fn translate_hairpin(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        packet: &mut Packet,
    ) -> Result<(), DropReason> {
        if self.record.hairpin == Hairpin::Off {
            return Err(DropReason::NatNoHairpin);
        }
        let inner_source = packet.nat_endpoints().map(|(source, _)| source);
        self.translate_out(now, interface, packet)?;
        self.translate_in(now, packet)?;
        if let (Hairpin::InternalSource, Some(source)) = (self.record.hairpin, inner_source) {
            packet.set_source(source);
        }
        Ok(())
    }
}

impl Network {
    /// A packet arrives at a NAT.
    pub(in crate::network) fn arrive_at_nat(
        &mut self,
        now: Instant,
        node: NodeId,
        came_by: InterfaceId,
        packet: Packet,
    ) {
        let Some(destination) = ipv4_destination(&packet) else {
            self.arrive_over_ipv6(now, node, came_by, packet);
            return;
        };
        let Role::Nat(nat) = &self.node(node).role else { return };
        let (is_to_outer, fragments) = (nat.table.is_outer(destination), nat.record.fragments);
        let is_outside = self.node(node).uplinks.contains(&came_by);
        if is_outside && !is_to_outer {
            self.drop_packet(node, DropReason::NotForUs);
            return;
        }
        let direction = self.direction(node, came_by, &packet);
        if !is_to_outer && direction.is_none() {
            self.forward(now, node, came_by, packet);
            return;
        }
        let Some(packet) = self.made_whole(now, node, fragments, packet) else { return };
        if packet.hop_limit <= 1 {
            self.refuse(now, node, came_by, &packet, DropReason::HopLimit, Some(IcmpKind::TimeExceeded));
            return;
        }
        self.translate(now, node, came_by, is_outside, packet);
    }

    fn translate(&mut self, now: Instant, node: NodeId, came_by: InterfaceId, is_outside: bool, mut packet: Packet) {
        let before = (packet.source, packet.destination, packet.nat_endpoints());
        let out = if is_outside { None } else { self.way_out(node, &packet) };
        let Role::Nat(nat) = &mut self.nodes[node.number()].role else { return };
        let is_to_outer = ipv4_destination(&packet).is_some_and(|destination| nat.table.is_outer(destination));
        let outcome = match out {
            Some(interface) if is_to_outer => nat.translate_hairpin(now, interface, &mut packet),
            Some(interface) => nat.translate_out(now, interface, &mut packet),
            None if is_outside => nat.translate_in(now, &mut packet),
            None => Err(DropReason::NoRoute),
        };
        if let Err(reason) = outcome {
            self.drop_packet(node, reason);
            return;
        }
        let Some(next) = self.next_hop(node, packet.destination) else {
            self.drop_packet(node, DropReason::NoSuchHost);
            return;
        };
        let mtu = self.interface(next).transmitter.record.mtu;
        if packet.wire_len() > mtu && packet.dont_fragment() {
            // The sender knows the packet by the endpoints that it had before.
            match before {
                (_, _, Some((source, destination))) => {
                    packet.set_source(source);
                    packet.set_destination(destination);
                }
                (source, destination, None) => {
                    packet.source = source;
                    packet.destination = destination;
                }
            }
            let kind = IcmpKind::PacketTooBig { mtu: mtu as u32 };
            self.refuse(now, node, came_by, &packet, DropReason::TooBig, Some(kind));
            return;
        }
        self.pass_on(now, node, came_by, next, packet);
    }

    /// The outside interface by which a packet leaves; for one to the NAT's own outer address, that address's.
    fn way_out(&self, node: NodeId, packet: &Packet) -> Option<InterfaceId> {
        let uplinks = &self.node(node).uplinks;
        let owner = uplinks.iter().copied().find(|uplink| {
            self.interface(*uplink).addresses.iter().any(|assigned| assigned.address == packet.destination)
        });
        owner.or_else(|| self.next_hop(node, packet.destination).filter(|interface| uplinks.contains(interface)))
    }

    fn arrive_over_ipv6(&mut self, now: Instant, node: NodeId, came_by: InterfaceId, packet: Packet) {
        let Role::Nat(nat) = &self.node(node).role else { return };
        let (passage, fragments) = (nat.record.ipv6, nat.record.fragments);
        let Some(direction) = self.direction(node, came_by, &packet) else {
            self.forward(now, node, came_by, packet);
            return;
        };
        match passage {
            Ipv6Passage::Routed => self.forward(now, node, came_by, packet),
            Ipv6Passage::Blocked => self.drop_packet(node, DropReason::FirewallForbidden),
            Ipv6Passage::Firewalled => {
                let Some(packet) = self.made_whole(now, node, fragments, packet) else { return };
                let Role::Nat(nat) = &mut self.node_mut(node).role else { return };
                match nat.ipv6.admit(now, direction, &packet) {
                    Ok(()) => self.forward(now, node, came_by, packet),
                    Err(reason) => self.drop_packet(node, reason),
                }
            }
        }
    }

    /// Tells a NAT which outer addresses it has now.
    pub(in crate::network) fn refresh_outer_addresses(&mut self, node: NodeId) {
        let uplinks = self.node(node).uplinks.iter().copied();
        let all = uplinks.flat_map(|uplink| {
            let addresses = self.interface(uplink).addresses.iter();
            addresses.map(move |assigned| (assigned.address, uplink))
        });
        let outer = all
            .filter_map(|(address, uplink)| match address {
                IpAddr::V4(address) => Some((address, uplink)),
                IpAddr::V6(_) => None,
            })
            .collect();
        if let Role::Nat(nat) = &mut self.nodes[node.number()].role {
            nat.table.set_outer(outer);
        }
    }

    /// The interface by which a packet to this address leaves a node.
    pub(in crate::network) fn next_hop(&self, node: NodeId, destination: IpAddr) -> Option<InterfaceId> {
        match self.node(node).routes.lookup(destination)? {
            Target::Via(interface) => Some(interface),
            Target::Local | Target::Nobody => None,
        }
    }
}
