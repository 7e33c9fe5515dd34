//! Firewalls: what may leave a network, and that nothing comes in that the inside did not begin.

use super::counters::DropReason;
use super::nat::Fragments;
use super::packet::{Packet, Transport, protocol};
use super::session::{Direction, Expiry, Refresh, Session, Timers};
use super::{InterfaceId, Network, NodeId, Role};
use ntmobile_proto::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// A firewall between what is attached to it and what it is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRecord {
    /// Whether UDP is forbidden in both directions. Default no.
    pub blocks_udp: bool,
    /// The destination ports to which the inside may send; `None` for all. Default `None`.
    pub allowed_ports: Option<BTreeSet<u16>>,
    /// Whether only what the inside began may come in. Default yes.
    pub stateful: bool,
    /// How long a UDP conversation outlives its last packet. Default 30 s.
    pub udp_expiry: Duration,
    /// How long an open TCP connection outlives its last segment. Default 7,440 s.
    pub tcp_established: Duration,
    /// The same while it opens or closes. Default 240 s.
    pub tcp_transitory: Duration,
    /// How many conversations it remembers. Default 65,536.
    pub max_sessions: usize,
    /// What becomes of fragments. Default reassemble.
    pub fragments: Fragments,
}

impl Default for FirewallRecord {
    fn default() -> Self {
        Self {
            blocks_udp: false,
            allowed_ports: None,
            stateful: true,
            udp_expiry: Duration::from_secs(30),
            tcp_established: Duration::from_secs(7_440),
            tcp_transitory: Duration::from_secs(240),
            max_sessions: 65_536,
            fragments: Fragments::Reassemble,
        }
    }
}

/// How long and how much a stateful firewall remembers.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionLimits {
    pub(super) timers: Timers,
    pub(super) most: usize,
}

/// A conversation. What is neither UDP nor TCP has ports 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    protocol: u8,
    inner: SocketAddr,
    outer: SocketAddr,
}

impl Flow {
    fn of(packet: &Packet, direction: Direction) -> Self {
        let addresses = || (SocketAddr::new(packet.source, 0), SocketAddr::new(packet.destination, 0));
        let (source, destination) = packet.endpoints().unwrap_or_else(addresses);
        let (inner, outer) = match direction {
            Direction::Outbound => (source, destination),
            Direction::Inbound => (destination, source),
        };
        Self { protocol: packet.protocol(), inner, outer }
    }
}

/// The conversations that a firewall knows.
#[derive(Debug)]
pub(super) struct FirewallTable {
    limits: SessionLimits,
    sessions: BTreeMap<Flow, (Session, Instant)>,
    expiry: Expiry<Flow>,
}

impl FirewallTable {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self { limits, sessions: BTreeMap::new(), expiry: Expiry::default() }
    }

    pub(super) fn forget(&mut self) {
        self.sessions.clear();
        self.expiry = Expiry::default();
    }

    /// Whether a packet belongs to something that the inside began; what goes out begins it.
    pub(super) fn admit(&mut self, now: Instant, direction: Direction, packet: &Packet) -> Result<(), DropReason> {
        self.expire(now);
        if let Transport::Icmp(error) = &packet.transport {
            // An error belongs to the conversation of the packet that it is about, which went the other way.
            let quoted = error.quoted;
            let (inner, outer) = match direction {
                Direction::Outbound => (quoted.destination, quoted.source),
                Direction::Inbound => (quoted.source, quoted.destination),
            };
            let (inner, outer) = match quoted.protocol {
                protocol::UDP | protocol::TCP => (inner, outer),
                _ => (SocketAddr::new(inner.ip(), 0), SocketAddr::new(outer.ip(), 0)),
            };
            let is_known = self.sessions.contains_key(&Flow { protocol: quoted.protocol, inner, outer });
            return if is_known { Ok(()) } else { Err(DropReason::FirewallUnsolicited) };
        }
        let flow = Flow::of(packet, direction);
        let is_full = self.sessions.len() >= self.limits.most;
        match self.sessions.get_mut(&flow) {
            Some((session, queued)) => {
                session.observe(now, direction, packet.tcp_flags(), &self.limits.timers);
                self.expiry.hasten(flow, queued, session.deadline);
                Ok(())
            }
            None if direction == Direction::Inbound => Err(DropReason::FirewallUnsolicited),
            None if is_full => Err(DropReason::FirewallTableFull),
            None => {
                let session = Session::begin(now, direction, packet.tcp_flags(), &self.limits.timers);
                let queued = self.expiry.add(flow, session.deadline);
                self.sessions.insert(flow, (session, queued));
                Ok(())
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(flow) = self.expiry.pop(now) {
            let Some((session, queued)) = self.sessions.get_mut(&flow) else { continue };
            if session.is_alive(now) {
                *queued = self.expiry.add(flow, session.deadline);
            } else {
                self.sessions.remove(&flow);
            }
        }
    }
}

/// A firewall with what it remembers.
#[derive(Debug)]
pub(super) struct Firewall {
    pub(super) record: FirewallRecord,
    pub(super) table: FirewallTable,
}

impl Firewall {
    pub(super) fn new(record: FirewallRecord) -> Self {
        let timers = Timers {
            udp: record.udp_expiry,
            refresh: Refresh::Both,
            tcp_established: record.tcp_established,
            tcp_transitory: record.tcp_transitory,
        };
        let limits = SessionLimits { timers, most: record.max_sessions };
        Self { record, table: FirewallTable::new(limits) }
    }

    fn admit(&mut self, now: Instant, direction: Direction, packet: &Packet) -> Result<(), DropReason> {
        if self.record.blocks_udp && packet.protocol() == protocol::UDP {
            return Err(DropReason::FirewallForbidden);
        }
        let is_listed = |ports: &BTreeSet<u16>| match (packet.endpoints(), &packet.transport) {
            (Some((_, destination)), _) => ports.contains(&destination.port()),
            (None, transport) => matches!(transport, Transport::Icmp(_)),
        };
        if direction == Direction::Outbound && !self.record.allowed_ports.as_ref().is_none_or(is_listed) {
            return Err(DropReason::FirewallForbidden);
        }
        if self.record.stateful { self.table.admit(now, direction, packet) } else { Ok(()) }
    }
}

impl Network {
    /// A packet arrives at a firewall.
    pub(super) fn arrive_at_firewall(&mut self, now: Instant, node: NodeId, came_by: InterfaceId, packet: Packet) {
        let Role::Firewall(firewall) = &self.node(node).role else { return };
        let fragments = firewall.record.fragments;
        let Some(packet) = self.made_whole(now, node, fragments, packet) else { return };
        let Some(direction) = self.direction(node, came_by, &packet) else {
            self.forward(now, node, came_by, packet);
            return;
        };
        let Role::Firewall(firewall) = &mut self.node_mut(node).role else { return };
        match firewall.admit(now, direction, &packet) {
            Ok(()) => self.forward(now, node, came_by, packet),
            Err(reason) => self.drop_packet(node, reason),
        }
    }

    /// Makes a packet whole at a middlebox that looks into it; `None` while fragments are missing or refused.
    pub(super) fn made_whole(
        &mut self,
        now: Instant,
        node: NodeId,
        fragments: Fragments,
        packet: Packet,
    ) -> Option<Packet> {
        match (&packet.transport, fragments) {
            (Transport::Fragment(_), Fragments::Drop) => {
                self.drop_packet(node, DropReason::FragmentRefused);
                None
            }
            (Transport::Fragment(_), Fragments::Reassemble) => self.reassemble(now, node, packet),
            _ => Some(packet),
        }
    }

    /// Which way a packet crosses a middlebox; `None` when it stays on one side.
    pub(super) fn direction(&self, node: NodeId, came_by: InterfaceId, packet: &Packet) -> Option<Direction> {
        let is_outside = |interface: &InterfaceId| self.node(node).uplinks.contains(interface);
        match (is_outside(&came_by), self.next_hop(node, packet.destination).as_ref().map(is_outside)) {
            (true, Some(false)) => Some(Direction::Inbound),
            (false, Some(true)) => Some(Direction::Outbound),
            (_, None) | (true, Some(true)) | (false, Some(false)) => None,
        }
    }
}
