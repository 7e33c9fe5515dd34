//! A node as an entity: signalling and packets on one ephemeral port, TLS legs, and the user-space stack of its
//! application.

use crate::driver::{self, Blueprint, Subscriber, WeakHandle};
use crate::host::Host;
use crate::library::{Dispatcher, Errand, JoinError, Node, NodePath, Outcomes};
use crate::server::StartError;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{Node as NodeMachine, NodeCommand, NodeConfig, NodeEvent};
use ntmobile_proto::packet::KeyLog;
use ntmobile_stack::{Stack, StackOptions};
use ntmobile_wire::address::VirtualAddresses;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The largest packet that enters a tunnel: the least that IPv6 allows an interface, which every path carries.
pub const TUNNEL_MTU: usize = 1_280;

/// So many errands may wait.
const ERRANDS: usize = 64;

/// What a node is given besides its host and its machine's settings.
pub struct NodeParts {
    /// Its signalling port; 0 for any free one.
    pub port: u16,
    /// Its TLS end.
    pub tls: Arc<dyn Tls>,
    /// What it must not forget.
    pub store: Arc<dyn Store>,
    /// Who is told the keys of its packets: nobody, unless an experiment decrypts its own capture.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// Starts a node and has it join its network.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(config: NodeConfig, parts: NodeParts, host: Host) -> Result<Node, JoinError> {
    let port = host.net().bind_udp(parts.port).map_err(StartError::Signalling)?;
    let entity = entity_name(&config);
    let (errands, todo) = mpsc::channel(ERRANDS);
    let path = Arc::new(NodePath::new(Arc::clone(&entity), Arc::clone(&port), &host, errands.clone()));
    let outcomes = Arc::new(Outcomes::new());
    let dispatcher = Dispatcher {
        outcomes: Arc::clone(&outcomes),
        path: Arc::clone(&path),
        make_stack: stack_maker(&host, &entity, &path),
        errands,
    };
    let (tunnels_of, key_log) = (Arc::clone(&path), parts.key_log);
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
        signalling: port,
        packet_path: Some(path.clone()),
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
    actix::spawn(run_errands(handle.downgrade(), Arc::clone(&outcomes), clock, todo));
    Ok(Node::new(handle, path, outcomes, joined))
}

/// The node's name in traces: its FQDN, and which application it is where there are several.
fn entity_name(config: &NodeConfig) -> Arc<str> {
    let node = config.account.node();
    if config.application.0 == 0 { node.as_str().into() } else { format!("{node}/{}", config.application).into() }
}

fn stack_maker(host: &Host, entity: &str, path: &Arc<NodePath>) -> Box<dyn FnMut(VirtualAddresses) -> Stack> {
    let (host, label, path) = (host.clone(), format!("{entity}/stack"), Arc::downgrade(path));
    Box::new(move |addresses| {
        let path = path.clone();
        Stack::new(
            Arc::clone(host.clock()),
            host.entropy(&label),
            vec![addresses.v4.into(), addresses.v6.into()],
            StackOptions { mtu: TUNNEL_MTU, ..StackOptions::default() },
            Arc::new(move |packet| {
                // Sockets keep the node alive, and it keeps the path; only what is sent at the very end finds none.
                if let Some(path) = path.upgrade() {
                    path.send(packet);
                }
            }),
        )
    })
}

/// Asks the machine for what nobody waits for: to join again after a restart, to build a tunnel for packets.
async fn run_errands(
    node: WeakHandle<NodeMachine>,
    outcomes: Arc<Outcomes>,
    clock: Arc<dyn Clock>,
    mut errands: mpsc::Receiver<Errand>,
) {
    while let Some(errand) = errands.recv().await {
        let Some(handle) = node.upgrade() else { return };
        let asked = match errand {
            Errand::Join(pause) => {
                let (clock, node) = (Arc::clone(&clock), node.clone());
                actix::spawn(async move {
                    clock.sleep(pause).await;
                    if let Some(handle) = node.upgrade() {
                        // A node that is no more does not join.
                        let _ = handle.ask(NodeCommand::Join).await;
                    }
                });
                continue;
            }
            Errand::Build(Peer { name, application }) => {
                let (waiter, _nobody_waits) = outcomes.connection();
                handle.ask(NodeCommand::Connect { waiter, peer: name, application }).await
            }
        };
        if asked.is_err() {
            return;
        }
    }
}
