//! A network together with its agenda, driven by a clock outside: what is sent at a time, what is delivered until a time.
//!
//! **Invariant:** time never goes back, and whatever was due happens before anything that is sent later. What is due happens at
//! the time for which it was due, however late the caller is, so lateness does not add up along a path.

use crate::agenda::Agenda;
use crate::network::{InterfaceId, Network, NetworkEvent, Packet};
use ntmobile_proto::time::Instant;

/// A packet that has left the model by an open interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandedOut {
    /// When it was due.
    pub at: Instant,
    /// By which interface.
    pub interface: InterfaceId,
    /// The packet.
    pub packet: Packet,
}

/// A network whose hosts are outside it, behind open interfaces; what is delivered to simulated hosts of it is dropped.
///
/// ```
/// use ntmobile_proto::time::Instant;
/// use ntmobile_sim::clocked::ClockedNetwork;
/// use ntmobile_sim::network::{LinkRecord, Network, NodeKind, Packet};
/// use std::net::SocketAddr;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut network = Network::new(7);
/// let core = network.add_node("core", NodeKind::Router)?;
/// network.serve(core, "203.0.113.0/24".parse()?)?;
/// let mut attach = |name| {
///     let host = network.add_node(name, NodeKind::Host)?;
///     let interface = network.attach(host, core, LinkRecord::with_delay(Duration::from_millis(4)))?;
///     network.open(interface);
///     Ok::<_, ntmobile_sim::network::BuildError>((interface, SocketAddr::new(network.addresses(host)[0], 4500)))
/// };
/// let ((by, from), (_, to)) = (attach("alice")?, attach("bob")?);
///
/// let mut network = ClockedNetwork::new(network);
/// network.emit(Instant::ORIGIN, by, Packet::udp(from, to, "hello".into())?);
/// assert_eq!(network.next_at(), Some(Instant(4_000_000)));
/// let handed_out = network.advance(Instant(8_000_000));
/// assert_eq!((handed_out.len(), handed_out[0].at), (1, Instant(8_000_000)));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ClockedNetwork {
    network: Network,
    agenda: Agenda<NetworkEvent>,
    now: Instant,
    handed_out: Vec<HandedOut>,
}

impl ClockedNetwork {
    /// The network, with nothing on its way.
    pub fn new(network: Network) -> Self {
        Self { network, agenda: Agenda::new(), now: Instant::ORIGIN, handed_out: Vec::new() }
    }

    /// The network as it is.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Changes or asks the network at a time.
    pub fn act<T>(&mut self, now: Instant, action: impl FnOnce(&mut Network) -> T) -> T {
        self.catch_up(now);
        let value = action(&mut self.network);
        self.collect();
        value
    }

    /// A packet comes in by an open interface.
    pub fn emit(&mut self, now: Instant, interface: InterfaceId, packet: Packet) {
        self.catch_up(now);
        self.network.emit(self.now, interface, packet);
        self.collect();
    }

    /// When something is due next. What has been handed out already waits in [`ClockedNetwork::advance`], whatever this says.
    pub fn next_at(&self) -> Option<Instant> {
        if self.handed_out.is_empty() { self.agenda.next_at() } else { Some(self.now) }
    }

    /// How many packets are on their way between two nodes.
    pub fn on_the_way(&self) -> usize {
        self.agenda.len()
    }

    /// Lets everything happen that is due until now; returns what has left the model, in the order of its times.
    pub fn advance(&mut self, now: Instant) -> Vec<HandedOut> {
        self.catch_up(now);
        std::mem::take(&mut self.handed_out)
    }

    fn catch_up(&mut self, now: Instant) {
        while self.agenda.next_at().is_some_and(|at| at <= now) {
            let Some((at, event)) = self.agenda.pop() else { break };
            self.now = self.now.max(at);
            self.network.handle(self.now, event);
            self.collect();
        }
        self.now = self.now.max(now);
    }

    fn collect(&mut self) {
        for (at, event) in self.network.drain_scheduled() {
            self.agenda.schedule(at, event);
        }
        let at = self.now;
        self.handed_out.extend(self.network.drain_handed_out().map(|(interface, packet)| HandedOut {
            at,
            interface,
            packet,
        }));
        self.network.drain_delivered();
    }
}
