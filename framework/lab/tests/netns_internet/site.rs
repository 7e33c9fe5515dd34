//! A small internet with namespaces attached, and sockets in them.

use ntmobile_lab::netns::internet::{AttachSettings, EmulatedInternet};
use ntmobile_net::namespace::NetworkNamespace;
use ntmobile_sim::network::{InterfaceId, LinkRecord, Network, NodeId, NodeKind};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What has to come is waited for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// What has not come after this does not come.
pub(crate) const SILENCE: Duration = Duration::from_millis(500);

/// A namespace; removed at the end, whatever the end is.
pub(crate) struct Namespace {
    pub(crate) name: String,
}

/// Runs a command; what it says on both outputs, and whether it succeeded.
fn run(words: &[&str]) -> (bool, String) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap_or_else(|error| panic!("{words:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

impl Namespace {
    pub(crate) fn new(label: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ntmlab-{}-{}-{label}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (made, said) = run(&["ip", "netns", "add", &name]);
        assert!(made, "{said} (this suite needs root)");
        let namespace = Self { name };
        namespace.must("ip link set lo up");
        namespace
    }

    /// Runs a command in it; both its outputs.
    pub(crate) fn run(&self, line: &str) -> (bool, String) {
        let words: Vec<&str> = ["ip", "netns", "exec", &self.name].into_iter().chain(line.split(' ')).collect();
        run(&words)
    }

    pub(crate) fn must(&self, line: &str) -> String {
        let (succeeded, said) = self.run(line);
        assert!(succeeded, "{line}: {said}");
        said
    }

    /// Runs a few lines of Python in it.
    pub(crate) fn python(&self, program: &str) -> String {
        let (succeeded, said) = run(&["ip", "netns", "exec", &self.name, "python3", "-c", program]);
        assert!(succeeded, "{said}");
        said
    }

    pub(crate) fn handle(&self) -> NetworkNamespace {
        NetworkNamespace::named(&self.name).expect("it is there")
    }

    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.handle().enter(work).expect("root may enter it")
    }

    /// A socket in it.
    pub(crate) fn udp(&self, address: IpAddr, port: u16) -> UdpSocket {
        let socket = self.enter(|| UdpSocket::bind((address, port))).expect("the address is there");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket may wait");
        socket
    }

    pub(crate) fn devices(&self) -> String {
        self.must("ip -o link")
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let (removed, said) = run(&["ip", "netns", "del", &self.name]);
        if !removed {
            eprintln!("the namespace {} is left behind: {said}", self.name);
        }
    }
}

/// Receives a datagram that has to come, and tells where from.
pub(crate) fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer).expect("it comes in time");
    buffer.truncate(length);
    (buffer, from)
}

/// Makes sure that nothing comes.
pub(crate) fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).expect("a socket may wait");
    let mut buffer = [0; 100];
    match socket.recv_from(&mut buffer) {
        Ok((length, from)) => panic!("{:?} came from {from}", &buffer[..length]),
        Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
    }
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket may wait");
}

/// A host of the model, and the namespace attached to it.
pub(crate) struct Host {
    pub(crate) namespace: Namespace,
    pub(crate) node: NodeId,
    pub(crate) interface: InterfaceId,
    pub(crate) ipv4: IpAddr,
    pub(crate) ipv6: IpAddr,
}

impl Host {
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ipv4, port)
    }

    pub(crate) fn udp(&self, port: u16) -> UdpSocket {
        self.namespace.udp(self.ipv4, port)
    }
}

/// What a test builds before it lets the internet live: a core with 203.0.113.0/24 and 2001:db8::/64.
pub(crate) struct Plan {
    pub(crate) network: Network,
    pub(crate) core: NodeId,
    /// One test at a time, so that none makes another late.
    turn: MutexGuard<'static, ()>,
}

impl Plan {
    pub(crate) fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // A test that failed has said so.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut network = Network::new(7);
        let core = network.add_node("core", NodeKind::Router).expect("a new name");
        let mut plan = Self { network, core, turn };
        plan.serve(core, "203.0.113.0/24");
        plan.serve(core, "2001:db8::/64");
        plan
    }

    pub(crate) fn serve(&mut self, node: NodeId, prefix: &str) {
        self.network.serve(node, prefix.parse().expect("a prefix")).expect("it can be served");
    }

    /// A network below the core, which numbers its hosts from these prefixes.
    pub(crate) fn below_core(&mut self, name: &str, kind: NodeKind, link: LinkRecord, prefixes: &[&str]) -> NodeId {
        let node = self.network.add_node(name, kind).expect("a new name");
        for prefix in prefixes {
            self.serve(node, prefix);
        }
        self.network.attach(node, self.core, link).expect("addresses are left");
        node
    }

    pub(crate) fn host(&mut self, name: &str, at: NodeId, link: LinkRecord) -> Host {
        let node = self.network.add_node(name, NodeKind::Host).expect("a new name");
        let interface = self.network.attach(node, at, link).expect("addresses are left");
        let (ipv4, ipv6) = addresses(&self.network, node);
        Host { namespace: Namespace::new(name), node, interface, ipv4, ipv6 }
    }

    /// Lets it live with all these hosts attached, each by a device `net0`.
    pub(crate) fn live(self, hosts: &[&Host]) -> Living {
        let internet = EmulatedInternet::start(self.network).expect("it starts");
        for host in hosts {
            let settings = AttachSettings::device("net0");
            internet.attach(host.interface, host.namespace.handle(), &settings).expect("it can be attached");
        }
        Living { internet, _turn: self.turn }
    }
}

pub(crate) fn addresses(network: &Network, node: NodeId) -> (IpAddr, IpAddr) {
    let all = network.addresses(node);
    let of = |ipv4| all.iter().copied().find(|address: &IpAddr| address.is_ipv4() == ipv4);
    let nowhere = IpAddr::from([0; 16]);
    (of(true).unwrap_or(nowhere), of(false).unwrap_or(nowhere))
}

/// An internet that lives, while no other test's does.
pub(crate) struct Living {
    pub(crate) internet: EmulatedInternet,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn delay(milliseconds: u64) -> LinkRecord {
    LinkRecord::with_delay(Duration::from_millis(milliseconds))
}
