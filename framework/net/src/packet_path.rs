//! The packet path of a host: application packets between a TUN device and the network, off the actors.
//!
//! ```text
//! applications ── TUN queue ── read, find the tunnel, cut, seal ──▶ one train ── UDP socket ── network
//!                 TUN queue ◀── write, join, open in place ──── one train ◀── UDP socket
//!                                          │ signalling, notices: bounded channels
//!                                          ▼
//!                                        actors
//! ```
//!
//! Invariants: packets cross the kernel by the train in both directions; no thread waits for another; nothing is allocated for
//! a packet that passes, and its octets are copied once, where it is cut. Signalling shares the port and goes up by a channel
//! ([`PacketPath::signalling`] is the port that it sees); what does not fit is dropped and counted.
//!
//! Each thread owns a socket of the shared port and a queue of the device, and serves both in turn. The kernel spreads applications'
//! flows over queues and peers over sockets, so several tunnels use several cores, and one flow is never reordered. An RS runs the
//! same threads without a device ([`PacketPath::relay`]).

mod applications;
mod counters;
pub(crate) mod failure;
mod inbound;
mod outbound;
mod port;
mod reception;
mod relay;
mod socket;
#[cfg(test)]
mod tests;
mod too_big;
mod train;
mod upward;
#[cfg(test)]
mod vectors;
pub(crate) mod wake;

pub use counters::{Counter, Counters};
pub use failure::Failure;
pub use upward::Event;

use crate::net::NetOptions;
use crate::tun::Queue;
use crate::tun::offload::VirtioHeader;
use arc_swap::{ArcSwap, ArcSwapOption};
use inbound::Inbound;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use ntmobile_proto::packet::{Flows, OutboundRefusal, RelayTable, TunnelTable};
use ntmobile_wire::esp::sealed_length;
use ntmobile_wire::identifier::Session;
use outbound::Outbound;
use port::Port;
use relay::{Forwarder, Forwarding};
use socket::{LONGEST_TRAIN, MOST_DATAGRAMS};
use std::fmt;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use upward::SignallingPort;
use wake::Waker;

/// Signalling datagrams and events that may wait to be taken up.
const UPWARD: usize = 1_024;

/// Why a packet path did not start.
#[derive(Debug, Error)]
pub enum PathError {
    /// The port could not be had.
    #[error(transparent)]
    Port(#[from] NetError),
    /// The operating system gave no thread, or nothing to wake it by.
    #[error("the packet path could not start: {0}")]
    Start(#[from] io::Error),
}

/// The largest super-packet (for [`TunSettings::largest`](crate::tun::TunSettings::largest)) of a device with this MTU that is
/// one train when it is cut and sealed.
pub fn largest_super_packet(mtu: u16) -> u32 {
    let datagrams = (LONGEST_TRAIN / sealed_length(mtu.into())).clamp(1, MOST_DATAGRAMS);
    // The kernel sets headers apart and cuts at what applications' segments carry, which is at least so much less.
    (datagrams * usize::from(mtu.saturating_sub(40))).clamp(2_048, 65_536) as u32
}

/// The largest inner packet that goes to this next hop in one piece, as far as the kernel knows the path.
pub fn path_room(next_hop: SocketAddr) -> io::Result<usize> {
    Ok(outbound::room(next_hop, socket::path_mtu(next_hop)?))
}

/// What the threads share.
struct Shared {
    port: Port,
    wakers: Vec<Waker>,
    /// The device's queues, once there is one.
    queues: ArcSwapOption<Vec<Queue>>,
    /// The table of the machine's present life.
    table: ArcSwap<TunnelTable>,
    /// Which of a peer's applications a connection is with, where a peer has several: only then is it asked for, and only then
    /// may one thread wait a moment for another.
    flows: Mutex<Flows>,
    /// Packets to this address go through no tunnel.
    aside: ArcSwapOption<IpAddr>,
    /// What an RS forwards by.
    forwarding: ArcSwapOption<Forwarding>,
    clock: Arc<dyn Clock>,
    counters: Counters,
    signalling: mpsc::Sender<Received>,
    events: mpsc::Sender<Event>,
    failure: watch::Sender<Option<Failure>>,
    stopping: AtomicBool,
}

/// A running packet path. Its threads end when it is dropped.
pub struct PacketPath {
    shared: Arc<Shared>,
    port: Arc<SignallingPort>,
    threads: Vec<JoinHandle<()>>,
}

impl PacketPath {
    /// Starts a node's path on this port (0 for any) with so many threads. Events come by the receiver.
    pub fn node(port: u16, threads: usize, clock: Arc<dyn Clock>) -> Result<(Self, mpsc::Receiver<Event>), PathError> {
        Self::node_with(&NetOptions::default(), port, threads, clock)
    }

    /// The same, on sockets as these options say.
    pub fn node_with(
        options: &NetOptions,
        port: u16,
        threads: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, mpsc::Receiver<Event>), PathError> {
        Self::start(options, port, threads, clock, serve_node)
    }

    /// Starts an RS's path on this port of the addresses that the options name.
    pub fn relay(options: &NetOptions, port: u16, threads: usize, clock: Arc<dyn Clock>) -> Result<Self, PathError> {
        Ok(Self::start(options, port, threads, clock, serve_relay)?.0)
    }

    fn start(
        options: &NetOptions,
        port: u16,
        threads: usize,
        clock: Arc<dyn Clock>,
        serve: fn(&Shared, usize) -> io::Result<()>,
    ) -> Result<(Self, mpsc::Receiver<Event>), PathError> {
        let threads = threads.max(1);
        let (signalling, received) = mpsc::channel(UPWARD);
        let (events, told) = mpsc::channel(UPWARD);
        let shared = Arc::new(Shared {
            port: Port::open(options, port, threads)?,
            wakers: (0..threads).map(|_| Waker::new()).collect::<io::Result<_>>()?,
            queues: ArcSwapOption::empty(),
            table: ArcSwap::default(),
            flows: Mutex::default(),
            aside: ArcSwapOption::empty(),
            forwarding: ArcSwapOption::empty(),
            clock,
            counters: Counters::default(),
            signalling,
            events,
            failure: watch::Sender::default(),
            stopping: AtomicBool::new(false),
        });
        let port = Arc::new(SignallingPort { shared: Arc::clone(&shared), received: Mutex::new(received) });
        let mut path = Self { shared, port, threads: Vec::new() };
        for number in 0..threads {
            let shared = Arc::clone(&path.shared);
            let name = format!("packets-{number}");
            path.threads.push(
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || failure::watched(&shared.failure, || serve(&shared, number)))?,
            );
        }
        Ok((path, told))
    }

    /// The port as signalling sees it.
    pub fn signalling(&self) -> Arc<dyn UdpPort> {
        Arc::clone(&self.port) as Arc<dyn UdpPort>
    }

    /// Hands applications' packets to this address up, whole as they are ([`Event::Aside`]): somebody in this process has it.
    pub fn set_aside(&self, address: IpAddr) {
        self.shared.aside.store(Some(Arc::new(address)));
    }

    /// Writes a packet to the device that did not come out of a tunnel; `false` if there is no device, or it does not take it.
    pub fn deliver(&self, packet: &[u8]) -> bool {
        let virtio = VirtioHeader::default().encode();
        let queues = self.shared.queues.load();
        let queue = queues.as_deref().and_then(|queues| queues.first());
        queue.is_some_and(|queue| queue.write(&[IoSlice::new(&virtio), IoSlice::new(packet)]).is_ok())
    }

    /// What has been counted.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// A life of the machine begins: its tunnels are these.
    pub fn use_tunnels(&self, table: Arc<TunnelTable>) {
        self.shared.table.store(table);
    }

    /// A life of an RS's machine begins: it forwards by this table.
    pub fn forward_by(&self, table: Arc<RelayTable>, session: Session) {
        self.shared.forwarding.store(Some(Arc::new(Forwarding { table, session })));
    }

    /// Serves this device from now on, in place of any before. A thread without a queue of its own writes to another's.
    pub fn attach(&self, queues: Vec<Queue>) {
        self.shared.queues.store(Some(Arc::new(queues)));
        self.shared.forget_device();
        self.wake();
    }

    /// Serves no device from now on.
    pub fn detach(&self) {
        self.shared.queues.store(None);
        self.shared.forget_device();
        self.wake();
    }

    /// Sends an application's packet that has waited for its tunnel.
    pub fn send(&self, packet: &[u8]) -> Result<(), OutboundRefusal> {
        let (to, datagram) = self.shared.table.load().outbound(self.shared.clock.now(), packet)?;
        let sent = self.shared.port.lane(0).send(to, &datagram).is_ok();
        let counter = if sent { &self.shared.counters.sent } else { &self.shared.counters.unsent };
        counter.add(1);
        Ok(())
    }

    /// Waits until something has failed: a thread has ended, or the device has gone and no other been attached. Whoever runs the
    /// path ends with it.
    pub fn failed(&self) -> impl Future<Output = Failure> + use<> {
        failure::failed(self.shared.failure.subscribe())
    }

    fn wake(&self) {
        self.shared.wakers.iter().for_each(Waker::wake);
    }
}

impl Drop for PacketPath {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.wake();
        for thread in self.threads.drain(..) {
            // How it ended has been told.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for PacketPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketPath({}, {} threads)", self.shared.port.number(), self.threads.len())
    }
}

/// One thread of a node's path.
fn serve_node(shared: &Shared, number: usize) -> io::Result<()> {
    let (lane, waker) = (shared.port.lane(number), &shared.wakers[number]);
    let (mut inbound, mut outbound, mut entries) = (Inbound::new(), Outbound::new(), Vec::new());
    while !shared.stopping.load(Ordering::Relaxed) {
        let attached = shared.queues.load();
        let queues = attached.as_deref().map_or(&[][..], Vec::as_slice);
        let (own, any) = (queues.get(number), queues.get(number).or(queues.first()));
        let is_more = inbound.turn(shared, lane, any);
        let sent = own.map_or(Ok(false), |queue| outbound.turn(shared, lane, queue));
        if is_more || matches!(sent, Ok(true)) {
            continue;
        }
        if sent.is_err() {
            shared.device_is_gone(&attached);
        }
        // A device that has gone fails for ever: it is not waited for, until another is attached.
        let readable = own.filter(|_| sent.is_ok()).map(AsFd::as_fd);
        waker.wait(&mut entries, lane.readable().chain(readable))?;
    }
    Ok(())
}

/// One thread of an RS's path.
fn serve_relay(shared: &Shared, number: usize) -> io::Result<()> {
    let (lane, waker) = (shared.port.lane(number), &shared.wakers[number]);
    let (mut forwarder, mut entries) = (Forwarder::new(), Vec::new());
    while !shared.stopping.load(Ordering::Relaxed) {
        if !forwarder.turn(shared, lane) {
            waker.wait(&mut entries, lane.readable())?;
        }
    }
    Ok(())
}
