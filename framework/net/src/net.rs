//! The host's network as the entity on it sees it.

use crate::addresses::{Addresses, ReadError};
use crate::tcp::{self, OsTcpPort};
use crate::udp::OsUdpPort;
use futures::future::BoxFuture;
use ntmobile_ports::net::{ByteStream, Net, NetError, TcpPort, UdpPort};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// The program that has the device's network in its hands, where this process has no say in it: a phone's VPN service.
pub trait HostProgram: fmt::Debug + Send + Sync {
    /// Sees to it that what is sent on this socket leaves the device, whatever is routed into a tunnel. Waits for that.
    fn protect(&self, socket: BorrowedFd<'_>) -> Result<(), NetError>;

    /// The device's own addresses, as [`Net::addresses`].
    fn addresses(&self) -> Vec<IpAddr>;

    /// Completes when the device has moved, as [`Net::address_change`].
    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64>;
}

/// How the host's network is used.
#[derive(Clone, Debug)]
pub struct NetOptions {
    /// The addresses that ports are opened on, and the only ones that count as usable; `0.0.0.0` for all of IPv4, `::` for all
    /// of IPv6, empty for all of both.
    pub listen: Vec<IpAddr>,
    /// The interface that everything goes through (`SO_BINDTODEVICE`), for one that must not be routed into a tunnel.
    pub device: Option<String>,
    /// The mark that everything that is sent bears (`SO_MARK`), for rules that keep it out of a tunnel.
    pub mark: Option<u32>,
    /// The names of our own virtual interfaces, whose addresses lead nowhere outside.
    pub own_interfaces: Vec<String>,
    /// Whether loopback addresses count as usable: for tests and networks on a single host.
    pub allow_loopback: bool,
    /// Whether a UDP port answers from the address that it was asked on: for servers.
    pub answer_from_asked: bool,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// How many bytes may wait in each direction of a UDP port (as far as the host allows it).
    pub buffer: usize,
    /// Who protects sockets and knows the device's addresses; without one they are the kernel's.
    pub host: Option<Arc<dyn HostProgram>>,
}

impl Default for NetOptions {
    /// A node's: all addresses, and the operating system chooses whence to send.
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            device: None,
            mark: None,
            own_interfaces: Vec::new(),
            allow_loopback: false,
            answer_from_asked: false,
            connect_timeout: Duration::from_secs(10),
            buffer: 4 << 20,
            host: None,
        }
    }
}

impl NetOptions {
    /// A server's: it answers from the address that it was asked on.
    pub fn server() -> Self {
        Self { answer_from_asked: true, ..Self::default() }
    }
}

/// The network of the namespace in which it is made. All but [`Net::addresses`] must be called within a tokio runtime with
/// I/O and time.
pub struct OsNet {
    options: NetOptions,
    addresses: Whence,
}

/// Who knows the addresses.
enum Whence {
    Kernel(Box<Addresses>),
    Program(Arc<dyn HostProgram>),
}

impl OsNet {
    /// Looks at the host's network and begins to watch it.
    pub fn new(options: NetOptions) -> Result<Self, ReadError> {
        let addresses = match &options.host {
            Some(program) => Whence::Program(Arc::clone(program)),
            None => Whence::Kernel(Box::new(Addresses::watch(&options)?)),
        };
        Ok(Self { options, addresses })
    }

    /// What it was made with.
    pub fn options(&self) -> &NetOptions {
        &self.options
    }

    /// Opens a UDP port as [`Net::bind_udp`] does, for those who send super-packets on it.
    pub fn open_udp(&self, port: u16) -> Result<Arc<OsUdpPort>, NetError> {
        OsUdpPort::bind(&self.options, port).map(Arc::new)
    }
}

impl Net for OsNet {
    fn bind_udp(&self, port: u16) -> Result<Arc<dyn UdpPort>, NetError> {
        Ok(self.open_udp(port)?)
    }

    fn listen_tcp(&self, port: u16) -> Result<Box<dyn TcpPort>, NetError> {
        Ok(Box::new(OsTcpPort::listen(&self.options, port)?))
    }

    fn connect_tcp(&self, to: SocketAddr) -> BoxFuture<'static, Result<Box<dyn ByteStream>, NetError>> {
        tcp::connect(&self.options, to)
    }

    fn addresses(&self) -> Vec<IpAddr> {
        match &self.addresses {
            Whence::Kernel(addresses) => addresses.now(),
            Whence::Program(program) => program.addresses(),
        }
    }

    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64> {
        match &self.addresses {
            Whence::Kernel(addresses) => addresses.change(seen),
            Whence::Program(program) => program.address_change(seen),
        }
    }
}
