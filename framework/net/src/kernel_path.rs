//! The packet path in the kernel (node model `kernel`): its IPsec tables are kept in step with the tunnel table, and
//! applications' packets cross a virtual interface of its own (an *xfrm interface*) without coming to this process.
//!
//! **Who has what.** The kernel seals, opens, counts and guards against replay, on the port that this process has opened: what
//! begins like ESP it takes, signalling comes up. This process has the tunnel table, and hears of changes in it as its
//! [`Mirror`]; signalling's own messages inside a tunnel go by an ordinary socket on the virtual interface.
//!
//! **What the kernel tells**: that a packet finds no tunnel, and that packets come from another address than before. What has
//! passed it tells when it is asked, which one thread does every second.

mod control;
mod ledger;
#[cfg(test)]
mod tests;
mod way;

use crate::links;
use crate::net::NetOptions;
use crate::packet_path::wake::Waker;
use crate::packet_path::{Event, Failure, failure};
use crate::udp::OsUdpPort;
use crate::xfrm::{
    Counters, Events, KernelEvent, Policy, PolicyId, Sequence, State, StateId, Tables, is_without_esp, is_without_ipsec,
};
use arc_swap::ArcSwap;
use control::ControlSocket;
use ledger::{Kernel, Ledger};
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{NetError, UdpPort};
use ntmobile_proto::machine::PacketNotice;
use ntmobile_proto::packet::{CONTROL_PORT, Mirror, TunnelSettings, TunnelTable};
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Events that may wait to be taken up.
const UPWARD: usize = 1_024;
/// How often the kernel is asked what has passed, in milliseconds.
const LOOK: u16 = 1_000;

/// Why the kernel does not carry the packets.
#[derive(Debug, Error)]
pub enum KernelPathError {
    /// It has no IPsec, or not what is needed of it.
    #[error(
        "this kernel cannot carry the packets: it has no {0}; load or build it in, or use the model \"tun\", which needs nothing of the \
         kind"
    )]
    Unsupported(&'static str),
    /// Its tables are the administrator's.
    #[error("the kernel's IPsec tables need privilege; run as root or give the program CAP_NET_ADMIN")]
    NeedsNetAdmin,
    /// The port cannot be had.
    #[error(transparent)]
    Port(#[from] NetError),
    /// Something else is refused.
    #[error("the kernel does not carry the packets: {0}")]
    Refused(#[source] io::Error),
}

impl KernelPathError {
    fn of(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NeedsNetAdmin,
            _ if is_without_ipsec(&error) => Self::Unsupported("IPsec tables (xfrm_user)"),
            _ => Self::Refused(error),
        }
    }
}

/// A running path. What it has put into the kernel stays when it is dropped: whoever made the interface removes both
/// ([`Footprint`](crate::footprint::Footprint)).
pub struct KernelPath {
    shared: Arc<Shared>,
    socket: Arc<OsUdpPort>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread, the machine and the port share.
struct Shared {
    interface: String,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger<Host>>,
    /// The table of the machine's present life.
    table: ArcSwap<TunnelTable>,
    control: Mutex<Option<ControlSocket>>,
    kernel_events: Events,
    events: mpsc::Sender<Event>,
    lost_events: AtomicU64,
    /// Messages of peers with several tunnels, of which it is not known which they are about.
    lost_control: AtomicU64,
    failure: watch::Sender<Option<Failure>>,
    waker: Waker,
    stopping: AtomicBool,
}

/// The kernel of this host.
struct Host {
    tables: Tables,
}

impl KernelPath {
    /// Opens the port (0 for any) and takes the tables of the interface with this name and number, which is there. Must be
    /// called within a tokio runtime with I/O.
    pub fn start(
        options: &NetOptions,
        port: u16,
        (interface, number): (&str, u32),
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, mpsc::Receiver<Event>), KernelPathError> {
        check_support()?;
        let socket = Arc::new(OsUdpPort::bind(options, port)?);
        socket.give_esp_to_kernel().map_err(|error| match error.raw_os_error() {
            Some(libc::ENOPROTOOPT) => KernelPathError::Unsupported("ESP in UDP"),
            _ => KernelPathError::of(error),
        })?;
        let host = Host { tables: Tables::open().map_err(KernelPathError::of)? };
        let ledger = Ledger::open(host, number, socket.port()).map_err(KernelPathError::of)?;
        let (events, told) = mpsc::channel(UPWARD);
        let shared = Arc::new(Shared {
            interface: interface.to_owned(),
            clock,
            ledger: Mutex::new(ledger),
            table: ArcSwap::default(),
            control: Mutex::default(),
            kernel_events: Events::listen().map_err(KernelPathError::of)?,
            events,
            lost_events: AtomicU64::new(0),
            lost_control: AtomicU64::new(0),
            failure: watch::Sender::default(),
            waker: Waker::new().map_err(KernelPathError::Refused)?,
            stopping: AtomicBool::new(false),
        });
        let watched = Arc::clone(&shared);
        let serve = move || failure::watched(&watched.failure, || watched.watch());
        let thread = std::thread::Builder::new().name("kernel-path".to_owned()).spawn(serve);
        let thread = thread.map_err(KernelPathError::Refused)?;
        Ok((Self { shared, socket, thread: Some(thread) }, told))
    }

    /// The port as signalling sees it. What is said inside tunnels does not go by here.
    pub fn signalling(&self) -> Arc<dyn UdpPort> {
        Arc::clone(&self.socket) as Arc<dyn UdpPort>
    }

    /// A life of the machine begins: its tunnels are these, and those of the life before are gone.
    pub fn use_tunnels(&self, table: Arc<TunnelTable>) {
        self.shared.ledger().clear();
        table.mirror(Arc::clone(&self.shared) as Arc<dyn Mirror>);
        self.shared.table.store(table);
    }

    /// Waits until packets are not carried any more: the thread has ended, or the interface has gone.
    pub fn failed(&self) -> impl Future<Output = Failure> + use<> {
        failure::failed(self.shared.failure.subscribe())
    }

    /// Looks after the tunnels now: the host's addresses have changed.
    pub fn look(&self) {
        self.shared.waker.wake();
    }

    /// What is counted, by the names that metrics give it.
    pub fn counted(&self) -> [(&'static str, u64); 3] {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (lost, ambiguous) = (count(&self.shared.lost_events), count(&self.shared.lost_control));
        let refused = self.shared.ledger().refused();
        [("kernel.refused", refused), ("kernel.control_ambiguous", ambiguous), ("path.events_overload", lost)]
    }
}

impl Drop for KernelPath {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.shared.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KernelPath({} on {})", self.socket.port(), self.shared.interface)
    }
}

/// Whether the kernel takes states of both families. A state of its own tells, that leads nowhere.
fn check_support() -> Result<(), KernelPathError> {
    let tables = Tables::open().map_err(KernelPathError::of)?;
    let spi = Spi(u32::MAX);
    let key = EspKey::derive(&Secret::from_bytes([0; 32]), CipherSuite::Aes128Gcm, Role::Mn, spi)
        .expect("this version has the suite");
    let ends: [(IpAddr, &'static str); 2] =
        [(Ipv4Addr::LOCALHOST.into(), "ESP with AES-GCM (esp4)"), (Ipv6Addr::LOCALHOST.into(), "ESP over IPv6 (esp6)")];
    for (end, what) in ends {
        let id = StateId { destination: end, spi };
        let sequence = Sequence::nothing_opened();
        let state = State { id, source: end, ports: (1, 1), request: 0, interface: u32::MAX, key: &key, sequence };
        match tables.add_state(&state) {
            Ok(()) => tables.remove_state(&id).map_err(KernelPathError::of)?,
            // Somebody asks at the same time.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) if is_without_esp(&error) => return Err(KernelPathError::Unsupported(what)),
            Err(error) => return Err(KernelPathError::of(error)),
        }
    }
    Ok(())
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger<Host>> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> MutexGuard<'_, Option<ControlSocket>> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: hears what the kernel tells and what peers' signalling says, and looks after the tunnels.
    fn watch(&self) -> io::Result<()> {
        let mut next_look = self.clock.now();
        while !self.stopping.load(Ordering::Relaxed) {
            let control = self.control().as_ref().and_then(ControlSocket::watched);
            let readable = std::iter::once(self.kernel_events.as_fd()).chain(control.as_ref().map(AsFd::as_fd));
            self.waker.wait_for(readable, LOOK)?;
            self.take_kernel_events();
            self.take_control();
            if self.clock.now() >= next_look {
                next_look = self.clock.now() + std::time::Duration::from_millis(LOOK.into());
                self.look_after_tunnels();
                if links::index(&self.interface).is_none() {
                    failure::fail(&self.failure, Failure::DeviceGone);
                }
            }
        }
        Ok(())
    }

    fn take_kernel_events(&self) {
        loop {
            match self.kernel_events.next() {
                Ok(told) => told.into_iter().for_each(|event| self.take_kernel_event(event)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // More came than the kernel keeps for us: what matters is told again.
                Err(_) => {
                    self.lost_events.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
        }
    }

    fn take_kernel_event(&self, event: KernelEvent) {
        match event {
            KernelEvent::Wanted(destination) => self.tell(Event::Wanted { destination }),
            KernelEvent::Moved { spi, from } => {
                let Some(tunnel) = self.table.load().receiving(spi) else { return };
                if tunnel.next_hop() != from {
                    let tunnel = tunnel.settings().spi_in;
                    self.tell(Event::Notice(PacketNotice::Roamed { tunnel, from }));
                }
            }
        }
    }

    fn take_control(&self) {
        // Received first, told then: who tells may send by the same socket.
        let received = self.control().as_ref().map(ControlSocket::receive_all).unwrap_or_default();
        for (from, bytes) in received {
            let table = self.table.load();
            let Some(tunnel) = table.towards(from) else { continue };
            // Where it does not say which tunnel it has come by, nothing is believed that would be done to one.
            if control::is_about_a_tunnel(&bytes) && table.is_ambiguous_towards(from) {
                self.lost_control.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let tunnel = tunnel.settings().spi_in;
            self.ledger().control_passed(tunnel, true, control::packet_length(&bytes));
            self.tell(Event::Control { tunnel, bytes });
        }
    }

    fn look_after_tunnels(&self) {
        let tunnels = self.ledger().tunnels();
        for tunnel in tunnels {
            let now = self.clock.now();
            let Some(passage) = self.ledger().look_after(now, tunnel) else { continue };
            let Some(tunnel) = self.table.load().receiving(tunnel) else { continue };
            for notice in tunnel.note_passage(now, &passage) {
                self.tell(Event::Notice(notice));
            }
        }
    }

    fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.lost_events.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Mirror for Shared {
    fn installed(&self, settings: &TunnelSettings, incoming: &EspKey, outgoing: &EspKey) {
        let mut control = self.control();
        if control.as_ref().is_none_or(|socket| socket.address() != settings.local.v6) {
            match ControlSocket::open(settings.local.v6, &self.interface) {
                Ok(socket) => *control = Some(socket),
                Err(error) => {
                    tracing::warn!(%error, "keys cannot be renewed: the virtual IPv6 address has no control port")
                }
            }
            self.waker.wake();
        }
        drop(control);
        self.ledger().installed(settings, incoming, outgoing);
    }

    fn accepts(&self, tunnel: Spi, spi: Spi, key: &EspKey) {
        self.ledger().accepts(tunnel, spi, key);
    }

    fn sends(&self, tunnel: Spi, spi: Spi, key: &EspKey) {
        self.ledger().sends(tunnel, spi, key);
    }

    fn moved(&self, tunnel: Spi, next_hop: SocketAddr) {
        self.ledger().moved(tunnel, next_hop);
    }

    fn leads(&self, address: IpAddr, tunnel: Option<Spi>) {
        self.ledger().leads(address, tunnel);
    }

    fn control(&self, tunnel: &TunnelSettings, message: &[u8]) -> bool {
        // The kernel takes it into the tunnel that leads to the peer, whichever is meant.
        let (table, peer) = (self.table.load(), tunnel.remote.v6.into());
        let is_leading = table.towards(peer).is_some_and(|leading| leading.settings().spi_in == tunnel.spi_in);
        // The answer that brings a new key into use would not be believed.
        if !is_leading || (control::asks_for_key(message) && table.is_ambiguous_towards(peer)) {
            return false;
        }
        let to = SocketAddr::from((tunnel.remote.v6, CONTROL_PORT));
        let sent = self.control().as_ref().map(|socket| socket.send(to, message));
        let is_sent = matches!(sent, Some(Ok(())));
        if is_sent {
            self.ledger().control_passed(tunnel.spi_in, false, control::packet_length(message));
        }
        is_sent
    }

    fn removed(&self, tunnel: Spi) {
        self.ledger().removed(tunnel);
    }
}

impl Kernel for Host {
    fn add_state(&self, state: &State<'_>) -> io::Result<()> {
        self.tables.add_state(state)
    }

    fn update_state(&self, state: &State<'_>) -> io::Result<()> {
        self.tables.update_state(state)
    }

    fn remove_state(&self, id: &StateId) -> io::Result<()> {
        self.tables.remove_state(id)
    }

    fn counters(&self, id: &StateId) -> io::Result<Counters> {
        self.tables.counters(id)
    }

    fn put_policy(&self, policy: &Policy) -> io::Result<()> {
        self.tables.put_policy(policy)
    }

    fn remove_policy(&self, id: &PolicyId) -> io::Result<()> {
        self.tables.remove_policy(id)
    }

    fn source_towards(&self, to: SocketAddr) -> Option<IpAddr> {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect(to).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    }
}
