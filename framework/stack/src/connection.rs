//! One TCP connection: a smoltcp socket alone on an interface of its own, fed and drained packet by packet.

mod repair;

use bytes::Bytes;
use ntmobile_ports::net::NetError;
use ntmobile_proto::time::Instant;
use repair::Repair;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, RecvError, Socket, SocketBuffer, State};
use smoltcp::time::{Duration as TcpDuration, Instant as TcpInstant};
use smoltcp::wire::{HardwareAddress, IpCidr, IpListenEndpoint};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

/// No path is taken to be narrower than this (RFC 791's and RFC 8200's minimum, RFC 1122 for what hosts must take).
const SMALLEST_MTU_V4: usize = 576;
const SMALLEST_MTU_V6: usize = 1280;
/// How soon a socket is looked at again that wants to send and does not.
const RETRY: Duration = Duration::from_millis(1);

/// What names a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FourTuple {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Why a connection is polled: says how it ended, if it ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A packet came.
    Packet,
    /// Its deadline came, or its user did something.
    Other,
}

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The listener on its local port, while the handshake is under way.
    HalfOpen,
    /// The listener, waiting to be accepted.
    Ready,
    /// A stream.
    Owned,
    /// Nobody: it ends by itself.
    Orphan,
}

/// What a connection is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    pub(crate) seed: u64,
    pub(crate) mtu: usize,
    pub(crate) buffer: usize,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
}

/// A connection.
pub(crate) struct Connection {
    pub(crate) tuple: FourTuple,
    pub(crate) role: Role,
    pub(crate) reader: Option<Waker>,
    pub(crate) writer: Option<Waker>,
    /// The entry in the stack's list of deadlines.
    pub(crate) listed: Option<Instant>,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    carrier: Carrier,
    repair: Repair,
    seed: u64,
    connect_timeout: Duration,
    timeout: Duration,
    keepalive: Option<Duration>,
    /// When the last packet came.
    heard: Instant,
    /// Since when the other end owes an answer and has said nothing.
    unanswered: Option<Instant>,
    opened: bool,
    finished: bool,
    failure: Option<NetError>,
}

impl Connection {
    /// Begins to connect; the first poll sends the SYN.
    pub(crate) fn connect(tuple: FourTuple, parameters: Parameters, now: Instant) -> Result<Self, NetError> {
        let mut connection = Self::new(tuple, Role::Owned, parameters, now);
        let socket = connection.sockets.get_mut::<Socket<'_>>(connection.handle);
        socket
            .connect(connection.interface.context(), tuple.remote, tuple.local)
            .map_err(|_| NetError::Unreachable(tuple.remote))?;
        Ok(connection)
    }

    /// Waits for the SYN that is about to be injected; `None` if no socket can listen there.
    pub(crate) fn listen(tuple: FourTuple, parameters: Parameters, now: Instant) -> Option<Self> {
        let mut connection = Self::new(tuple, Role::HalfOpen, parameters, now);
        let endpoint = IpListenEndpoint { addr: Some(tuple.local.ip().into()), port: tuple.local.port() };
        connection.socket_mut().listen(endpoint).ok()?;
        Some(connection)
    }

    fn new(tuple: FourTuple, role: Role, parameters: Parameters, now: Instant) -> Self {
        let ring = || SocketBuffer::new(vec![0; parameters.buffer]);
        let mut socket = Socket::new(ring(), ring());
        socket.set_congestion_control(CongestionControl::Reno);
        // As with TCP_NODELAY: requests and answers are small, and waiting for an acknowledgement costs a round trip.
        socket.set_nagle_enabled(false);
        let mut carrier = Carrier { mtu: parameters.mtu, ..Carrier::default() };
        let interface = interface(&mut carrier, tuple.local.ip(), parameters.seed, now);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Self {
            tuple,
            role,
            reader: None,
            writer: None,
            listed: None,
            interface,
            sockets,
            handle,
            carrier,
            repair: Repair::default(),
            seed: parameters.seed,
            connect_timeout: parameters.connect_timeout,
            timeout: parameters.timeout,
            keepalive: None,
            heard: now,
            unanswered: None,
            opened: false,
            finished: false,
            failure: None,
        }
    }

    fn socket(&self) -> &Socket<'static> {
        self.sockets.get(self.handle)
    }

    fn socket_mut(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Puts a packet in; the next poll handles it.
    pub(crate) fn inject(&mut self, packet: Bytes) {
        self.carrier.arrived = Some(packet);
    }

    /// Lets the connection do what is to be done now; returns what it sends.
    pub(crate) fn poll(&mut self, now: Instant, cause: Cause) -> Vec<Bytes> {
        let at = tcp_instant(now);
        if let Some(arrived) = self.carrier.arrived.take() {
            self.carrier.arrived = Some(self.repair.incoming(arrived, now));
        }
        if self.is_over_but_unread() {
            self.interface.poll_ingress_single(at, &mut self.carrier, &mut self.sockets);
        } else {
            self.interface.poll(at, &mut self.carrier, &mut self.sockets);
        }
        self.note_silence(now, cause);
        if self.silence_ends().is_some_and(|limit| limit <= now) {
            self.failure = Some(NetError::TimedOut(self.tuple.remote));
            self.abort();
            self.interface.poll(at, &mut self.carrier, &mut self.sockets);
        }
        self.finished |= matches!(self.socket_mut().peek(0), Err(RecvError::Finished));
        if self.is_open() {
            self.opened = true;
        } else if self.is_closed() && self.failure.is_none() && !self.finished {
            let remote = self.tuple.remote;
            self.failure = Some(match (cause, self.opened) {
                (Cause::Packet, false) => NetError::Refused(remote),
                _ => NetError::Closed,
            });
        }
        let leaving = std::mem::take(&mut self.carrier.leaving);
        let mut packets: Vec<_> = leaving.into_iter().map(|packet| self.repair.outgoing(packet, now)).collect();
        let is_stalled = self.unanswered.is_some() && self.interface.poll_at(at, &self.sockets).is_none();
        packets.extend(self.repair.fin_due(is_stalled, now));
        if self.is_closed() {
            self.repair.over();
        }
        packets.extend(self.repair.probe_due(now));
        packets
    }

    /// Keeps account of how long the other end has been silent while it owed an answer. (smoltcp's own time-out also
    /// ends connections on which nothing is owed.)
    fn note_silence(&mut self, now: Instant, cause: Cause) {
        if cause == Cause::Packet {
            self.heard = now;
        }
        let socket = self.socket();
        let owed = match socket.state() {
            State::SynSent | State::SynReceived | State::FinWait1 | State::Closing | State::LastAck => true,
            State::Established | State::CloseWait => socket.send_queue() > 0,
            // Nobody reads any more: all that the other end may still do is to close.
            State::FinWait2 => self.role == Role::Orphan,
            State::Closed | State::Listen | State::TimeWait => false,
        };
        self.unanswered = owed.then(|| self.unanswered.map_or(now, |since| since.max(self.heard)));
    }

    /// When the other end's silence makes an end of the connection.
    fn silence_ends(&self) -> Option<Instant> {
        let timeout = if self.opened { self.timeout } else { self.connect_timeout };
        let answer = self.unanswered.map(|since| since + timeout);
        let probe = self.keepalive.filter(|_| self.is_open()).map(|interval| self.heard + interval + self.timeout);
        answer.into_iter().chain(probe).min()
    }

    /// Whether it is about to be forgotten, and with it what was not read yet: then its time must not run out.
    fn is_over_but_unread(&self) -> bool {
        self.is_in_time_wait() && self.has_unread()
    }

    /// When it wants to be polled next.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let poll_at = self.interface.poll_at(tcp_instant(now), &self.sockets).filter(|_| !self.is_over_but_unread());
        let poll_at = poll_at.map(|at| {
            // smoltcp counts microseconds: its time is reached at that microsecond's first nanosecond, never before.
            let at = Instant(u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1_000));
            if at <= now { now + RETRY } else { at }
        });
        [poll_at, self.repair.deadline(), self.silence_ends()].into_iter().flatten().min()
    }

    /// Lets packets be no larger than `mtu` from now on: the path said so.
    pub(crate) fn narrow(&mut self, mtu: usize, now: Instant) {
        let smallest = if self.tuple.local.is_ipv4() { SMALLEST_MTU_V4 } else { SMALLEST_MTU_V6 };
        let mtu = mtu.max(smallest);
        if mtu < self.carrier.mtu {
            self.carrier.mtu = mtu;
            // The interface fixes its MTU when it is made; all state of the connection is in the socket.
            self.interface = interface(&mut self.carrier, self.tuple.local.ip(), self.seed, now);
        }
    }

    /// Gives an attempt to connect up, because the network said that the other end cannot be reached.
    pub(crate) fn unreachable(&mut self) {
        if self.socket().state() == State::SynSent {
            self.failure = Some(NetError::Unreachable(self.tuple.remote));
            self.socket_mut().abort();
        }
    }

    /// Makes an end of it because its host is gone.
    pub(crate) fn break_off(&mut self) {
        self.failure.get_or_insert(NetError::Closed);
        self.abort();
    }

    /// Whether the handshake is over and the connection not.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.socket().state(), State::Closed | State::Listen | State::SynSent | State::SynReceived)
    }

    /// Whether nothing more will happen on it.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.socket().state(), State::Closed | State::Listen)
    }

    /// Whether it only waits for stray packets.
    pub(crate) fn is_in_time_wait(&self) -> bool {
        self.socket().state() == State::TimeWait
    }

    /// Why it ended before its time.
    pub(crate) fn failure(&self) -> Option<&NetError> {
        self.failure.as_ref()
    }

    /// Whether reading would not wait.
    pub(crate) fn readable(&self) -> bool {
        self.socket().can_recv() || self.is_closed() || (self.is_open() && !self.socket().may_recv())
    }

    /// Whether writing would not wait, or the handshake is over one way or the other.
    pub(crate) fn writable(&self) -> bool {
        self.socket().can_send() || self.is_closed() || (self.is_open() && !self.socket().may_send())
    }

    /// Whether the other end has said that it sends no more, and all that it sent has been read.
    pub(crate) fn finished(&self) -> bool {
        self.finished
    }

    /// Whether received bytes wait to be read.
    pub(crate) fn has_unread(&self) -> bool {
        self.socket().recv_queue() > 0
    }

    /// Reads what is there; how many bytes.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> usize {
        self.socket_mut().recv_slice(into).unwrap_or(0)
    }

    /// Queues what there is room for; how many bytes, or `None` when this end has closed or the connection is over.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        self.socket_mut().send_slice(bytes).ok()
    }

    /// Says that this end sends no more, after what is queued.
    pub(crate) fn close(&mut self) {
        self.socket_mut().close();
    }

    /// Breaks the connection off with a reset.
    pub(crate) fn abort(&mut self) {
        self.socket_mut().abort();
    }

    /// Probes an idle connection at this interval.
    pub(crate) fn set_keepalive(&mut self, interval: Option<Duration>, now: Instant) {
        self.heard = now;
        self.keepalive = interval;
        self.socket_mut().set_keep_alive(interval.map(|interval| TcpDuration::from_micros(micros(interval))));
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn tcp_instant(at: Instant) -> TcpInstant {
    TcpInstant::from_micros(i64::try_from(at.0 / 1_000).expect("nanoseconds in 64 bits are microseconds in 55"))
}

/// An interface for one address whose packets all leave through the carrier.
fn interface(carrier: &mut Carrier, address: IpAddr, seed: u64, now: Instant) -> Interface {
    let mut config = Config::new(HardwareAddress::Ip);
    config.random_seed = seed;
    let mut interface = Interface::new(config, carrier, tcp_instant(now));
    interface.update_ip_addrs(|addresses| {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        addresses.push(IpCidr::new(address.into(), prefix)).expect("an interface holds at least one address");
    });
    let routed = match address {
        IpAddr::V4(_) => interface.routes_mut().add_default_ipv4_route(Ipv4Addr::UNSPECIFIED).is_ok(),
        IpAddr::V6(_) => interface.routes_mut().add_default_ipv6_route(Ipv6Addr::UNSPECIFIED).is_ok(),
    };
    assert!(routed, "an interface holds at least one route");
    interface
}

/// The device below the interface: at most one packet that arrived, and those that leave.
#[derive(Default)]
struct Carrier {
    mtu: usize,
    arrived: Option<Bytes>,
    leaving: Vec<Bytes>,
}

impl Device for Carrier {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: TcpInstant) -> Option<(Arrived, Leaving<'_>)> {
        self.arrived.take().map(|packet| (Arrived(packet), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: TcpInstant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Arrived(Bytes);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Leaving<'a>(&'a mut Vec<Bytes>);

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, write: F) -> R {
        let mut packet = vec![0; length];
        let result = write(&mut packet);
        self.0.push(packet.into());
        result
    }
}
