//! What a stack knows, behind its lock: addresses, ports in use, connections and their deadlines.

use crate::connection::{Cause, Connection, FourTuple, Parameters, Role};
use crate::packet::icmp::{self, Message};
use crate::packet::{self, Packet};
use crate::stack::StackOptions;
use crate::udp::Binding;
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received};
use ntmobile_proto::time::Instant;
use ntmobile_wire::entropy::{Entropy, draw};
use smoltcp::wire::{IpProtocol, TcpControl, TcpRepr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

/// The ports that are given out (RFC 6335 §6).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL_COUNT: u16 = u16::MAX - FIRST_EPHEMERAL + 1;

/// What is left to do once the lock is released, in order.
#[derive(Default)]
pub(crate) struct Effects {
    pub(crate) packets: VecDeque<Bytes>,
    pub(crate) wakers: Vec<Waker>,
}

/// A port on which connections are accepted.
#[derive(Default)]
pub(crate) struct Listening {
    pub(crate) backlog: usize,
    /// Half-open connections and those that wait to be accepted.
    pub(crate) pending: usize,
    pub(crate) ready: VecDeque<u64>,
    pub(crate) acceptor: Option<Waker>,
}

/// A stack's state.
pub(crate) struct State {
    pub(crate) options: StackOptions,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) address_changes: u64,
    pub(crate) watchers: Vec<Waker>,
    pub(crate) udp: BTreeMap<u16, Binding>,
    pub(crate) listening: BTreeMap<u16, Listening>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// Which connection a segment belongs to.
    tuples: BTreeMap<FourTuple, u64>,
    next_connection: u64,
    pub(crate) deadlines: BTreeSet<(Instant, u64)>,
    entropy: Box<dyn Entropy + Send>,
}

impl State {
    pub(crate) fn new(options: StackOptions, addresses: Vec<IpAddr>, entropy: Box<dyn Entropy + Send>) -> Self {
        Self {
            options,
            addresses,
            address_changes: 0,
            watchers: Vec::new(),
            udp: BTreeMap::new(),
            listening: BTreeMap::new(),
            connections: BTreeMap::new(),
            tuples: BTreeMap::new(),
            next_connection: 0,
            deadlines: BTreeSet::new(),
            entropy,
        }
    }

    /// The address from which to reach `to`: the preferred one of its family, or itself if it is ours.
    pub(crate) fn source_for(&self, to: IpAddr) -> Option<IpAddr> {
        if self.addresses.contains(&to) {
            return Some(to);
        }
        self.addresses.iter().copied().find(|address| address.is_ipv4() == to.is_ipv4())
    }

    fn parameters(&mut self) -> Parameters {
        Parameters {
            seed: u64::from_be_bytes(draw(self.entropy.as_mut())),
            mtu: self.options.mtu,
            buffer: self.options.buffer,
            connect_timeout: self.options.connect_timeout,
            timeout: self.options.timeout,
        }
    }

    /// A port for which `is_free` holds, looked for from a drawn one on.
    pub(crate) fn ephemeral_port(&mut self, is_free: impl Fn(&Self, u16) -> bool) -> Result<u16, NetError> {
        let start = u16::from_be_bytes(draw(self.entropy.as_mut())) % EPHEMERAL_COUNT;
        (0..EPHEMERAL_COUNT)
            .map(|offset| FIRST_EPHEMERAL + (start + offset) % EPHEMERAL_COUNT)
            .find(|&port| is_free(self, port))
            .ok_or(NetError::NoPort)
    }

    /// Begins to connect; the number of the connection.
    pub(crate) fn connect(&mut self, to: SocketAddr, now: Instant, effects: &mut Effects) -> Result<u64, NetError> {
        let source = self.source_for(to.ip()).ok_or(NetError::Unreachable(to))?;
        let tuple = |port| FourTuple { local: SocketAddr::new(source, port), remote: to };
        let port = self.ephemeral_port(|state, port| {
            !state.tuples.contains_key(&tuple(port)) && !state.listening.contains_key(&port)
        })?;
        let connection = Connection::connect(tuple(port), self.parameters(), now)?;
        let number = self.enter(connection);
        self.poll(number, now, Cause::Other, effects);
        Ok(number)
    }

    fn enter(&mut self, connection: Connection) -> u64 {
        self.next_connection += 1;
        self.tuples.insert(connection.tuple, self.next_connection);
        self.connections.insert(self.next_connection, connection);
        self.next_connection
    }

    /// Forgets a connection.
    fn remove(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        if let Some(listed) = connection.listed {
            self.deadlines.remove(&(listed, number));
        }
        if self.tuples.get(&connection.tuple) == Some(&number) {
            self.tuples.remove(&connection.tuple);
        }
        if connection.role == Role::HalfOpen
            && let Some(listening) = self.listening.get_mut(&connection.tuple.local.port())
        {
            listening.pending -= 1;
        }
    }

    /// A packet has arrived.
    pub(crate) fn receive(&mut self, bytes: Bytes, now: Instant, effects: &mut Effects) {
        let Some(packet) = Packet::parse(&bytes) else { return };
        if !self.addresses.contains(&packet.destination) {
            return;
        }
        match packet.protocol {
            IpProtocol::Udp => self.receive_datagram(&packet, &bytes, effects),
            IpProtocol::Tcp => self.receive_segment(&packet, &bytes, now, effects),
            IpProtocol::Icmp | IpProtocol::Icmpv6 => match icmp::understand(&packet) {
                Some(Message::Answer(answer)) => effects.packets.push_back(answer),
                Some(Message::Error(error)) => self.receive_error(&error, now, effects),
                None => {}
            },
            _ => {}
        }
    }

    fn receive_datagram(&mut self, packet: &Packet<'_>, bytes: &Bytes, effects: &mut Effects) {
        let Some((from, to, payload)) = packet.udp() else { return };
        match self.udp.get_mut(&to) {
            Some(binding) => {
                let from = SocketAddr::new(packet.source, from);
                let received = Received { from, to: packet.destination, bytes: bytes.slice_ref(payload) };
                effects.wakers.extend(binding.receive(received));
            }
            None => effects.packets.extend(icmp::port_unreachable(packet)),
        }
    }

    fn receive_segment(&mut self, packet: &Packet<'_>, bytes: &Bytes, now: Instant, effects: &mut Effects) {
        let Some(segment) = packet.tcp() else { return };
        let tuple = FourTuple {
            local: SocketAddr::new(packet.destination, segment.dst_port),
            remote: SocketAddr::new(packet.source, segment.src_port),
        };
        let opens = segment.control == TcpControl::Syn && segment.ack_number.is_none();
        let known = self.tuples.get(&tuple).copied().filter(|number| {
            // A new connection may take the place of one that only waits for stray packets.
            !(opens && self.connections.get(number).is_some_and(Connection::is_in_time_wait))
        });
        let number = match known {
            Some(number) => Some(number),
            None if opens => self.open(tuple, packet, &segment, now, effects),
            None => {
                effects.packets.extend(packet::reset(packet, &segment));
                None
            }
        };
        if let Some(connection) = number.and_then(|number| self.connections.get_mut(&number)) {
            connection.inject(bytes.clone());
            self.poll(number.expect("just looked up"), now, Cause::Packet, effects);
        }
    }

    /// A SYN for no connection: a half-open one, if somebody listens and has room. Without room it is dropped, so that
    /// the other end tries again later; without a listener it is reset.
    fn open(
        &mut self,
        tuple: FourTuple,
        packet: &Packet<'_>,
        segment: &TcpRepr<'_>,
        now: Instant,
        effects: &mut Effects,
    ) -> Option<u64> {
        let Some(listening) = self.listening.get_mut(&tuple.local.port()) else {
            effects.packets.extend(packet::reset(packet, segment));
            return None;
        };
        if listening.pending >= listening.backlog {
            return None;
        }
        listening.pending += 1;
        let parameters = self.parameters();
        let connection = Connection::listen(tuple, parameters, now)?;
        Some(self.enter(connection))
    }

    fn receive_error(&mut self, error: &icmp::Error, now: Instant, effects: &mut Effects) {
        if error.protocol != IpProtocol::Tcp {
            return;
        }
        let tuple = FourTuple { local: error.local, remote: error.remote };
        let Some(&number) = self.tuples.get(&tuple) else { return };
        if let Some(connection) = self.connections.get_mut(&number) {
            match error.too_big_for {
                Some(mtu) => connection.narrow(mtu, now),
                None => connection.unreachable(),
            }
            self.poll(number, now, Cause::Other, effects);
        }
    }

    /// The deadlines that have come.
    pub(crate) fn expire(&mut self, now: Instant, effects: &mut Effects) {
        while let Some(&(at, number)) = self.deadlines.first()
            && at <= now
        {
            self.deadlines.pop_first();
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.listed = None;
            }
            self.poll(number, now, Cause::Other, effects);
        }
    }

    /// Lets a connection do what is to be done now, and draws the consequences.
    pub(crate) fn poll(&mut self, number: u64, now: Instant, cause: Cause, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let mut packets = connection.poll(now, cause);
        if connection.role == Role::Orphan && !connection.is_closed() && connection.has_unread() {
            // Nobody will ever read this: the other end is told, as every host does.
            connection.abort();
            packets.extend(connection.poll(now, cause));
        }
        // An address that is gone sends nothing; the connection waits for its return until it times out.
        if self.addresses.contains(&connection.tuple.local.ip()) {
            effects.packets.extend(packets);
        }
        if connection.role == Role::HalfOpen && connection.is_open() {
            connection.role = Role::Ready;
            if let Some(listening) = self.listening.get_mut(&connection.tuple.local.port()) {
                listening.ready.push_back(number);
                effects.wakers.extend(listening.acceptor.take());
            }
        }
        if connection.readable() {
            effects.wakers.extend(connection.reader.take());
        }
        if connection.writable() {
            effects.wakers.extend(connection.writer.take());
        }
        if connection.is_closed() && matches!(connection.role, Role::HalfOpen | Role::Orphan) {
            return self.remove(number);
        }
        let deadline = connection.deadline(now);
        if connection.listed != deadline {
            if let Some(listed) = connection.listed {
                self.deadlines.remove(&(listed, number));
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, number));
            }
            connection.listed = deadline;
        }
    }

    /// A stream is gone. What it has not read cannot be read any more: then the connection is broken off with a reset.
    /// Otherwise it is closed, and ends by itself.
    pub(crate) fn release(&mut self, number: u64, now: Instant, effects: &mut Effects) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.role = Role::Orphan;
        if connection.has_unread() {
            connection.abort();
        } else {
            connection.close();
        }
        self.poll(number, now, Cause::Other, effects);
    }

    /// A listener is gone: what it has not accepted is broken off.
    pub(crate) fn stop_listening(&mut self, port: u16, now: Instant, effects: &mut Effects) {
        self.listening.remove(&port);
        let pending: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                connection.tuple.local.port() == port && matches!(connection.role, Role::HalfOpen | Role::Ready)
            })
            .map(|(&number, _)| number)
            .collect();
        for number in pending {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.role = Role::Orphan;
                connection.abort();
            }
            self.poll(number, now, Cause::Other, effects);
        }
    }

    /// Breaks everything off in silence. Returns what held wakers, to be dropped without the lock.
    pub(crate) fn power_off(&mut self, now: Instant, effects: &mut Effects) -> (Vec<Listening>, Vec<Binding>) {
        self.set_addresses(Vec::new(), effects);
        let numbers: Vec<u64> = self.connections.keys().copied().collect();
        for number in numbers {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.break_off();
            }
            self.poll(number, now, Cause::Other, effects);
        }
        let mut listening: Vec<_> = std::mem::take(&mut self.listening).into_values().collect();
        let mut bindings: Vec<_> = std::mem::take(&mut self.udp).into_values().collect();
        effects.wakers.extend(listening.iter_mut().filter_map(|listening| listening.acceptor.take()));
        effects.wakers.extend(bindings.iter_mut().filter_map(Binding::close));
        (listening, bindings)
    }

    /// Replaces the addresses; those who watch are told if that changed anything.
    pub(crate) fn set_addresses(&mut self, addresses: Vec<IpAddr>, effects: &mut Effects) {
        if self.addresses != addresses {
            self.addresses = addresses;
            self.address_changes += 1;
            effects.wakers.append(&mut self.watchers);
        }
    }
}
