//! The load that simulators are compared by: every host sends 1,000 bytes of UDP each 10 ms to one server.
//!
//! The topologies, delays, rates and queues are those of the comparison with ns-3 in the book; here a NAT stands where that
//! one has a plain router.

use bytes::Bytes;
use ntmobile_proto::time::Instant;
use ntmobile_sim::agenda::Agenda;
use ntmobile_sim::network::{LinkRecord, NatRecord, Network, NetworkEvent, NodeId, NodeKind, Packet, Prefix};
use std::net::SocketAddr;
use std::time::Duration;

const INTERVAL: Duration = Duration::from_millis(10);
const PAYLOAD: usize = 1_000;

enum Event {
    Network(NetworkEvent),
    Send(usize),
}

/// A network under load.
pub(crate) struct Load {
    pub(crate) network: Network,
    agenda: Agenda<Event>,
    senders: Vec<(NodeId, SocketAddr)>,
    server: SocketAddr,
    payload: Bytes,
    pub(crate) delivered: u64,
    pub(crate) events: u64,
}

fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

fn link(rate: u64, delay: u64, queue_packets: usize) -> LinkRecord {
    LinkRecord { rate: Some(rate), queue_packets, ..LinkRecord::with_delay(Duration::from_millis(delay)) }
}

const ACCESS_RATE: u64 = 100_000_000;
const CORE_RATE: u64 = 10_000_000_000;

impl Load {
    /// Hosts behind one NAT, which is one hop from the server.
    pub(crate) fn star(hosts: usize) -> Self {
        let mut network = Network::new(7);
        let (core, server) = core_and_server(&mut network);
        // The NAT is the star's middle: the link between it and the server is the core's.
        let nat = add_nat(&mut network, "nat");
        network.attach(nat, core, link(CORE_RATE, 0, 20_000)).expect("addresses are left");
        let nodes = (0..hosts).map(|host| add_host(&mut network, &format!("h{host}"), nat, 5)).collect();
        Self::new(network, nodes, server)
    }

    /// Hosts behind as many NATs as there are hosts behind each, all of them one core away from the server.
    pub(crate) fn tree(side: usize) -> Self {
        let mut network = Network::new(7);
        let (core, server) = core_and_server(&mut network);
        let mut nodes = Vec::new();
        for access in 0..side {
            let nat = add_nat(&mut network, &format!("nat{access}"));
            network.attach(nat, core, link(1_000_000_000, 1, 20_000)).expect("addresses are left");
            nodes.extend((0..side).map(|host| add_host(&mut network, &format!("h{access}.{host}"), nat, 4)));
        }
        Self::new(network, nodes, server)
    }

    fn new(network: Network, nodes: Vec<NodeId>, server: NodeId) -> Self {
        let address = |node: NodeId| network.addresses(node)[0];
        let senders: Vec<_> = nodes.iter().map(|node| (*node, SocketAddr::new(address(*node), 5_000))).collect();
        let mut agenda = Agenda::new();
        for sender in 0..senders.len() {
            // Spread over the interval by a step that is prime to it.
            let offset = sender as u64 * 7_919 % 10_000;
            agenda.schedule(Instant(offset * 1_000), Event::Send(sender));
        }
        let server = SocketAddr::new(address(server), 9_000);
        let payload = vec![0; PAYLOAD].into();
        Self { network, agenda, senders, server, payload, delivered: 0, events: 0 }
    }

    /// Runs on until this moment.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.agenda.next_at().is_some_and(|at| at < end) {
            let Some((now, event)) = self.agenda.pop() else { break };
            self.events += 1;
            match event {
                Event::Network(event) => self.network.handle(now, event),
                Event::Send(sender) => {
                    let (host, from) = self.senders[sender];
                    let packet = Packet::udp(from, self.server, self.payload.clone()).expect("one family");
                    self.network.send(now, host, packet).expect("the host can send");
                    self.agenda.schedule(now + INTERVAL, Event::Send(sender));
                }
            }
            for (at, event) in self.network.drain_scheduled() {
                self.agenda.schedule(at, Event::Network(event));
            }
            self.delivered += self.network.drain_delivered().count() as u64;
        }
    }
}

fn core_and_server(network: &mut Network) -> (NodeId, NodeId) {
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    network.serve(core, prefix("198.51.100.0/24")).expect("a router");
    let server = network.add_node("server", NodeKind::Host).expect("a new name");
    network.attach(server, core, link(CORE_RATE, 1, 20_000)).expect("addresses are left");
    (core, server)
}

fn add_nat(network: &mut Network, name: &str) -> NodeId {
    let nat = network.add_node(name, NodeKind::Nat(NatRecord::default())).expect("a new name");
    network.serve(nat, prefix("10.0.0.0/16")).expect("a NAT hands out addresses");
    nat
}

fn add_host(network: &mut Network, name: &str, to: NodeId, delay: u64) -> NodeId {
    let host = network.add_node(name, NodeKind::Host).expect("a new name");
    network.attach(host, to, link(ACCESS_RATE, delay, 1_000)).expect("addresses are left");
    host
}
