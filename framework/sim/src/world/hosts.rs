//! What the world keeps of each host beside its place in the network: open ports, queues, who watches its addresses.

use crate::entropy::SimEntropy;
use crate::network::NodeId;
use ntmobile_ports::net::{NetError, Received};
use ntmobile_stack::Stack;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::task::Waker;

/// How many datagrams a UDP port holds for its reader; what comes on top is lost.
const UDP_QUEUE: usize = 512;
/// The ports that are given out (RFC 6335 §6).
const FIRST_EPHEMERAL: u16 = 49_152;
const EPHEMERAL_COUNT: u16 = u16::MAX - FIRST_EPHEMERAL + 1;

/// A UDP port that is open.
#[derive(Debug)]
pub(crate) struct UdpQueue {
    /// Which socket has the port: one that died in a crash must not read what a later one receives.
    pub(crate) socket: u64,
    pub(crate) queue: VecDeque<Received>,
    pub(crate) reader: Option<Waker>,
}

impl UdpQueue {
    /// Queues a datagram, if there is room; whom to wake.
    pub(crate) fn receive(&mut self, received: Received) -> Result<Option<Waker>, Received> {
        if self.queue.len() >= UDP_QUEUE {
            return Err(received);
        }
        self.queue.push_back(received);
        Ok(self.reader.take())
    }
}

/// What a host has counted above the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Datagrams lost because their reader was too slow.
    pub queue_full: u64,
    /// Datagrams for ports that nobody had open; each was answered by an ICMP error.
    pub closed_port: u64,
    /// ICMP errors about datagrams that this host had sent.
    pub unreachable: u64,
}

/// A host.
#[derive(Debug)]
pub(crate) struct HostState {
    pub(crate) is_up: bool,
    pub(crate) udp: BTreeMap<u16, UdpQueue>,
    next_socket: u64,
    chance: SimEntropy,
    /// TCP and ICMP echoes; made when first needed, gone after a crash.
    pub(crate) stack: Option<Stack>,
    pub(crate) counters: HostCounters,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) address_changes: u64,
    pub(crate) watchers: Vec<Waker>,
}

impl HostState {
    pub(crate) fn new(addresses: Vec<IpAddr>, chance: SimEntropy) -> Self {
        Self {
            is_up: true,
            udp: BTreeMap::new(),
            next_socket: 0,
            chance,
            stack: None,
            counters: HostCounters::default(),
            addresses,
            address_changes: 0,
            watchers: Vec::new(),
        }
    }

    /// Opens a UDP port, 0 for a drawn one; its number and that of the socket.
    pub(crate) fn bind(&mut self, port: u16) -> Result<(u16, u64), NetError> {
        let port = match port {
            0 => {
                let start = u16::try_from(self.chance.below(EPHEMERAL_COUNT.into())).expect("below 2^14");
                (0..EPHEMERAL_COUNT)
                    .map(|offset| FIRST_EPHEMERAL + (start + offset) % EPHEMERAL_COUNT)
                    .find(|port| !self.udp.contains_key(port))
                    .ok_or(NetError::NoPort)?
            }
            port if self.udp.contains_key(&port) => return Err(NetError::PortInUse(port)),
            port => port,
        };
        self.next_socket += 1;
        let queue = UdpQueue { socket: self.next_socket, queue: VecDeque::new(), reader: None };
        self.udp.insert(port, queue);
        Ok((port, self.next_socket))
    }

    /// The port, if this socket still has it.
    pub(crate) fn udp_of(&mut self, port: u16, socket: u64) -> Option<&mut UdpQueue> {
        self.udp.get_mut(&port).filter(|queue| queue.socket == socket)
    }
}

/// All hosts that somebody has a handle to, by the number of their node.
#[derive(Debug, Default)]
pub(crate) struct Hosts(Vec<Option<HostState>>);

impl Hosts {
    pub(crate) fn get_mut(&mut self, node: NodeId) -> Option<&mut HostState> {
        self.0.get_mut(node.number())?.as_mut()
    }

    /// The host's state, made by `make` if there is none.
    pub(crate) fn enter(&mut self, node: NodeId, make: impl FnOnce() -> HostState) -> &mut HostState {
        if self.0.len() <= node.number() {
            self.0.resize_with(node.number() + 1, || None);
        }
        self.0[node.number()].get_or_insert_with(make)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut HostState)> {
        self.0.iter_mut().enumerate().filter_map(|(number, host)| Some((number, host.as_mut()?)))
    }
}
