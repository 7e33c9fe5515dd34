//! The virtual interface: whose addresses lead into it, and what its packets need of signalling.

use super::acquaintances::Acquaintances;
use super::ground::Ground;
use super::legacy::Legacy;
use super::packets::Packets;
use bytes::Bytes;
use ntmobile_actors::driver::{PacketPath as DriverPath, Upward};
use ntmobile_actors::engine::{Carrier, Errands};
use ntmobile_actors::waiting_packets::{Fate, WaitingPackets};
use ntmobile_net::footprint::Footprint;
use ntmobile_net::packet_path::Event;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Received, UdpPort};
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::machine::Input;
use ntmobile_proto::packet::TunnelTable;
use ntmobile_proto::time::Instant;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::address::VirtualAddresses;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use tokio::sync::mpsc;

/// So many addresses of peers lead into the interface: two for each of as many peers as a machine has tunnels.
const ADDRESSES: usize = 8_192;

/// So many tunnels of a killed predecessor are built again without being asked for: their peers may be the ones who send.
const BUILT_AGAIN: usize = 16;

/// Counted where an application's packet went nowhere.
const NO_TUNNEL: &str = "packet.no_tunnel";

/// Takes packets that are for somebody in this process.
type Aside = Box<dyn Fn(Bytes) + Send + Sync>;

/// A node's virtual interface.
pub(crate) struct Interface<G = Footprint> {
    entity: Arc<str>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    path: Packets,
    errands: Errands,
    up: RwLock<Option<Upward>>,
    /// The table of the machine's present life.
    tunnels: RwLock<Arc<TunnelTable>>,
    ways: Mutex<Ways<G>>,
    waiting: Mutex<WaitingPackets>,
    /// Whom this node has tunnels with, for its successor should it be killed.
    legacy: Mutex<Option<Legacy>>,
    aside: OnceLock<Aside>,
}

/// What leads into the interface.
struct Ways<G> {
    /// Whose addresses are whose: a tunnel is asked for by name.
    met: Acquaintances,
    /// What is changed on the host, as long as the interface has addresses.
    ground: Option<G>,
}

impl<G: Ground> Interface<G> {
    pub(crate) fn new(
        entity: Arc<str>,
        clock: Arc<dyn Clock>,
        recorder: Recorder,
        path: Packets,
        errands: Errands,
    ) -> Self {
        Self {
            entity,
            clock,
            recorder,
            path,
            errands,
            up: RwLock::default(),
            tunnels: RwLock::default(),
            ways: Mutex::new(Ways { met: Acquaintances::new(ADDRESSES), ground: None }),
            waiting: Mutex::default(),
            legacy: Mutex::default(),
            aside: OnceLock::new(),
        }
    }

    /// The interface has its addresses: peers' addresses lead into it from now on, those that have been met already too.
    pub(crate) fn open(&self, ground: G) {
        let mut ways = lock(&self.ways);
        ways.ground = Some(ground);
        for address in ways.met.addresses() {
            ways.lead(address);
        }
    }

    /// Goes on where a killed predecessor was: the addresses of its peers lead into the interface again, and the tunnels that it
    /// built last are built again.
    pub(super) fn resume(&self, legacy: Legacy) {
        let tunnels = self.tunnels();
        for (peer, addresses) in legacy.known() {
            lock(&self.ways).meet(addresses.v4.into(), peer, &tunnels);
            lock(&self.ways).meet(addresses.v6.into(), peer, &tunnels);
        }
        for (peer, _) in legacy.known().rev().take(BUILT_AGAIN) {
            tracing::info!(%peer, "there was a tunnel to it when this node was killed: it is built again");
            // The next packet asks for one that is not.
            let _is_asked = self.errands.build(peer.clone());
        }
        *lock(&self.legacy) = Some(legacy);
    }

    /// There is to be no trace of whom the node had tunnels with.
    pub(super) fn leave_no_legacy(&self) {
        if let Some(legacy) = lock(&self.legacy).take() {
            legacy.forget();
        }
    }

    /// Gives back what is changed on the host, to be changed further or undone. Nothing new leads into the interface then.
    pub(crate) fn close(&self) -> Option<G> {
        lock(&self.ways).ground.take()
    }

    /// Does something to what is changed on the host.
    pub(crate) fn with_ground<T>(&self, act: impl FnOnce(&mut G) -> T) -> Option<T> {
        lock(&self.ways).ground.as_mut().map(act)
    }

    /// Completes when every address that has been met leads into the interface.
    pub(crate) async fn settled(&self) {
        let settled = self.with_ground(|ground| ground.settled());
        if let Some(settled) = settled {
            settled.await;
        }
    }

    /// Hands packets to this address to somebody in this process.
    pub(crate) fn set_aside(&self, address: IpAddr, take: impl Fn(Bytes) + Send + Sync + 'static) {
        if self.aside.set(Box::new(take)).is_ok() {
            self.path.set_aside(address);
        }
    }

    /// Who is met under an address.
    pub(crate) fn met(&self, address: IpAddr) -> Option<Peer> {
        lock(&self.ways).met.of(address).cloned()
    }

    /// The way of packets.
    pub(crate) fn path(&self) -> &Packets {
        &self.path
    }

    /// The table of the machine's present life.
    pub(crate) fn tunnels(&self) -> Arc<TunnelTable> {
        Arc::clone(&self.tunnels.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up what the packet path tells, until the path ends.
    pub(crate) async fn listen(self: Arc<Self>, mut events: mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Notice(notice) => self.tell(Input::PacketPath(notice)),
                Event::Control { tunnel, bytes } => self.tell(Input::TunnelControl { tunnel, bytes }),
                Event::Aside(packet) => {
                    if let Some(take) = self.aside.get() {
                        take(packet);
                    }
                }
                // A super-packet's connection sends single packets too when nothing is answered.
                Event::NoTunnel { packet: None, .. } => {}
                Event::Wanted { destination } => self.want(destination),
                Event::NoTunnel { destination, packet: Some(packet) } => self.keep(destination, packet),
            }
        }
    }

    /// Keeps a packet to a peer whose tunnel is gone, and has the tunnel built again.
    fn keep(&self, destination: IpAddr, packet: Bytes) {
        // Somebody's who was never met, or everybody's: the kernel sends multicast on every interface.
        let Some(peer) = self.met(destination) else { return };
        let fate = lock(&self.waiting).keep(self.clock.now(), destination, packet);
        let is_asked = match fate {
            Fate::Waits => true,
            Fate::WaitsFirst => self.errands.build(peer),
            Fate::Dropped => false,
        };
        if !is_asked {
            self.count(NO_TUNNEL);
        }
    }

    /// Has the tunnel built again that a packet in the kernel's hands asks for; the kernel asks anew after half a minute.
    fn want(&self, destination: IpAddr) {
        let is_asked = self.met(destination).is_some_and(|peer| self.errands.build(peer));
        if !is_asked {
            self.count(NO_TUNNEL);
        }
    }

    fn tell(&self, input: Input) {
        let up = self.up.read().unwrap_or_else(PoisonError::into_inner).clone();
        if !up.is_some_and(|up| up.tell(input)) {
            self.count("signalling.overload");
        }
    }

    fn count(&self, name: &'static str) {
        self.recorder.count(&self.entity, name, 1);
    }
}

impl<G: Ground> Ways<G> {
    /// An address is a peer's.
    fn meet(&mut self, address: IpAddr, peer: &Peer, tunnels: &TunnelTable) {
        let Some(change) = self.met.meet(address, peer, |met| tunnels.towards(met).is_some()) else {
            return tracing::warn!(%peer, %address, "there are too many tunnels: this peer cannot be reached until another's is closed");
        };
        for forgotten in change.forgotten {
            self.part(forgotten);
        }
        if change.is_new {
            self.lead(address);
        }
    }

    fn part(&mut self, address: IpAddr) {
        let Some(ground) = &mut self.ground else { return };
        if let Err(error) = ground.part(address) {
            tracing::warn!(%error, %address, "the address of a peer that is forgotten still leads into the interface");
        }
    }

    fn lead(&mut self, address: IpAddr) {
        let Some(ground) = &mut self.ground else { return };
        if let Err(error) = ground.lead(address) {
            tracing::warn!(%error, %address, "a peer's address does not lead into its tunnel");
        }
    }
}

impl<G: Ground> Carrier for Interface<G> {
    fn use_tunnels(&self, tunnels: Arc<TunnelTable>) {
        *self.tunnels.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&tunnels);
        self.path.use_tunnels(tunnels);
    }

    fn joined(&self, addresses: VirtualAddresses) {
        // The first time there is no ground yet, later they are there already, unless the DC has lost what it knew of us.
        let mut ways = lock(&self.ways);
        let Some(ground) = &mut ways.ground else { return };
        for address in [IpAddr::from(addresses.v4), addresses.v6.into()] {
            if let Err(error) = ground.add_address(address) {
                tracing::warn!(%error, %address, "the virtual interface did not take its address");
            }
        }
    }

    fn tunnel_stands(&self, peer: &Peer, addresses: VirtualAddresses) {
        let tunnels = self.tunnels();
        if let Some(legacy) = &mut *lock(&self.legacy) {
            legacy.meet((peer.clone(), addresses));
        }
        for address in [IpAddr::from(addresses.v4), IpAddr::from(addresses.v6)] {
            lock(&self.ways).meet(address, peer, &tunnels);
            let packets = lock(&self.waiting).take(address);
            for packet in packets {
                if self.path.send(&packet).is_err() {
                    self.count(NO_TUNNEL);
                }
            }
        }
    }
}

impl<G: Ground> DriverPath for Interface<G> {
    fn attach(&self, up: Upward) {
        *self.up.write().unwrap_or_else(PoisonError::into_inner) = Some(up);
    }

    fn receive(&self, _now: Instant, _received: Received, _port: &dyn UdpPort) {
        // The packet path has told ESP from signalling before: there is none on the signalling half of the port.
        self.count("esp.unexpected");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
