//! A packet's way through the network: sent, carried over a link, passed on, delivered, or dropped for a reason.

use super::counters::DropReason;
use super::fragment::{self, Reassembled};
use super::link::Fate;
use super::packet::{IcmpKind, Packet, Transport, Unreachable};
use super::route::Target;
use super::tap::tap;
use super::{InterfaceId, Network, NetworkEvent, NodeId, Role};
use ntmobile_proto::time::Instant;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use thiserror::Error;

/// Why a host's packet did not even leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The node is no host, or is switched off.
    #[error("only a host that is switched on can send")]
    NotAHost,
    /// The source address is not, or no longer, the host's.
    #[error("{0} is not an address of this host")]
    NotOurAddress(IpAddr),
    /// The host has no interface that leads there.
    #[error("{0} cannot be reached from here")]
    NoRoute(IpAddr),
    /// The packet does not fit the path and must not be fragmented.
    #[error("the packet is larger than the {mtu} bytes that the path carries")]
    TooBig {
        /// What the path carries, as far as is known.
        mtu: usize,
    },
}

/// How long a host remembers a path's MTU (RFC 8201 §4).
const PATH_MTU_MEMORY: Duration = Duration::from_secs(600);
/// To how many destinations at once.
const MOST_PATHS: usize = 4_096;

/// What a host has learned of the MTUs of its paths.
#[derive(Debug, Default)]
pub(super) struct PathMtu(BTreeMap<IpAddr, (usize, Instant)>);

impl PathMtu {
    fn get(&self, now: Instant, destination: IpAddr) -> usize {
        self.0.get(&destination).filter(|(_, until)| now < *until).map_or(usize::MAX, |(mtu, _)| *mtu)
    }

    fn learn(&mut self, now: Instant, destination: IpAddr, mtu: usize) {
        // No link may be narrower than that, so no honest report says less.
        let mtu = mtu.max(if destination.is_ipv4() { 68 } else { 1_280 });
        let mtu = mtu.min(self.get(now, destination));
        if self.0.len() >= MOST_PATHS && !self.0.contains_key(&destination) {
            self.0.retain(|_, (_, until)| now < *until);
            if self.0.len() >= MOST_PATHS {
                self.0.pop_first();
            }
        }
        self.0.insert(destination, (mtu, now + PATH_MTU_MEMORY));
    }
}

impl Network {
    /// Sends a packet from a host.
    ///
    /// It leaves by the interface that has its source address. One that is larger than the path carries, as far as the
    /// host knows, is cut here unless it forbids that.
    pub fn send(&mut self, now: Instant, host: NodeId, mut packet: Packet) -> Result<(), SendError> {
        let node = self.node(host);
        if !node.is_up || !matches!(node.role, Role::Host) {
            return Err(SendError::NotAHost);
        }
        let Some(interface) = self.interface_with(host, packet.source) else {
            return Err(SendError::NotOurAddress(packet.source));
        };
        let is_local = self.interface_with(host, packet.destination).is_some();
        if !self.interface(interface).is_up && !is_local {
            return Err(SendError::NoRoute(packet.destination));
        }
        let mtu = self.path_mtu(now, host, packet.source, packet.destination);
        let is_too_big = packet.wire_len() > mtu && !is_local;
        if is_too_big && packet.dont_fragment {
            return Err(SendError::TooBig { mtu });
        }
        let node = self.node_mut(host);
        packet.identification = node.next_identification;
        node.next_identification = match packet.source {
            IpAddr::V4(_) => (node.next_identification + 1) & 0xffff,
            IpAddr::V6(_) => node.next_identification.wrapping_add(1),
        };
        node.counters.originated += 1;
        if is_local {
            self.deliver(now, host, packet);
        } else if is_too_big {
            self.transmit_split(now, host, interface, packet, mtu);
        } else {
            self.carry(now, interface, packet);
        }
        Ok(())
    }

    /// Sends a packet from a host whatever source it bears, as somebody does who speaks in another's name. Routers look at
    /// destinations alone.
    pub fn forge(&mut self, now: Instant, host: NodeId, packet: Packet) {
        let node = self.node(host);
        let is_host = node.is_up && matches!(node.role, Role::Host);
        let interface = node.interfaces.iter().copied().find(|id| self.interface(*id).is_up);
        if let Some(interface) = interface.filter(|_| is_host) {
            self.node_mut(host).counters.originated += 1;
            self.carry(now, interface, packet);
        }
    }

    /// Which of the host's interfaces has this address.
    fn interface_with(&self, host: NodeId, address: IpAddr) -> Option<InterfaceId> {
        let interfaces = self.node(host).interfaces.iter().copied();
        let mut having =
            interfaces.filter(|id| self.interface(*id).addresses.iter().any(|assigned| assigned.address == address));
        having.next()
    }

    /// The address from which a host sends to `destination` when it has the choice: one in the same network if there is
    /// one, else the preferred one of that family.
    pub fn source_for(&self, host: NodeId, destination: IpAddr) -> Option<IpAddr> {
        let interfaces = self.node(host).interfaces.iter().map(|id| self.interface(*id));
        let mut usable = interfaces.filter(|interface| interface.is_up).flat_map(|interface| &interface.addresses);
        let family = usable.clone().find(|assigned| assigned.address.is_ipv4() == destination.is_ipv4());
        usable.find(|assigned| assigned.prefix.contains(destination)).or(family).map(|assigned| assigned.address)
    }

    /// The largest packet that a host may send from one address to another uncut, as far as it knows.
    pub fn path_mtu(&self, now: Instant, host: NodeId, source: IpAddr, destination: IpAddr) -> usize {
        let interface = self.interface_with(host, source);
        let link = interface.map_or(usize::MAX, |id| self.interface(id).transmitter.record.mtu);
        link.min(self.node(host).path_mtu.get(now, destination))
    }

    /// Does what was scheduled for this moment.
    pub fn handle(&mut self, now: Instant, event: NetworkEvent) {
        let Some(packet) = self.land(event.packet) else { return };
        let interface = &mut self.interfaces[event.interface.number()];
        let node = &mut self.nodes[interface.node.number()];
        if !interface.is_up || !node.is_up {
            let reason = if interface.is_up { DropReason::NodeDown } else { DropReason::LinkDown };
            node.counters.drop_one(reason);
            return;
        }
        tap(&mut self.capture, interface, now, true, &packet);
        interface.traffic.received_packets += 1;
        interface.traffic.received_bytes += packet.wire_len() as u64;
        node.counters.received += 1;
        if interface.is_open {
            node.counters.delivered += 1;
            self.handed_out.push((event.interface, packet));
            return;
        }
        let (id, came_by) = (interface.node, event.interface);
        match &node.role {
            Role::Host => self.arrive_at_host(now, id, packet),
            Role::Router => self.forward(now, id, came_by, packet),
            Role::Nat(_) => self.arrive_at_nat(now, id, came_by, packet),
            Role::Firewall(_) => self.arrive_at_firewall(now, id, came_by, packet),
        }
    }

    fn arrive_at_host(&mut self, now: Instant, host: NodeId, packet: Packet) {
        if self.interface_with(host, packet.destination).is_none() {
            self.drop_packet(host, DropReason::NotForUs);
            return;
        }
        match packet.transport {
            Transport::Fragment(_) => {
                if let Some(whole) = self.reassemble(now, host, packet) {
                    self.deliver(now, host, whole);
                }
            }
            _ => self.deliver(now, host, packet),
        }
    }

    /// Takes a fragment in; returns the whole packet when it was the last one missing.
    pub(super) fn reassemble(&mut self, now: Instant, node: NodeId, fragment: Packet) -> Option<Packet> {
        let node = self.node_mut(node);
        let expired = node.reassembly.expire(now);
        node.counters.drop_many(DropReason::ReassemblyTimeout, expired);
        let (outcome, evicted) = node.reassembly.add(now, fragment);
        node.counters.drop_many(DropReason::ReassemblyFull, evicted);
        match outcome {
            Reassembled::Held => None,
            Reassembled::Whole(packet, pieces) => {
                node.counters.merged += pieces - 1;
                Some(packet)
            }
            Reassembled::Broken(pieces) => {
                node.counters.drop_many(DropReason::BadFragment, pieces);
                None
            }
        }
    }

    /// Gives a packet to the host, whose memory of the path is refreshed by what the packet reports.
    fn deliver(&mut self, now: Instant, host: NodeId, packet: Packet) {
        let node = self.node_mut(host);
        node.counters.delivered += 1;
        if let Transport::Icmp(error) = &packet.transport
            && let IcmpKind::PacketTooBig { mtu } = error.kind
        {
            node.path_mtu.learn(now, error.quoted.destination.ip(), mtu as usize);
        }
        self.delivered.push((host, packet));
    }

    /// Passes a packet on by the routing table.
    pub(super) fn forward(&mut self, now: Instant, node: NodeId, came_by: InterfaceId, packet: Packet) {
        if packet.hop_limit <= 1 {
            self.refuse(now, node, came_by, &packet, DropReason::HopLimit, Some(IcmpKind::TimeExceeded));
            return;
        }
        match self.node(node).routes.lookup(packet.destination) {
            Some(Target::Via(interface)) => self.pass_on(now, node, came_by, interface, packet),
            Some(Target::Local) => self.drop_packet(node, DropReason::NotForUs),
            // The silence of a network that somebody has just left.
            Some(Target::Nobody) => self.drop_packet(node, DropReason::NoSuchHost),
            None => {
                let kind = IcmpKind::Unreachable(Unreachable::Network);
                self.refuse(now, node, came_by, &packet, DropReason::NoRoute, Some(kind));
            }
        }
    }

    /// Sends a packet that came by one interface out of another, one hop older.
    pub(super) fn pass_on(
        &mut self,
        now: Instant,
        node: NodeId,
        came_by: InterfaceId,
        interface: InterfaceId,
        mut packet: Packet,
    ) {
        packet.hop_limit -= 1;
        self.node_mut(node).counters.forwarded += 1;
        let mtu = self.interface(interface).transmitter.record.mtu;
        if packet.wire_len() <= mtu {
            self.carry(now, interface, packet);
        } else if packet.dont_fragment() {
            let kind = IcmpKind::PacketTooBig { mtu: mtu as u32 };
            self.refuse(now, node, came_by, &packet, DropReason::TooBig, Some(kind));
        } else {
            self.transmit_split(now, node, interface, packet, mtu);
        }
    }

    pub(super) fn transmit_split(
        &mut self,
        now: Instant,
        node: NodeId,
        interface: InterfaceId,
        packet: Packet,
        mtu: usize,
    ) {
        match fragment::split(&packet, mtu) {
            Some(pieces) => {
                self.node_mut(node).counters.split += pieces.len() as u64 - 1;
                for piece in pieces {
                    self.carry(now, interface, piece);
                }
            }
            None => self.drop_packet(node, DropReason::TooBig),
        }
    }

    /// Hands a packet to the link behind an interface.
    pub(super) fn carry(&mut self, now: Instant, interface: InterfaceId, packet: Packet) {
        let place = &mut self.interfaces[interface.number()];
        let counters = &mut self.nodes[place.node.number()].counters;
        if !place.is_up {
            counters.drop_one(DropReason::LinkDown);
            return;
        }
        let length = packet.wire_len();
        match place.transmitter.offer(now, length) {
            Fate::Dropped(DropReason::QueueFull) => counters.drop_one(DropReason::QueueFull),
            fate => {
                tap(&mut self.capture, place, now, false, &packet);
                place.traffic.sent_packets += 1;
                place.traffic.sent_bytes += length as u64;
                let peer = place.peer;
                match fate {
                    Fate::Dropped(reason) => counters.drop_one(reason),
                    Fate::Arrives { at, twice } => {
                        if twice {
                            counters.duplicated += 1;
                            self.take_off(at, peer, packet.clone());
                        }
                        self.take_off(at, peer, packet);
                    }
                }
            }
        }
    }

    /// Puts a packet among those in flight, to arrive at an interface.
    fn take_off(&mut self, at: Instant, interface: InterfaceId, packet: Packet) {
        let number = match self.free.pop() {
            Some(number) => {
                self.in_flight[number as usize] = Some(packet);
                number
            }
            None => {
                self.in_flight.push(Some(packet));
                u32::try_from(self.in_flight.len() - 1).expect("fewer than 2^32 packets in flight")
            }
        };
        self.scheduled.push((at, NetworkEvent { interface, packet: number }));
    }

    /// Takes a packet from those in flight.
    fn land(&mut self, number: u32) -> Option<Packet> {
        let packet = self.in_flight.get_mut(number as usize)?.take()?;
        self.free.push(number);
        Some(packet)
    }

    pub(super) fn drop_packet(&mut self, node: NodeId, reason: DropReason) {
        self.node_mut(node).counters.drop_one(reason);
    }

    /// Drops a packet and tells its sender, back over the interface by which it came.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        node: NodeId,
        came_by: InterfaceId,
        packet: &Packet,
        reason: DropReason,
        kind: Option<IcmpKind>,
    ) {
        self.drop_packet(node, reason);
        let reporter = self.reporter(node, came_by, packet.is_ipv4());
        let error = kind.zip(reporter).and_then(|(kind, reporter)| Packet::icmp_error(reporter, kind, packet));
        if let Some(error) = error {
            self.node_mut(node).counters.originated += 1;
            self.carry(now, came_by, error);
        }
    }

    /// The address under which a node reports errors out of an interface.
    pub(super) fn reporter(&self, node: NodeId, interface: InterfaceId, ipv4: bool) -> Option<IpAddr> {
        let on_interface = self.interface(interface).addresses.iter().map(|assigned| assigned.address);
        let gateways = self.node(node).pools.iter().filter_map(|pool| pool.gateway());
        let elsewhere = self.node(node).interfaces.iter().flat_map(|id| &self.interface(*id).addresses);
        let mut all = on_interface.chain(gateways).chain(elsewhere.map(|assigned| assigned.address));
        all.find(|address| address.is_ipv4() == ipv4)
    }
}
