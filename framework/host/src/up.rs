//! A node with a virtual interface (models `tun` and `kernel`): unmodified applications reach the network's nodes by their names, and nothing
//! else on the host changes.
//!
//! **What leads into the interface**: the node's own two addresses, and two host routes for each peer, made when its tunnel is
//! built and before any program hears of its address. No prefix is routed: 100.64.0.0/10, out of which virtual IPv4 addresses
//! come, may be the provider's network that the host is in.
//!
//! **Who does what**: the packet path's threads own the node's UDP port and the device ([`ntmobile_net::packet_path`]), or the
//! kernel carries the packets ([`ntmobile_net::kernel_path`]); the machine's driver has the signalling half of that port; this
//! module owns the host's changes ([`Footprint`](ntmobile_net::footprint)) and answers programs that look for names
//! ([`ntmobile_net::names`]).

mod acquaintances;
pub mod chronicle;
pub mod control;
pub(crate) mod ground;
pub(crate) mod interface;
mod legacy;
pub(crate) mod names;
pub(crate) mod packets;
pub mod remains;

use crate::carriage;
use crate::health::{Health, HealthError, Readiness};
use crate::logging::{self, FilterError};
use crate::node::{self, NodeError};
use crate::service_manager::{self, Stage};
use crate::settings::{LogForm, NodeFile};
use crate::signals::Signals;
use chronicle::Chronicle;
use control::Control;
use ground::Ground;
use interface::Interface;
use legacy::Legacy;
use names::NetworkNames;
use ntmobile_actors::engine::{self, Engine, EngineParts, JoinError};
use ntmobile_actors::library::Device;
use ntmobile_actors::server::DNS_PORT;
use ntmobile_actors::supervise::End;
use ntmobile_net::footprint::{Footprint, FootprintError, FootprintOptions, GuardianProgram};
use ntmobile_net::kernel_path::KernelPathError;
use ntmobile_net::names::NameService;
use ntmobile_net::net::NetOptions;
use ntmobile_net::packet_path::{Event, Failure, PathError};
use ntmobile_net::tun::TunError;
use ntmobile_ports::net::NetError;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use packets::{Made, Packets};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;

/// How often it is looked whom the host would ask for names.
const LOOK: Duration = Duration::from_secs(1);
/// How long leaving the network may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Why a node with a virtual interface does not run.
#[derive(Debug, Error)]
pub enum UpError {
    /// The log filter is none.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Signals cannot be heard.
    #[error("signals cannot be heard: {0}")]
    Signals(#[source] io::Error),
    /// The host cannot be changed.
    #[error(transparent)]
    Footprint(#[from] FootprintError),
    /// There is no device.
    #[error(transparent)]
    Tun(#[from] TunError),
    /// Packets cannot be carried.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The kernel does not carry packets.
    #[error(transparent)]
    KernelPath(#[from] KernelPathError),
    /// The health port cannot be opened.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// The node lacks something.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The network did not let it in.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The control socket cannot be opened.
    #[error("the control socket cannot be opened: {0}; choose another run-directory in [tun]")]
    Control(#[source] io::Error),
    /// Names cannot be served.
    #[error(
        "programs' questions for names cannot be taken: {0}; or do without names (names = false in [tun]) and give addresses"
    )]
    Names(#[source] NetError),
    /// Packets cannot be carried any more.
    #[error("packets are not carried any more: {0}; this host is as it was, start the node again")]
    Carrying(#[from] Failure),
    /// The node cannot go on.
    #[error("the node has ended: {0}; this host is as it was")]
    Ended(End),
    /// A second signal came while it stopped.
    #[error("stopped at once by a second {0}")]
    AtOnce(&'static str),
}

/// Runs until a signal comes. `log` stands above what the file says; `guardian` undoes what is changed on the host if this
/// process is killed.
pub fn run(file: &NodeFile, log: Option<LogForm>, guardian: GuardianProgram) -> Result<(), UpError> {
    logging::start(log.unwrap_or(file.host.log), &file.host.log_filter)?;
    actix_rt::System::new().block_on(up(file, guardian))
}

async fn up(file: &NodeFile, guardian: GuardianProgram) -> Result<(), UpError> {
    let mut signals = Signals::listen().map_err(UpError::Signals)?;
    let tun = &file.tun;
    let options = FootprintOptions {
        directory: tun.run_directory.clone(),
        resolv_conf: tun.resolv_conf.clone(),
        guardian: Some(guardian),
        ..FootprintOptions::default()
    };
    // First what may be refused: another node that runs, no privilege, no driver. What a predecessor has left is undone.
    let mut footprint = Footprint::begin(&tun.interface, options)?;
    let made = Made::make(tun, &mut footprint)?;
    let host_options = NetOptions { own_interfaces: vec![tun.interface.clone()], ..NetOptions::default() };
    let device = node::device(file, host_options.clone(), ApplicationId(0)).await?;
    let readiness = Readiness::default();
    let _health = match file.host.health {
        Some(address) => Some(Health::start(address, readiness.clone(), device.host.recorder().clone()).await?),
        None => None,
    };
    let control = Control::listen(&tun.run_directory, &tun.interface).map_err(UpError::Control)?;
    let path = made.start(tun, &host_options, Arc::clone(device.host.clock()))?;
    let (engine, interface) = tokio::select! {
        joined = join::<Footprint>(file, &device, path) => joined?,
        () = control.serve(|| None) => {
            tracing::info!("told to end before it had joined");
            return Ok(footprint.undo()?);
        }
        signal = signals.next() => {
            tracing::info!(signal, "stopped before it had joined");
            return Ok(footprint.undo()?);
        }
    };
    let addresses = engine.addresses();
    made.attach_to(interface.path());
    interface.open(addressed(footprint, addresses)?);
    let peers = control::beside(&tun.run_directory, &tun.interface, "peers");
    interface.resume(Legacy::resume(peers, engine.name(), addresses));
    let names = match tun.names.then(|| serve_names(&engine, &interface, &device)).transpose() {
        Ok(names) => names,
        Err(error) => {
            drop(interface.close());
            return Err(error);
        }
    };
    let chronicle = Chronicle::new(engine.clone(), Arc::clone(device.host.net()), tun.interface.clone());
    readiness.set(true);
    service_manager::tell(Stage::Ready);
    tracing::info!(name = %engine.name(), v4 = %addresses.v4, v6 = %addresses.v6, interface = tun.interface, "up");

    let mut end = None;
    let signal = tokio::select! {
        signal = signals.next() => signal,
        ended = engine.ended() => {
            end = Some(UpError::Ended(ended));
            "the node's end"
        }
        failure = interface.path().failed() => {
            end = Some(UpError::Carrying(failure));
            "a failure"
        }
        () = control.serve(|| Some(chronicle.status(&interface.tunnels()))) => "ntm down",
        () = chronicle.keep() => "nothing",
        () = follow_host(&interface, names.as_ref(), &device) => "nothing",
        () = carriage::count(|| interface.path().counted(), device.host.recorder(), engine.name().as_str()) => "nothing",
        () = logging::tell_counts(device.host.recorder().clone()) => "nothing",
    };
    tracing::info!(signal, "stopping");
    readiness.set(false);
    service_manager::tell(Stage::Stopping);
    // Who starts again after an end of itself goes on where it was.
    if end.is_none() {
        interface.leave_no_legacy();
    }
    // Peers are told first where that needs the interface.
    let told = match interface.path().leaves_by_interface() {
        true => Some(leave(&engine, &device, &mut signals).await),
        false => None,
    };
    // Programs ask the host's own servers again before the node's is gone.
    let undone = interface.close().map_or(Ok(()), Footprint::undo);
    drop(names);
    match told {
        Some(told) => told?,
        None => leave(&engine, &device, &mut signals).await?,
    }
    undone?;
    tracing::info!("down; this host is as it was");
    end.map_or(Ok(()), Err)
}

/// Leaves the network, within limits.
async fn leave(engine: &Engine, device: &Device, signals: &mut Signals) -> Result<(), UpError> {
    tokio::select! {
        () = engine.leave() => Ok(()),
        () = device.host.clock().sleep(PATIENCE) => {
            tracing::warn!("the node did not leave in time");
            Ok(())
        }
        signal = signals.next() => Err(UpError::AtOnce(signal)),
    }
}

/// Joins the network with the packet path on the node's port; the path has no device yet.
pub(crate) async fn join<G: Ground>(
    file: &NodeFile,
    device: &Device,
    (path, events): (Packets, mpsc::Receiver<Event>),
) -> Result<(Engine, Arc<Interface<G>>), UpError> {
    let host = &device.host;
    let config = device.config(file.node.account.0.clone(), node::credential(file)?, ApplicationId(0));
    let signalling = path.signalling();
    let (errands, queue) = engine::errands();
    let (clock, recorder) = (Arc::clone(host.clock()), host.recorder().clone());
    let entity = config.account.node().as_str().into();
    let interface = Arc::new(Interface::new(entity, clock, recorder, path, errands.clone()));
    actix_rt::spawn(Arc::clone(&interface).listen(events));
    let parts = EngineParts {
        signalling,
        packet_path: interface.clone(),
        carrier: Rc::new(Arc::clone(&interface)),
        errands: (errands, queue),
        tls: Arc::clone(&device.tls),
        store: (device.stores)(ApplicationId(0)),
        key_log: None,
    };
    let engine = tokio::select! {
        engine = Engine::start(config, parts, host.clone()) => engine?,
        failure = interface.path().failed() => return Err(failure.into()),
    };
    Ok((engine, interface))
}

/// Gives the interface the node's addresses. A host without IPv6 does without the second.
fn addressed(mut footprint: Footprint, addresses: VirtualAddresses) -> Result<Footprint, FootprintError> {
    footprint.add_address(addresses.v4.into(), 32)?;
    if let Err(error) = footprint.add_address(addresses.v6.into(), 128) {
        tracing::warn!(%error, "only virtual IPv4 addresses can be used: IPv6 is switched off on this host");
    }
    Ok(footprint)
}

/// Answers the host's programs for the network's names.
fn serve_names(engine: &Engine, interface: &Arc<Interface>, device: &Device) -> Result<NameService, UpError> {
    let listener = IpAddr::from(engine.addresses().v4);
    let names = NetworkNames::new(engine.clone(), Arc::clone(interface), device.host.resolution().clone());
    let net = Arc::clone(device.host.net());
    let service = NameService::start(SocketAddr::new(listener, DNS_PORT), Arc::new(names), net, Vec::new())
        .map_err(UpError::Names)?;
    if let Some(servers) = interface.with_ground(|footprint| footprint.hook_resolver(listener)) {
        service.set_servers(servers?);
    }
    Ok(service)
}

/// Follows the host as it moves: its addresses, and whom it would ask for names, which its networks tell it.
async fn follow_host(interface: &Interface, names: Option<&NameService>, device: &Device) {
    let (net, clock) = (device.host.net(), device.host.clock());
    let mut changes = 0;
    loop {
        tokio::select! {
            seen = net.address_change(changes) => changes = seen,
            () = clock.sleep(LOOK) => {}
        }
        interface.path().look();
        let Some(names) = names else { continue };
        match interface.with_ground(Footprint::name_servers) {
            Some(Ok(servers)) => names.set_servers(servers),
            Some(Err(error)) => tracing::warn!(%error, "programs do not find the network's names"),
            None => {}
        }
    }
}
