//! A NAT's mappings: which inner endpoint has which outer one, for whom, and until when.
//!
//! **Invariant:** an outer endpoint belongs to at most one mapping, and every mapping in the table is queued for expiry.

use super::ports::Ports;
use super::{Dependence, NatRecord, Pooling};
use crate::network::InterfaceId;
use crate::network::chance::Chance;
use crate::network::counters::DropReason;
use crate::network::packet::protocol;
use crate::network::session::{Direction, Expiry, Session, Timers};
use ntmobile_proto::time::Instant;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// A conversation as the inside sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) protocol: u8,
    /// `None` for anything but TCP.
    pub(super) tcp_flags: Option<u8>,
    /// The endpoint on our side: the inner one going out, the outer one coming in.
    pub(super) ours: SocketAddrV4,
    /// The endpoint outside.
    pub(super) theirs: SocketAddrV4,
}

/// What distinguishes mappings; the outside endpoint's parts that do not count are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MappingKey {
    protocol: u8,
    inner: SocketAddrV4,
    outside: SocketAddrV4,
}

#[derive(Clone, Debug)]
struct Mapping {
    key: MappingKey,
    outer: SocketAddrV4,
    /// With whom the inside has spoken through it: what the filter lets in.
    sessions: BTreeMap<SocketAddrV4, Session>,
    deadline: Instant,
    queued: Instant,
}

/// What one inner address has.
#[derive(Clone, Copy, Debug)]
struct Share {
    outer: Ipv4Addr,
    mappings: usize,
}

#[derive(Debug)]
pub(in crate::network) struct NatTable {
    record: NatRecord,
    timers: Timers,
    chance: Chance,
    /// The outer addresses, and the interface of each.
    outer: Vec<(Ipv4Addr, InterfaceId)>,
    next_outer: usize,
    mappings: Vec<Option<Mapping>>,
    free: Vec<u32>,
    by_inner: BTreeMap<MappingKey, u32>,
    by_outer: BTreeMap<(u8, SocketAddrV4), u32>,
    shares: BTreeMap<Ipv4Addr, Share>,
    ports: Ports,
    expiry: Expiry<u32>,
}

impl NatTable {
    pub(super) fn new(record: NatRecord, chance: Chance) -> Self {
        Self {
            record,
            timers: record.timers(),
            chance,
            outer: Vec::new(),
            next_outer: 0,
            mappings: Vec::new(),
            free: Vec::new(),
            by_inner: BTreeMap::new(),
            by_outer: BTreeMap::new(),
            shares: BTreeMap::new(),
            ports: Ports::default(),
            expiry: Expiry::default(),
        }
    }

    /// How many mappings it has at this moment.
    pub(in crate::network) fn len(&mut self, now: Instant) -> usize {
        self.expire(now);
        self.by_outer.len()
    }

    pub(super) fn is_outer(&self, address: Ipv4Addr) -> bool {
        self.outer.iter().any(|(outer, _)| *outer == address)
    }

    /// Takes note of the outer addresses it has now; mappings on others are gone.
    pub(in crate::network) fn set_outer(&mut self, outer: Vec<(Ipv4Addr, InterfaceId)>) {
        self.outer = outer;
        for id in 0..self.mappings.len() as u32 {
            let lost = self.mappings[id as usize].as_ref().is_some_and(|mapping| !self.is_outer(*mapping.outer.ip()));
            if lost {
                self.remove(id);
            }
        }
    }

    pub(super) fn forget(&mut self) {
        self.mappings.clear();
        self.free.clear();
        self.by_inner.clear();
        self.by_outer.clear();
        self.shares.clear();
        self.ports.forget();
        self.expiry = Expiry::default();
    }

    fn key(&self, protocol: u8, inner: SocketAddrV4, outside: SocketAddrV4) -> MappingKey {
        let outside = match self.record.mapping {
            Dependence::EndpointIndependent => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            Dependence::AddressDependent => SocketAddrV4::new(*outside.ip(), 0),
            Dependence::AddressAndPortDependent => outside,
        };
        MappingKey { protocol, inner, outside }
    }

    fn mapping(&mut self, id: u32) -> &mut Mapping {
        self.mappings[id as usize].as_mut().expect("the indices name mappings that are there")
    }

    /// A packet goes out of `interface`: its outer endpoint, under a new mapping if there is none.
    pub(super) fn outbound(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        flow: Flow,
    ) -> Result<SocketAddrV4, DropReason> {
        self.expire(now);
        let key = self.key(flow.protocol, flow.ours, flow.theirs);
        let known = self.by_inner.get(&key).copied().filter(|id| {
            let outer = self.mappings[*id as usize].as_ref().map(|mapping| *mapping.outer.ip());
            self.outer.iter().any(|(address, at)| Some(*address) == outer && *at == interface)
        });
        let id = match known {
            Some(id) => id,
            None => self.create(now, interface, key)?,
        };
        self.note(now, id, Direction::Outbound, &flow)?;
        Ok(self.mapping(id).outer)
    }

    /// A packet comes in to one of the outer endpoints: the inner endpoint, if the filter lets it through.
    pub(super) fn inbound(&mut self, now: Instant, flow: Flow) -> Result<SocketAddrV4, DropReason> {
        self.expire(now);
        let id = *self.by_outer.get(&(flow.protocol, flow.ours)).ok_or(DropReason::NatNoMapping)?;
        if !self.lets_in(now, id, flow.theirs) {
            return Err(DropReason::NatFiltered);
        }
        self.note(now, id, Direction::Inbound, &flow)?;
        Ok(self.mapping(id).key.inner)
    }

    /// The inner endpoint of an outer one, whoever asks and without refreshing anything: for ICMP errors (RFC 5508).
    pub(super) fn inner_of(&mut self, now: Instant, protocol: u8, outer: SocketAddrV4) -> Option<SocketAddrV4> {
        self.expire(now);
        let id = *self.by_outer.get(&(protocol, outer))?;
        Some(self.mapping(id).key.inner)
    }

    /// The reverse, for a conversation with `outside`.
    pub(super) fn outer_of(
        &mut self,
        now: Instant,
        protocol: u8,
        inner: SocketAddrV4,
        outside: SocketAddrV4,
    ) -> Option<SocketAddrV4> {
        self.expire(now);
        let id = *self.by_inner.get(&self.key(protocol, inner, outside))?;
        Some(self.mapping(id).outer)
    }

    fn lets_in(&mut self, now: Instant, id: u32, outside: SocketAddrV4) -> bool {
        let filtering = self.record.filtering;
        let sessions = &self.mapping(id).sessions;
        let is_alive = |session: &Session| session.is_alive(now);
        match filtering {
            Dependence::EndpointIndependent => true,
            Dependence::AddressDependent => {
                let ports = SocketAddrV4::new(*outside.ip(), 0)..=SocketAddrV4::new(*outside.ip(), u16::MAX);
                sessions.range(ports).any(|(_, session)| is_alive(session))
            }
            Dependence::AddressAndPortDependent => sessions.get(&outside).is_some_and(is_alive),
        }
    }

    /// Takes note of a packet under a mapping.
    fn note(&mut self, now: Instant, id: u32, direction: Direction, flow: &Flow) -> Result<(), DropReason> {
        let (timers, most) = (self.timers, self.record.max_sessions_per_mapping);
        let mapping = self.mapping(id);
        let known = mapping.sessions.get_mut(&flow.theirs).filter(|session| session.is_alive(now));
        if let Some(session) = known {
            session.observe(now, direction, flow.tcp_flags, &timers);
        } else if direction == Direction::Outbound || flow.tcp_flags.is_some() {
            // A UDP packet let in by a filter that does not ask who sent it gives no permission; only going out does.
            if mapping.sessions.len() >= most {
                mapping.sessions.retain(|_, session| session.is_alive(now));
            }
            if mapping.sessions.len() >= most {
                return Err(DropReason::NatTableFull);
            }
            mapping.sessions.insert(flow.theirs, Session::begin(now, direction, flow.tcp_flags, &timers));
        }
        if mapping.key.protocol == protocol::TCP {
            // The state of one connection may cut its life short, so the mapping lives as long as the longest.
            mapping.deadline = mapping.sessions.values().map(|session| session.deadline).max().unwrap_or(now);
        } else if timers.is_refreshed_by(direction) {
            mapping.deadline = now + timers.udp;
        }
        let (deadline, mut queued) = (mapping.deadline, mapping.queued);
        self.expiry.hasten(id, &mut queued, deadline);
        self.mapping(id).queued = queued;
        Ok(())
    }

    /// Makes a mapping. It lasts from its first packet on, whichever direction refreshes.
    fn create(&mut self, now: Instant, interface: InterfaceId, key: MappingKey) -> Result<u32, DropReason> {
        if let Some(id) = self.by_inner.get(&key).copied() {
            // It was made on another uplink.
            self.remove(id);
        }
        let host = *key.inner.ip();
        let count = self.shares.get(&host).map_or(0, |share| share.mappings);
        if self.by_outer.len() >= self.record.max_mappings || count >= self.record.max_mappings_per_host {
            return Err(DropReason::NatTableFull);
        }
        let outer = self.take_outer(interface, &key).ok_or(DropReason::NatNoPort)?;
        let share = self.shares.entry(host).or_insert(Share { outer: *outer.ip(), mappings: 0 });
        share.mappings += 1;
        let id = self.free.pop().unwrap_or(self.mappings.len() as u32);
        let deadline = now + self.timers.udp;
        let queued = self.expiry.add(id, deadline);
        let mapping = Mapping { key, outer, sessions: BTreeMap::new(), deadline, queued };
        if id as usize == self.mappings.len() {
            self.mappings.push(Some(mapping));
        } else {
            self.mappings[id as usize] = Some(mapping);
        }
        self.by_inner.insert(key, id);
        self.by_outer.insert((key.protocol, outer), id);
        Ok(id)
    }

    /// An outer endpoint for a new mapping.
    fn take_outer(&mut self, interface: InterfaceId, key: &MappingKey) -> Option<SocketAddrV4> {
        let here: Vec<Ipv4Addr> =
            self.outer.iter().filter(|(_, at)| *at == interface).map(|(address, _)| *address).collect();
        let paired = self.shares.get(key.inner.ip()).map(|share| share.outer).filter(|outer| here.contains(outer));
        let candidates = match (self.record.pooling, paired) {
            (_, _) if here.is_empty() => return None,
            (Pooling::Paired, Some(outer)) => vec![outer],
            (Pooling::Paired, None) => {
                self.next_outer = (self.next_outer + 1) % here.len();
                vec![here[self.next_outer]]
            }
            (Pooling::Arbitrary, _) => {
                let start = self.chance.below(here.len() as u64) as usize;
                here[start..].iter().chain(&here[..start]).copied().collect()
            }
        };
        candidates.into_iter().find_map(|address| {
            let space = (key.protocol, address);
            let port = self.ports.take(space, key.inner.port(), &self.record, &mut self.chance)?;
            Some(SocketAddrV4::new(address, port))
        })
    }

    fn remove(&mut self, id: u32) {
        let Some(mapping) = self.mappings[id as usize].take() else { return };
        self.expiry.remove(id, mapping.queued);
        self.free.push(id);
        self.by_inner.remove(&mapping.key);
        self.by_outer.remove(&(mapping.key.protocol, mapping.outer));
        self.ports.give_back((mapping.key.protocol, *mapping.outer.ip()), mapping.outer.port());
        let host = *mapping.key.inner.ip();
        if let Some(share) = self.shares.get_mut(&host) {
            share.mappings -= 1;
            if share.mappings == 0 {
                self.shares.remove(&host);
            }
        }
    }

    /// Forgets what has been quiet for too long.
    fn expire(&mut self, now: Instant) {
        while let Some(id) = self.expiry.pop(now) {
            let mapping = self.mapping(id);
            let deadline = mapping.deadline;
            mapping.queued = deadline;
            if deadline <= now {
                self.remove(id);
            } else {
                self.expiry.add(id, deadline);
            }
        }
    }
}
