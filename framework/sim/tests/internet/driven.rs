//! A network with the agenda that drives it, and a small world with a NAT in it.

use bytes::Bytes;
use ntmobile_proto::time::Instant;
use ntmobile_sim::agenda::Agenda;
use ntmobile_sim::network::{
    LinkRecord, NatRecord, Network, NetworkEvent, NodeId, NodeKind, Packet, Prefix, SendError, Transport, tcp_flag,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) at: Instant,
    pub(crate) host: NodeId,
    pub(crate) packet: Packet,
}

impl Delivered {
    pub(crate) fn endpoints(&self) -> (SocketAddr, SocketAddr) {
        self.packet.endpoints().expect("a datagram or segment")
    }
}

pub(crate) struct Driven {
    pub(crate) network: Network,
    agenda: Agenda<NetworkEvent>,
    pub(crate) now: Instant,
}

impl Driven {
    pub(crate) fn new(network: Network) -> Self {
        Self { network, agenda: Agenda::new(), now: Instant::ORIGIN }
    }

    pub(crate) fn send(&mut self, host: NodeId, packet: Packet) {
        self.try_send(host, packet).expect("the host can send");
    }

    pub(crate) fn try_send(&mut self, host: NodeId, packet: Packet) -> Result<(), SendError> {
        let outcome = self.network.send(self.now, host, packet);
        self.collect();
        outcome
    }

    fn collect(&mut self) {
        for (at, event) in self.network.drain_scheduled() {
            self.agenda.schedule(at, event);
        }
    }

    /// Lets everything happen up to `until`; returns what was delivered.
    pub(crate) fn run_until(&mut self, until: Instant) -> Vec<Delivered> {
        let mut delivered = Vec::new();
        self.take_delivered(&mut delivered);
        while self.agenda.next_at().is_some_and(|at| at <= until) {
            let Some((at, event)) = self.agenda.pop() else { break };
            self.now = at;
            self.network.handle(at, event);
            self.collect();
            self.take_delivered(&mut delivered);
        }
        delivered
    }

    /// Lets everything happen that is under way.
    pub(crate) fn run(&mut self) -> Vec<Delivered> {
        let delivered = self.run_until(Instant(u64::MAX));
        self.check_conservation();
        delivered
    }

    fn take_delivered(&mut self, delivered: &mut Vec<Delivered>) {
        let at = self.now;
        delivered.extend(self.network.drain_delivered().map(|(host, packet)| Delivered { at, host, packet }));
    }

    pub(crate) fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Nothing vanishes and nothing comes from nowhere.
    pub(crate) fn check_conservation(&self) {
        let all = self.network.totals();
        assert_eq!(
            all.originated + all.duplicated + all.split,
            all.delivered + all.all_dropped() + all.merged + self.network.in_flight(),
            "{all:?}"
        );
    }

    pub(crate) fn ipv4(&self, host: NodeId) -> IpAddr {
        self.network.addresses(host).into_iter().find(IpAddr::is_ipv4).expect("an IPv4 address")
    }

    pub(crate) fn ipv6(&self, host: NodeId) -> IpAddr {
        self.network.addresses(host).into_iter().find(IpAddr::is_ipv6).expect("an IPv6 address")
    }
}

pub(crate) fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

pub(crate) fn milliseconds(count: u64) -> LinkRecord {
    LinkRecord::with_delay(Duration::from_millis(count))
}

pub(crate) fn udp(from: SocketAddr, to: SocketAddr) -> Packet {
    Packet::udp(from, to, Bytes::from_static(b"probe")).expect("one family")
}

/// A segment with these flags and nothing in it.
pub(crate) fn tcp(from: SocketAddr, to: SocketAddr, flags: u8) -> Packet {
    let mut segment = [0; 20];
    segment[..2].copy_from_slice(&from.port().to_be_bytes());
    segment[2..4].copy_from_slice(&to.port().to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = flags;
    Packet::tcp(from.ip(), to.ip(), Bytes::copy_from_slice(&segment)).expect("one family")
}

pub(crate) const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;

/// Two hosts behind one middlebox, and two outside.
pub(crate) struct Lab {
    pub(crate) driven: Driven,
    pub(crate) middlebox: NodeId,
    pub(crate) inside: [NodeId; 2],
    pub(crate) outside: [NodeId; 2],
}

impl Lab {
    pub(crate) fn with_nat(record: NatRecord) -> Self {
        Self::new(NodeKind::Nat(record))
    }

    pub(crate) fn new(kind: NodeKind) -> Self {
        let mut network = Network::new(7);
        let core = network.add_node("core", NodeKind::Router).expect("a new name");
        let middlebox = network.add_node("middlebox", kind).expect("a new name");
        for (node, prefixes) in
            [(core, ["203.0.113.0/24", "2001:db8::/64"]), (middlebox, ["10.0.0.0/24", "2001:db8:1::/64"])]
        {
            for text in prefixes {
                network.serve(node, prefix(text)).expect("a router");
            }
        }
        network.attach(middlebox, core, milliseconds(1)).expect("addresses are left");
        let mut host = |name: &str, to| {
            let host = network.add_node(name, NodeKind::Host).expect("a new name");
            network.attach(host, to, milliseconds(1)).expect("addresses are left");
            host
        };
        let inside = [host("alice", middlebox), host("bob", middlebox)];
        let outside = [host("carol", core), host("dave", core)];
        Self { driven: Driven::new(network), middlebox, inside, outside }
    }

    pub(crate) fn inner(&self, host: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.driven.ipv4(self.inside[host]), port)
    }

    pub(crate) fn outer(&self, host: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.driven.ipv4(self.outside[host]), port)
    }

    /// A UDP probe from an inside host to an outside one: the endpoint that the outside sees, if the probe gets there.
    pub(crate) fn probe_out(&mut self, from: (usize, u16), to: (usize, u16)) -> Option<SocketAddr> {
        let (source, destination) = (self.inner(from.0, from.1), self.outer(to.0, to.1));
        self.driven.send(self.inside[from.0], udp(source, destination));
        let delivered = self.driven.run();
        let arrived = delivered.iter().find(|delivered| delivered.host == self.outside[to.0])?;
        Some(arrived.endpoints().0)
    }

    /// A UDP probe from an outside host: whether it reaches the inside, and there the inner endpoint that was meant.
    pub(crate) fn probe_in(&mut self, from: (usize, u16), to: SocketAddr, meant: (usize, u16)) -> bool {
        self.driven.send(self.outside[from.0], udp(self.outer(from.0, from.1), to));
        let delivered = self.driven.run();
        for arrived in &delivered {
            assert_eq!(arrived.host, self.inside[meant.0], "it came to somebody else");
            assert_eq!(arrived.endpoints(), (self.outer(from.0, from.1), self.inner(meant.0, meant.1)));
        }
        !delivered.is_empty()
    }

    pub(crate) fn payload_of(packet: &Packet) -> &Bytes {
        match packet.transport() {
            Transport::Udp { payload, .. } => payload,
            other => panic!("no datagram: {other:?}"),
        }
    }
}
