//! A host program for a node without privilege, as a phone's VPN service is one: it makes the TUN device, hands it over, marks the
//! node's sockets and says when the device has moved.
//!
//! `vpn_host SOCKET` talks to a node that listens there (`ntm vpn-service --socket SOCKET`). `vpn_host -- COMMAND…` starts the node
//! with its socket as standard input, as in
//!
//! ```sh
//! vpn_host -- setpriv --reuid=nobody --clear-groups --no-new-privs ntm vpn-service --socket - --config alice.toml
//! ```
//!
//! It needs root, or CAP_NET_ADMIN; the node needs nothing. Ctrl-C and SIGTERM end both, and the host is as it was.

use ntmobile::net::footprint::{Footprint, FootprintOptions};
use ntmobile::net::net::{NetOptions, OsNet};
use ntmobile::net::tun::{Queue, Tun, TunSettings};
use ntmobile::net::vpn_host::{
    Device, EngineMessage, HostMessage, HostSocket, LONGEST, Network, State, Subnet, VERSION,
};
use ntmobile::ports::net::Net;
use socket2::SockRef;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What the node's sockets bear: rules that lead everything else into the device leave these alone.
const MARK: u32 = 0x4e54;
/// The device's name where the node does not care.
const INTERFACE: &str = "ntm0";
/// How often it is looked whom the host would ask for names.
const LOOK: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> ntmobile::Result<()> {
    let (socket, node) = meet(arguments)?;
    let options = NetOptions { own_interfaces: vec![INTERFACE.to_owned()], ..NetOptions::default() };
    let net = Arc::new(OsNet::new(options)?);
    let footprint = Footprint::begin(INTERFACE, FootprintOptions::default())?;
    let host = Arc::new(Host { socket, net, changes: Mutex::new(Changes { footprint, device: None }) });
    host.say(&HostMessage::Hello { version: VERSION, network: host.network(0) }, None)?;
    let watcher = Arc::clone(&host);
    std::thread::spawn(move || watcher.watch());
    let served = host.serve();
    // Whoever waits for the other end's last word hears the end.
    host.socket.close();
    if let Some(mut node) = node {
        node.wait()?;
    }
    served
}

/// Connects to a node, or starts one.
fn meet(arguments: &[String]) -> ntmobile::Result<(HostSocket, Option<Child>)> {
    match arguments {
        [first, program, rest @ ..] if first == "--" => {
            let (ours, theirs) = HostSocket::pair()?;
            let node = Command::new(program).args(rest).stdin(theirs.into_fd()).spawn()?;
            Ok((ours, Some(node)))
        }
        [path] => Ok((HostSocket::connect(Path::new(path))?, None)),
        _ => Err("usage: vpn_host SOCKET, or vpn_host -- COMMAND…".into()),
    }
}

struct Host {
    socket: HostSocket,
    net: Arc<OsNet>,
    changes: Mutex<Changes>,
}

/// What is changed on the host.
struct Changes {
    footprint: Footprint,
    device: Option<Queue>,
}

impl Host {
    /// Does what the node asks for until it is down.
    fn serve(&self) -> ntmobile::Result<()> {
        let mut buffer = vec![0; LONGEST];
        while let Some((length, descriptor)) = self.socket.receive(&mut buffer)? {
            let (request, done) = match EngineMessage::decode(&buffer[..length])? {
                EngineMessage::Hello { version: VERSION } => continue,
                EngineMessage::Hello { version } => {
                    return Err(format!("the node speaks version {version}, this is {VERSION}").into());
                }
                EngineMessage::State(state) => {
                    println!("state: {state:?}");
                    if state == State::Down {
                        return Ok(());
                    }
                    continue;
                }
                EngineMessage::Protect { request } => {
                    (request, descriptor.ok_or("no socket").map(|socket| protect(&socket)))
                }
                EngineMessage::Device { request, device } => (request, Ok(self.make(&device).map(Some))),
                EngineMessage::Routes { request, add, remove } => {
                    (request, Ok(self.lead(&add, &remove).map(|()| None)))
                }
            };
            match done.map_err(Into::into).and_then(|done| done) {
                Ok(device) => self.say(&HostMessage::Done { request }, device.as_ref())?,
                Err(why) => self.say(&HostMessage::Refused { request, why: why.to_string() }, None)?,
            }
        }
        Err("the node has ended without a word".into())
    }

    /// Makes the device, or changes the one that is there: Linux needs no other for that.
    fn make(&self, wanted: &Device) -> ntmobile::Result<OwnedFd> {
        let mut changes = self.lock();
        if changes.device.is_none() {
            let (name, mtu) = (INTERFACE.to_owned(), wanted.mtu);
            let device = Tun::create(&TunSettings { name, mtu, queues: 1, largest: wanted.largest })?;
            changes.device = device.into_queues().pop();
        }
        for Subnet { address, prefix } in &wanted.addresses {
            changes.footprint.add_address(*address, *prefix)?;
        }
        for Subnet { address, prefix } in &wanted.routes {
            changes.footprint.add_route(*address, *prefix)?;
        }
        if let Some(name_server) = wanted.name_servers.first() {
            changes.footprint.hook_resolver(*name_server)?;
        }
        let device = changes.device.as_ref().ok_or("there is no device")?.as_fd().try_clone_to_owned()?;
        drop(changes);
        println!("device: {wanted:?}");
        self.say(&HostMessage::Network(self.network(0)), None)?;
        Ok(device)
    }

    fn lead(&self, add: &[Subnet], remove: &[Subnet]) -> ntmobile::Result<()> {
        let mut changes = self.lock();
        for Subnet { address, prefix } in remove {
            changes.footprint.remove_route(*address, *prefix)?;
        }
        for Subnet { address, prefix } in add {
            changes.footprint.add_route(*address, *prefix)?;
        }
        Ok(())
    }

    /// Where the device is, for the `count`th time.
    fn network(&self, count: u64) -> Network {
        let servers = self.lock().footprint.name_servers();
        Network {
            interface: format!("way out {count}"),
            addresses: self.net.addresses(),
            name_servers: servers.unwrap_or_else(|error| {
                eprintln!("programs do not find the network's names: {error}");
                Vec::new()
            }),
        }
    }

    /// Tells the node of every other network, and of the user's wish to end.
    fn watch(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let told = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(self.tell_of_networks()));
        if let Err(error) = told {
            eprintln!("error: {error}");
            self.socket.close();
        }
    }

    async fn tell_of_networks(&self) -> ntmobile::Result<()> {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (mut seen, mut known) = (0, self.network(0));
        loop {
            tokio::select! {
                _ = terminate.recv() => return self.say(&HostMessage::Stop, None),
                _ = interrupt.recv() => return self.say(&HostMessage::Stop, None),
                changes = self.net.address_change(seen) => seen = changes,
                () = tokio::time::sleep(LOOK) => {}
            }
            let now = self.network(seen);
            if now != known {
                println!("network: {now:?}");
                self.say(&HostMessage::Network(now.clone()), None)?;
                known = now;
            }
        }
    }

    fn say(&self, message: &HostMessage, descriptor: Option<&OwnedFd>) -> ntmobile::Result<()> {
        Ok(self.socket.send(&message.encode()?, descriptor.map(AsFd::as_fd))?)
    }

    fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks a socket; our copy of its descriptor is closed, and the mark stays.
fn protect(socket: &OwnedFd) -> ntmobile::Result<Option<OwnedFd>> {
    SockRef::from(socket).set_mark(MARK)?;
    Ok(None)
}
