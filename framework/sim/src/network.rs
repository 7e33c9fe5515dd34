//! The simulated internet as data: nodes, links between them, and packets on their way.
//!
//! **Invariant:** what the network does depends on its seed and the calls made to it alone. It has no clock and no tasks:
//! whoever owns the agenda passes the time in.
//!
//! How to drive it:
//! 1. build it: [`Network::add_node`], [`Network::serve`], [`Network::attach`];
//! 2. when a host sends, [`Network::send`]; when the time of a [`NetworkEvent`] has come, [`Network::handle`];
//! 3. after each of these, put what [`Network::drain_scheduled`] yields into the agenda and give what
//!    [`Network::drain_delivered`] yields to the hosts; go on at 2.
//!
//! ```
//! use ntmobile_proto::time::Instant;
//! use ntmobile_sim::agenda::Agenda;
//! use ntmobile_sim::network::{LinkRecord, NatRecord, Network, NodeKind, Packet};
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut network = Network::new(7);
//! let core = network.add_node("core", NodeKind::Router)?;
//! network.serve(core, "203.0.113.0/24".parse()?)?;
//! let home = network.add_node("home", NodeKind::Nat(NatRecord::default()))?;
//! network.serve(home, "192.168.1.0/24".parse()?)?;
//! network.attach(home, core, LinkRecord::with_delay(Duration::from_millis(8)))?;
//! let [alice, bob] = ["alice", "bob"].map(|name| network.add_node(name, NodeKind::Host));
//! let (alice, bob) = (alice?, bob?);
//! network.attach(alice, home, LinkRecord::default())?;
//! network.attach(bob, core, LinkRecord::default())?;
//!
//! let [from, to] = [alice, bob].map(|host| SocketAddr::new(network.addresses(host)[0], 4500));
//! network.send(Instant::ORIGIN, alice, Packet::udp(from, to, "hello".into())?)?;
//! let mut agenda = Agenda::new();
//! loop {
//!     for (at, event) in network.drain_scheduled() {
//!         agenda.schedule(at, event);
//!     }
//!     for (host, packet) in network.drain_delivered() {
//!         // Bob sees the NAT's address.
//!         assert_eq!((host, packet.source().to_string()), (bob, "203.0.113.2".into()));
//!     }
//!     let Some((now, event)) = agenda.pop() else { break };
//!     network.handle(now, event);
//! }
//! assert_eq!(network.totals().delivered, 1);
//! # Ok(()) }
//! ```
//!
//! A host need not be simulated: the interface of one whose network layer is elsewhere, in a real kernel for instance, is opened
//! ([`Network::open`]); it sends by [`Network::emit`], and [`Network::drain_handed_out`] yields what comes to it.
//!
//! Packets in flight stay inside the network; an event only names one, so the agenda moves a few bytes for each hop.
//!
//! NATs, firewalls and links each have a record of plain values; the book's chapter on the simulator explains every field.

mod admission;
mod chance;
mod counters;
mod firewall;
mod fragment;
mod link;
mod nat;
mod outside;
mod packet;
mod prefix;
mod reachability;
mod route;
mod session;
mod tap;
mod topology;
mod transit;

#[cfg(test)]
mod tests;

pub use admission::AdmissionError;
pub use counters::{Counters, DropReason, Traffic};
pub use firewall::FirewallRecord;
pub use link::{Link, LinkRecord, LinkRecordError};
pub use nat::{
    Dependence, Fragments, Hairpin, Ipv6Passage, NatRecord, NatRecordError, Pooling, PortAllocation, Refresh,
};
pub use packet::{
    DEFAULT_HOP_LIMIT, Fragment, IcmpError, IcmpKind, Packet, PacketError, Quoted, Transport, Unreachable, protocol,
    tcp_flag,
};
pub use prefix::{Prefix, PrefixError};
pub use topology::BuildError;
pub use transit::SendError;

use crate::capture::Capture;
use firewall::Firewall;
use fragment::Reassembly;
use link::Transmitter;
use nat::Nat;
use ntmobile_proto::time::Instant;
use prefix::Pool;
use route::RouteTable;
use std::collections::BTreeMap;
use std::net::IpAddr;
use transit::PathMtu;

/// A node of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// One end of a link, at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(u32);

impl NodeId {
    /// Its number: nodes are numbered from 0 in the order in which they were added.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

impl InterfaceId {
    /// Its number: interfaces are numbered from 0 in the order in which they came to be, and never reused.
    pub fn number(self) -> usize {
        self.0 as usize
    }
}

/// What a node does with packets.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// Sends and receives; passes nothing on.
    Host,
    /// Passes packets on.
    Router,
    /// Passes packets on between what is attached to it, the inside, and what it is attached to, the outside, and
    /// translates the IPv4 addresses of the inside.
    Nat(NatRecord),
    /// Passes packets on between the inside and the outside, not all of them.
    Firewall(FirewallRecord),
}

/// Something that is going to happen inside the network: a packet arrives at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkEvent {
    interface: InterfaceId,
    packet: u32,
}

#[derive(Debug)]
enum Role {
    Host,
    Router,
    Nat(Box<Nat>),
    Firewall(Box<Firewall>),
}

#[derive(Debug)]
struct Node {
    name: String,
    role: Role,
    is_up: bool,
    /// In a host, the preferred one first.
    interfaces: Vec<InterfaceId>,
    /// Those of the interfaces that lead up, to where the node is attached.
    uplinks: Vec<InterfaceId>,
    routes: RouteTable,
    pools: Vec<Pool>,
    /// The prefixes that are reached through this node, and by which of its interfaces; `None` for its own.
    behind: Vec<(Prefix, Option<InterfaceId>)>,
    next_identification: u32,
    reassembly: Reassembly,
    path_mtu: PathMtu,
    counters: Counters,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assigned {
    address: IpAddr,
    /// The network in which it lies.
    prefix: Prefix,
    /// Whether it came from the pool of the node at the other end, and goes back there.
    is_lent: bool,
}

#[derive(Debug)]
struct Interface {
    name: String,
    node: NodeId,
    peer: InterfaceId,
    is_up: bool,
    addresses: Vec<Assigned>,
    transmitter: Transmitter,
    traffic: Traffic,
    /// Its number in the capture that is running.
    captured_as: Option<u32>,
    /// Whether what comes over it is handed out of the model.
    is_open: bool,
    /// What is reached through it outside the model, beside its addresses.
    delegated: Vec<Prefix>,
}

/// The simulated internet.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    nodes: Vec<Node>,
    interfaces: Vec<Interface>,
    /// How many links there have been between two nodes of these names; names the next one's stream of chance.
    links_between: BTreeMap<(NodeId, NodeId), u32>,
    in_flight: Vec<Option<Packet>>,
    free: Vec<u32>,
    scheduled: Vec<(Instant, NetworkEvent)>,
    delivered: Vec<(NodeId, Packet)>,
    handed_out: Vec<(InterfaceId, Packet)>,
    capture: Option<Capture>,
}

impl Network {
    /// An empty network, in which chance is drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            nodes: Vec::new(),
            interfaces: Vec::new(),
            links_between: BTreeMap::new(),
            in_flight: Vec::new(),
            free: Vec::new(),
            scheduled: Vec::new(),
            delivered: Vec::new(),
            handed_out: Vec::new(),
            capture: None,
        }
    }

    /// What has been scheduled since the last call; each event is to be given to [`Network::handle`] at its time.
    pub fn drain_scheduled(&mut self) -> std::vec::Drain<'_, (Instant, NetworkEvent)> {
        self.scheduled.drain(..)
    }

    /// The packets that have reached their hosts since the last call, fragments made whole.
    pub fn drain_delivered(&mut self) -> std::vec::Drain<'_, (NodeId, Packet)> {
        self.delivered.drain(..)
    }

    /// How many packets are on their way, fragments that wait for others included.
    pub fn in_flight(&self) -> u64 {
        let held: u64 = self.nodes.iter().map(|node| node.reassembly.held()).sum();
        (self.in_flight.len() - self.free.len()) as u64 + held
    }

    /// What a node has seen so far.
    pub fn counters(&self, node: NodeId) -> &Counters {
        &self.node(node).counters
    }

    /// What all nodes together have seen so far.
    pub fn totals(&self) -> Counters {
        let mut totals = Counters::default();
        for node in &self.nodes {
            totals += &node.counters;
        }
        totals
    }

    /// What has gone through an interface so far.
    pub fn traffic(&self, interface: InterfaceId) -> Traffic {
        self.interface(interface).traffic
    }

    /// How many mappings a NAT has at this moment; 0 for other nodes.
    pub fn nat_mappings(&mut self, now: Instant, node: NodeId) -> usize {
        match &mut self.node_mut(node).role {
            Role::Nat(nat) => nat.table.len(now),
            Role::Host | Role::Router | Role::Firewall(_) => 0,
        }
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.number()]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.number()]
    }

    fn interface(&self, interface: InterfaceId) -> &Interface {
        &self.interfaces[interface.number()]
    }

    fn interface_mut(&mut self, interface: InterfaceId) -> &mut Interface {
        &mut self.interfaces[interface.number()]
    }
}
