//! A node without privilege (model `vpn-service`): the engine of `ntm up` on a TUN device that a host program makes and hands over, as
//! a phone's VPN service does. This process changes nothing on its host and needs no right to.
//!
//! What the two say to one another is in [`ntmobile_net::vpn_host`]. The node tells which addresses, routes and name server
//! the device is to have, and the program answers with the device; it protects each of the node's sockets before anything is sent
//! on it, and says when the device has moved. Programs' questions for names come out of the device like every other packet, and are
//! answered by a stack in this process.

mod ground;
#[cfg(test)]
mod tests;

use crate::carriage;
use crate::health::{Health, Readiness};
use crate::logging;
use crate::node;
use crate::service_manager::{self, Stage};
use crate::settings::{LogForm, NodeFile, TunSettings};
use crate::signals::Signals;
use crate::up::chronicle::Chronicle;
use crate::up::control::{self, Control};
use crate::up::interface::Interface;
use crate::up::names::NetworkNames;
use crate::up::packets::Packets;
use crate::up::{self, UpError};
use futures::FutureExt;
use ground::Asked;
use ntmobile_actors::engine::Engine;
use ntmobile_actors::library::Device;
use ntmobile_actors::server::DNS_PORT;
use ntmobile_net::names::NameService;
use ntmobile_net::net::{HostProgram, NetOptions};
use ntmobile_net::packet_path::{Failure, PacketPath};
use ntmobile_net::tun::TunError;
use ntmobile_net::vpn_host::{AskError, HostSocket, Line, LineEnd, LineError, SocketListener, State};
use ntmobile_ports::net::{Net, NetError};
use ntmobile_proto::node::NodeEvent;
use ntmobile_stack::{Stack, StackOptions};
use ntmobile_wire::identifier::ApplicationId;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;

/// How long there may be no device when one takes the place of another.
const BETWEEN_DEVICES: Duration = Duration::from_secs(3);

/// Where the host program is met.
#[derive(Debug)]
pub enum Meeting {
    /// It connects to a socket at this path.
    Path(PathBuf),
    /// It has started this process with its end of a socket as standard input.
    StandardInput,
}

/// Why a node without privilege does not run.
#[derive(Debug, Error)]
pub enum VpnServiceError {
    /// What every node with a virtual interface may lack.
    #[error(transparent)]
    Up(#[from] UpError),
    /// The host program cannot be met there.
    #[error("no host program can be met at {place}: {source}")]
    Meeting {
        /// Where.
        place: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It is there, and cannot be talked to.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It made no device.
    #[error("the node has no device: {0}")]
    Device(#[from] AskError),
    /// It made something else.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// It does not keep to what was agreed.
    #[error("the host program breaks the rules: {0}")]
    Broken(String),
}

/// Runs until the host program says so or is gone, or a signal comes. `log` stands above what the file says.
pub fn run(file: &NodeFile, log: Option<LogForm>, meeting: Meeting) -> Result<(), VpnServiceError> {
    logging::start(log.unwrap_or(file.host.log), &file.host.log_filter).map_err(UpError::from)?;
    actix_rt::System::new().block_on(serve(file, meeting))
}

async fn serve(file: &NodeFile, meeting: Meeting) -> Result<(), VpnServiceError> {
    let mut signals = Signals::listen().map_err(UpError::Signals)?;
    let control = listen_for_orders(&file.tun).map_err(UpError::Control)?;
    let line = tokio::select! {
        line = meet(meeting) => Arc::new(line?),
        () = control.serve(|| None) => return Ok(()),
        _ = signals.next() => return Ok(()),
    };
    let outcome = attend(file, &line, &control, &mut signals).await;
    if let Err(error) = &outcome {
        line.tell(State::Trouble { why: error.to_string() });
    }
    line.tell(State::Down);
    outcome
}

/// Opens the control socket. There is no journal that only one node has, so a socket that answers is another node's.
fn listen_for_orders(tun: &TunSettings) -> io::Result<Control> {
    if std::os::unix::net::UnixStream::connect(control::socket(&tun.run_directory, &tun.interface)).is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("a node is already running on {}", tun.interface),
        ));
    }
    // Nobody else may write there, whatever the process's umask would allow.
    DirBuilder::new().recursive(true).mode(0o755).create(&tun.run_directory)?;
    Control::listen(&tun.run_directory, &tun.interface)
}

/// Meets the host program.
async fn meet(meeting: Meeting) -> Result<Line, VpnServiceError> {
    match meeting {
        Meeting::Path(path) => {
            let refused = |source| VpnServiceError::Meeting { place: path.display().to_string(), source };
            let listener = SocketListener::listen(&path).map_err(refused)?;
            tracing::info!(socket = %path.display(), "waiting for a host program");
            loop {
                match begin(listener.accept().await.map_err(refused)?).await {
                    // Whoever only looks whether somebody is there is no host program.
                    Err(error @ (LineError::Silent | LineError::Socket(_))) => {
                        tracing::warn!(%error, "still waiting for a host program");
                    }
                    begun => return Ok(begun?),
                }
            }
        }
        Meeting::StandardInput => {
            let inherited = io::stdin().as_fd().try_clone_to_owned().and_then(HostSocket::inherit);
            let refused = |source| VpnServiceError::Meeting { place: "standard input".to_owned(), source };
            Ok(begin(inherited.map_err(refused)?).await?)
        }
    }
}

/// Exchanges first words, on a thread that may wait.
async fn begin(socket: HostSocket) -> Result<Line, LineError> {
    let begun = tokio::task::spawn_blocking(|| Line::begin(socket)).await;
    begun.map_err(|_panicked| LineError::Silent)?
}

/// The node's life from the first word to the last but one.
async fn attend(
    file: &NodeFile,
    line: &Arc<Line>,
    control: &Control,
    signals: &mut Signals,
) -> Result<(), VpnServiceError> {
    line.tell(State::Joining);
    let host_options = NetOptions { host: Some(Arc::clone(line) as Arc<dyn HostProgram>), ..NetOptions::default() };
    let device = node::device(file, host_options.clone(), ApplicationId(0)).await.map_err(UpError::from)?;
    let readiness = Readiness::default();
    let _health = match file.host.health {
        Some(address) => {
            let health = Health::start(address, readiness.clone(), device.host.recorder().clone()).await;
            Some(health.map_err(UpError::from)?)
        }
        None => None,
    };
    let threads = carriage::threads(file.tun.threads);
    let clock = Arc::clone(device.host.clock());
    let (path, events) = PacketPath::node_with(&host_options, file.tun.port, threads, clock).map_err(UpError::from)?;
    let path = (Packets::Tun(path), events);
    let (engine, interface) = tokio::select! {
        joined = up::join::<Asked>(file, &device, path) => joined?,
        end = line.ended() => return politely(end),
        () = control.serve(|| None) => return Ok(()),
        _ = signals.next() => return Ok(()),
    };
    let (asked, mut surveyor) = ground::new(&file.tun, engine.addresses(), Arc::clone(line));
    let device_name = surveyor.first_device(&interface).await?;
    interface.open(asked);
    let names = file.tun.names.then(|| serve_names(file, &engine, &interface, &device)).transpose();
    let names = names.map_err(UpError::Names)?;
    let chronicle = Chronicle::new(engine.clone(), Arc::clone(device.host.net()), device_name.clone());
    readiness.set(true);
    service_manager::tell(Stage::Ready);
    let addresses = engine.addresses();
    tracing::info!(name = %engine.name(), v4 = %addresses.v4, v6 = %addresses.v6, interface = device_name, "up");
    line.tell(State::Up { name: engine.name().to_string() });

    let outcome = tokio::select! {
        signal = signals.next() => { tracing::info!(signal, "stopping"); Ok(()) }
        ended = engine.ended() => Err(UpError::Ended(ended).into()),
        end = line.ended() => politely(end),
        failure = failure(interface.path()) => Err(UpError::from(failure).into()),
        () = control.serve(|| Some(chronicle.status(&interface.tunnels()))) => Ok(()),
        () = chronicle.keep() => Ok(()),
        () = surveyor.survey(&interface) => Ok(()),
        () = follow_network(line, names.as_ref()) => Ok(()),
        () = tell_states(line, &engine) => Ok(()),
        () = carriage::count(|| interface.path().counted(), device.host.recorder(), engine.name().as_str()) => Ok(()),
        () = logging::tell_counts(device.host.recorder().clone()) => Ok(()),
    };
    readiness.set(false);
    service_manager::tell(Stage::Stopping);
    drop((names, interface.close()));
    tokio::select! {
        () = engine.leave() => {}
        () = device.host.clock().sleep(up::PATIENCE) => tracing::warn!("the node did not leave in time"),
        signal = signals.next() => return Err(UpError::AtOnce(signal).into()),
    }
    tracing::info!("down");
    outcome
}

/// How a conversation's end is taken: a program that is gone needs its node no more.
fn politely(end: LineEnd) -> Result<(), VpnServiceError> {
    match end {
        LineEnd::Stopped | LineEnd::Gone => {
            tracing::info!(?end, "the host program needs its node no more");
            Ok(())
        }
        LineEnd::Broken(why) => Err(VpnServiceError::Broken(why)),
    }
}

/// Waits for a failure of the packet path. A phone closes one device before it hands over the next.
async fn failure(path: &Packets) -> Failure {
    loop {
        let failure = path.failed().await;
        tokio::time::sleep(BETWEEN_DEVICES).await;
        if path.failed().now_or_never().as_ref() == Some(&failure) {
            return failure;
        }
    }
}

/// Answers programs for names, at an address that nobody else has: a stack in this process takes its packets out of the device's.
fn serve_names(
    file: &NodeFile,
    engine: &Engine,
    interface: &Arc<Interface<Asked>>,
    device: &Device,
) -> Result<NameService, NetError> {
    let listener = file.tun.name_server;
    let host = &device.host;
    let out = Arc::downgrade(interface);
    let stack = Stack::new(
        Arc::clone(host.clock()),
        host.entropy("name-service"),
        vec![listener],
        StackOptions { mtu: file.tun.mtu.into(), ..StackOptions::default() },
        Arc::new(move |packet| {
            // What the device does not take is lost, as on any link.
            let _delivered = out.upgrade().is_some_and(|interface| interface.path().deliver(&packet));
        }),
    );
    let ports = (stack.bind_udp(DNS_PORT)?, stack.listen_tcp(DNS_PORT)?);
    let names = NetworkNames::new(engine.clone(), Arc::clone(interface), host.resolution().clone());
    let address = SocketAddr::new(listener, DNS_PORT);
    let service = NameService::start_on(address, ports, Arc::new(names), Arc::clone(host.net()), Vec::new());
    interface.set_aside(listener, move |packet| stack.inject(packet));
    Ok(service)
}

/// Follows whom the device's network would have asked for names.
async fn follow_network(line: &Line, names: Option<&NameService>) {
    let mut network = line.network();
    loop {
        let servers = network.borrow_and_update().1.name_servers.clone();
        if let Some(names) = names {
            names.set_servers(servers);
        }
        if network.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Tells the host program how the node is.
async fn tell_states(line: &Line, engine: &Engine) {
    let mut events = engine.events();
    loop {
        match events.recv().await {
            Ok(NodeEvent::Registered { outer }) => line.tell(State::Moved { seen_at: outer }),
            Ok(NodeEvent::RegistrationLost(why)) => line.tell(State::Trouble { why: why.to_string() }),
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
