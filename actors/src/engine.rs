//! A node without the way of its packets: the machine, driven on its host, and whoever waits for something of it. Every node
//! model is this and a [`Carrier`].

mod errands;
mod outcomes;

pub(crate) use errands::Errand;
pub use errands::Errands;

use crate::driver::{self, Blueprint, Gone, Handle, PacketPath, Subscriber};
use crate::host::Host;
use crate::server::StartError;
use crate::supervise::End;
use errands::run_errands;
use ntmobile_ports::net::UdpPort;
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{self, Connection, Node as NodeMachine, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_proto::packet::{KeyLog, TunnelTable};
use ntmobile_proto::sizes::Sizes;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::name::{Fqdn, NameError};
use outcomes::{Dispatcher, Joined, Outcomes};
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc};

/// Carries the packets of a node's applications into its tunnels and back. Called by the node's actor: it must not wait.
pub trait Carrier {
    /// A life of the machine begins: its tunnels are these.
    fn use_tunnels(&self, tunnels: Arc<TunnelTable>);

    /// The node has joined, for the first time or again, and has these addresses.
    fn joined(&self, addresses: VirtualAddresses);

    /// A tunnel to this peer stands, which applications here know by these addresses: what has waited for it goes. Called
    /// before anybody who waits for the tunnel hears of it.
    fn tunnel_stands(&self, peer: &Peer, addresses: VirtualAddresses);
}

impl<C: Carrier + ?Sized> Carrier for Arc<C> {
    fn use_tunnels(&self, tunnels: Arc<TunnelTable>) {
        (**self).use_tunnels(tunnels);
    }

    fn joined(&self, addresses: VirtualAddresses) {
        (**self).joined(addresses);
    }

    fn tunnel_stands(&self, peer: &Peer, addresses: VirtualAddresses) {
        (**self).tunnel_stands(peer, addresses);
    }
}

/// What a node is given besides its host and its machine's settings.
pub struct EngineParts {
    /// The signalling half of its port.
    pub signalling: Arc<dyn UdpPort>,
    /// What is told where the machine is reached.
    pub packet_path: Arc<dyn PacketPath>,
    /// What carries its packets.
    pub carrier: Rc<dyn Carrier>,
    /// What the carrier asks for, as [`errands()`] gives it.
    pub errands: (Errands, ErrandQueue),
    /// Its TLS end.
    pub tls: Arc<dyn Tls>,
    /// What it must not forget.
    pub store: Arc<dyn Store>,
    /// Who is told the keys of its packets: nobody, unless an experiment decrypts its own capture.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// Errands that wait to be run.
pub struct ErrandQueue(mpsc::Receiver<Errand>);

/// A way for a carrier to ask for something, and what takes it.
pub fn errands() -> (Errands, ErrandQueue) {
    let (errands, queue) = Errands::new();
    (errands, ErrandQueue(queue))
}

/// Why a node could not join its network.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JoinError {
    /// The account is no account.
    #[error(transparent)]
    Account(#[from] NameError),
    /// The node could not be started on this host.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The network did not let it in.
    #[error(transparent)]
    Refused(#[from] node::JoinError),
    /// The node ended or started anew meanwhile.
    #[error("the node ended or started anew before it had joined")]
    Interrupted,
}

/// Why a tunnel could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// The name is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The network did not give one.
    #[error(transparent)]
    Tunnel(#[from] node::ConnectError),
    /// The node started anew meanwhile.
    #[error("the node started anew meanwhile; try again")]
    Interrupted,
    /// The node is no more.
    #[error(transparent)]
    Gone(#[from] Gone),
}

/// A node that has joined. Clones are the same; it leaves the network when the last is dropped.
#[derive(Clone)]
pub struct Engine {
    handle: Handle<NodeMachine>,
    outcomes: Arc<Outcomes>,
    joined: Arc<Joined>,
}

impl Engine {
    /// Starts a node and has it join its network.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub async fn start(config: NodeConfig, parts: EngineParts, host: Host) -> Result<Self, JoinError> {
        let entity = entity_name(&config);
        let outcomes = Arc::new(Outcomes::new());
        let (errands, todo) = parts.errands;
        let (tunnels_of, key_log) = (Rc::clone(&parts.carrier), parts.key_log);
        let dispatcher = Dispatcher { outcomes: Arc::clone(&outcomes), carrier: parts.carrier, errands };
        let dispatcher: Box<dyn Subscriber<NodeEvent>> = Box::new(dispatcher);
        let blueprint = Blueprint {
            name: Arc::clone(&entity),
            machine: Box::new(move |entropy| {
                let machine = NodeMachine::new(config.clone(), entropy);
                let tunnels = machine.tunnels();
                if let Some(log) = &key_log {
                    tunnels.log_keys(Arc::clone(log));
                }
                tunnels_of.use_tunnels(tunnels);
                machine
            }),
            signalling: parts.signalling,
            packet_path: Some(parts.packet_path),
            tls: Some(parts.tls),
            tcp: None,
            subscriber: host.announcing(&entity, dispatcher),
            store: parts.store,
            authenticators: Vec::new(),
        };
        let clock = Arc::clone(host.clock());
        let handle = driver::start(blueprint, host).await.map_err(StartError::Ended)?;
        let joining = outcomes.join();
        handle.ask(NodeCommand::Join).await.map_err(|_gone| JoinError::Interrupted)?;
        let joined = joining.await.map_err(|_forgotten| JoinError::Interrupted)??;
        actix::spawn(run_errands(handle.downgrade(), Arc::clone(&outcomes), clock, todo.0));
        Ok(Self { handle, outcomes, joined: Arc::new(joined) })
    }

    /// The node's name.
    pub fn name(&self) -> &Fqdn {
        &self.joined.name
    }

    /// The node's permanent addresses.
    pub fn addresses(&self) -> VirtualAddresses {
        self.joined.addresses
    }

    /// Finds one of a node's applications and sees that a tunnel to it stands.
    pub async fn connect(&self, peer: &Fqdn, application: ApplicationId) -> Result<Connection, LookupError> {
        let (waiter, outcome) = self.outcomes.connection();
        self.handle.ask(NodeCommand::Connect { waiter, peer: peer.clone(), application }).await?;
        Ok(outcome.await.map_err(|_forgotten| LookupError::Interrupted)??)
    }

    /// Has a round trip to this peer measured, inside its tunnel; [`NodeEvent::RoundTrip`] tells it.
    pub async fn measure(&self, peer: Peer) {
        // A node that is no more has no tunnels.
        let _ = self.handle.ask(NodeCommand::Measure { peer }).await;
    }

    /// Everything that happens to the node from now on. Who does not listen loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.outcomes.listen()
    }

    /// How much it holds, by table; nothing while it is starting anew.
    pub async fn sizes(&self) -> Option<Sizes> {
        self.handle.sizes().await
    }

    /// Starts the node's machine anew from its store, as after a crash; it joins again by itself.
    pub fn restart(&self) {
        self.handle.restart();
    }

    /// Waits for the end of a node that cannot go on: it has failed too often, or its store cannot be read.
    pub async fn ended(&self) -> End {
        self.handle.ended().await
    }

    /// Closes every tunnel and leaves the network.
    pub async fn leave(&self) {
        // A node that is no more has left already.
        let _ = self.handle.ask(NodeCommand::Leave).await;
        self.handle.stop().await;
    }
}

/// The node's name in traces: its FQDN, and which application it is where there are several.
pub(crate) fn entity_name(config: &NodeConfig) -> Arc<str> {
    let node = config.account.node();
    if config.application.0 == 0 { node.as_str().into() } else { format!("{node}/{}", config.application).into() }
}
