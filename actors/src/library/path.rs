//! The packet path of the `library` model: between the user-space stack and the signalling port, through the tunnel
//! table, without a mailbox.

use crate::driver::{PacketPath, Upward};
use crate::engine::Errands;
use crate::host::Host;
use crate::waiting_packets::{Fate, WaitingPackets};
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Received, UdpPort};
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::machine::Input;
use ntmobile_proto::packet::{Carried, Direction, Flow, Flows, InboundRefusal, OutboundRefusal, TunnelTable};
use ntmobile_proto::time::Instant;
use ntmobile_stack::Stack;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

/// So many peers are remembered by their addresses. Beyond, all are forgotten; each is met again by its name.
const PEERS: usize = 4_096;

/// The packet path of one application on one device.
pub(crate) struct NodePath {
    entity: Arc<str>,
    port: Arc<dyn UdpPort>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    /// The table of the machine's present life.
    table: RwLock<Arc<TunnelTable>>,
    up: RwLock<Option<Upward>>,
    /// Made when the node has joined and knows its addresses.
    stack: OnceLock<Stack>,
    flows: Mutex<Flows>,
    waiting: Mutex<WaitingPackets>,
    /// Whose addresses are whose: a tunnel is asked for by name.
    met: Mutex<BTreeMap<IpAddr, Peer>>,
    errands: Errands,
}

impl NodePath {
    pub(crate) fn new(entity: Arc<str>, port: Arc<dyn UdpPort>, host: &Host, errands: Errands) -> Self {
        Self {
            entity,
            port,
            clock: Arc::clone(host.clock()),
            recorder: host.recorder().clone(),
            table: RwLock::default(),
            up: RwLock::default(),
            stack: OnceLock::new(),
            flows: Mutex::default(),
            waiting: Mutex::default(),
            met: Mutex::default(),
            errands,
        }
    }

    /// A life of the machine begins: its tunnels are these.
    pub(crate) fn use_tunnels(&self, table: Arc<TunnelTable>) {
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    /// Where packets that come out of a tunnel go.
    pub(crate) fn use_stack(&self, stack: Stack) {
        // A node that joins again after a restart keeps its stack, and with it its applications' connections.
        let _ = self.stack.set(stack);
    }

    /// The stack, once the node has joined.
    pub(crate) fn stack(&self) -> Option<&Stack> {
        self.stack.get()
    }

    /// New connections to these addresses are for this application of the peer.
    pub(super) fn prefer(&self, addresses: VirtualAddresses, application: ApplicationId) {
        let mut flows = lock(&self.flows);
        for address in [IpAddr::from(addresses.v4), IpAddr::from(addresses.v6)] {
            flows.prefer(address, application);
        }
    }

    /// A tunnel to this peer stands: what has waited for it goes.
    pub(crate) fn tunnel_stands(&self, peer: &Peer, addresses: VirtualAddresses) {
        for address in [IpAddr::from(addresses.v4), IpAddr::from(addresses.v6)] {
            self.meet(address, peer);
            let packets = lock(&self.waiting).take(address);
            packets.for_each(|packet| self.send(packet));
        }
    }

    /// Takes a packet of the stack.
    pub(crate) fn send(&self, packet: Bytes) {
        let now = self.clock.now();
        match self.seal(now, &packet) {
            Ok((to, datagram)) => self.transmit(to, datagram),
            Err(OutboundRefusal::NoTunnel(destination)) => self.keep(now, destination, packet),
            Err(OutboundRefusal::Malformed | OutboundRefusal::CarriedElsewhere) => self.count("packet.malformed"),
            Err(OutboundRefusal::ForeignSource(_)) => self.count("packet.foreign_source"),
            Err(OutboundRefusal::ControlPort) => self.count("packet.control_port"),
            Err(OutboundRefusal::Exhausted) => self.count("packet.exhausted"),
        }
    }

    fn seal(&self, now: Instant, packet: &[u8]) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        let table = self.table();
        let application = Flow::of(packet, Direction::Out).and_then(|flow| lock(&self.flows).application(&flow));
        if let Some(application) = application {
            match table.outbound_to(now, application, packet) {
                // That application's tunnel is gone; the peer's other one may do.
                Err(OutboundRefusal::NoTunnel(_)) => {}
                outcome => return outcome,
            }
        }
        table.outbound(now, packet)
    }

    fn meet(&self, address: IpAddr, peer: &Peer) {
        let mut met = lock(&self.met);
        if met.len() >= PEERS {
            met.clear();
        }
        met.insert(address, peer.clone());
    }

    fn transmit(&self, to: SocketAddr, datagram: Bytes) {
        if self.port.send(to, datagram).is_err() {
            self.count("esp.unsent");
        }
    }

    /// Keeps a packet to a peer whose tunnel is gone, and has the tunnel built again.
    fn keep(&self, now: Instant, destination: IpAddr, packet: Bytes) {
        let Some(peer) = lock(&self.met).get(&destination).cloned() else {
            return self.count("packet.unknown_peer");
        };
        let fate = lock(&self.waiting).keep(now, destination, packet);
        let asked = match fate {
            Fate::Waits => true,
            Fate::WaitsFirst => self.errands.build(peer),
            Fate::Dropped => false,
        };
        if !asked {
            self.count("packet.no_tunnel");
        }
    }

    fn tell(&self, input: Input) {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !up.is_some_and(|up| up.tell(input)) {
            self.count("signalling.overload");
        }
    }

    /// Hands an application's packet to the stack, and remembers which application it came from where that matters.
    fn deliver(&self, application: ApplicationId, packet: Bytes) {
        if let Some(flow) = Flow::of(&packet, Direction::In) {
            let newest = self.table().towards(flow.remote()).map(|tunnel| tunnel.settings().application);
            lock(&self.flows).came(flow, application, newest);
        }
        match self.stack.get() {
            Some(stack) => stack.inject(packet),
            None => self.count("packet.before_join"),
        }
    }

    fn table(&self) -> Arc<TunnelTable> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, name: &'static str) {
        self.recorder.count(&self.entity, name, 1);
    }
}

impl PacketPath for NodePath {
    fn attach(&self, up: Upward) {
        *self.up.write().unwrap_or_else(PoisonError::into_inner) = Some(up);
    }

    fn receive(&self, now: Instant, received: Received, _port: &dyn UdpPort) {
        let (table, from, octets) = (self.table(), received.from, received.bytes.len());
        let inbound = match table.inbound(now, from, received.bytes) {
            Ok(inbound) => inbound,
            Err(InboundRefusal::Malformed) => return self.count("esp.malformed"),
            Err(InboundRefusal::UnknownSpi(spi)) => {
                if let Some(answer) = table.source_unknown(now, spi, octets) {
                    self.transmit(from, answer);
                }
                return self.count("esp.unknown_spi");
            }
            Err(InboundRefusal::Esp(_)) => return self.count("esp.refused"),
            Err(InboundRefusal::ForeignInner) => return self.count("esp.foreign_inner"),
        };
        for notice in inbound.notices {
            self.tell(Input::PacketPath(notice));
        }
        match inbound.carried {
            Carried::Packet(packet) => self.deliver(inbound.application, packet),
            Carried::Control(bytes) => self.tell(Input::TunnelControl { tunnel: inbound.tunnel, bytes }),
            Carried::Nothing => {}
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
