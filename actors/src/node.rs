//! A node as an entity: signalling and packets on one ephemeral port, TLS legs, and the user-space stack of its
//! application.

use crate::engine::{self, Carrier, Engine, EngineParts, JoinError};
use crate::host::Host;
use crate::library::{Node, NodePath};
use crate::server::StartError;
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::NodeConfig;
use ntmobile_proto::packet::{KeyLog, TunnelTable};
use ntmobile_stack::{Stack, StackOptions};
use ntmobile_wire::address::VirtualAddresses;
use std::rc::Rc;
use std::sync::Arc;

/// The largest packet that enters a tunnel: the least that IPv6 allows an interface, which every path carries.
pub const TUNNEL_MTU: usize = 1_280;

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

/// Starts a node of the `library` model and has it join its network.
///
/// # Panics
/// When called outside an actix system.
pub async fn start(config: NodeConfig, parts: NodeParts, host: Host) -> Result<Node, JoinError> {
    let port = host.net().bind_udp(parts.port).map_err(StartError::Signalling)?;
    let entity = engine::entity_name(&config);
    let (errands, todo) = engine::errands();
    let path = Arc::new(NodePath::new(Arc::clone(&entity), Arc::clone(&port), &host, errands.clone()));
    let carrier = Applications { path: Arc::clone(&path), make_stack: stack_maker(&host, &entity, &path) };
    let parts = EngineParts {
        signalling: port,
        packet_path: path.clone(),
        carrier: Rc::new(carrier),
        errands: (errands, todo),
        tls: parts.tls,
        store: parts.store,
        key_log: parts.key_log,
    };
    Ok(Node::new(Engine::start(config, parts, host).await?, path))
}

/// Makes the stack of a node that has joined.
type StackMaker = Box<dyn Fn(VirtualAddresses) -> Stack>;

/// The applications that live in this process.
struct Applications {
    path: Arc<NodePath>,
    make_stack: StackMaker,
}

impl Carrier for Applications {
    fn use_tunnels(&self, tunnels: Arc<TunnelTable>) {
        self.path.use_tunnels(tunnels);
    }

    fn joined(&self, addresses: VirtualAddresses) {
        match self.path.stack() {
            Some(stack) => stack.set_addresses(vec![addresses.v4.into(), addresses.v6.into()]),
            None => self.path.use_stack((self.make_stack)(addresses)),
        }
    }

    fn tunnel_stands(&self, peer: &Peer, addresses: VirtualAddresses) {
        self.path.tunnel_stands(peer, addresses);
    }
}

fn stack_maker(host: &Host, entity: &str, path: &Arc<NodePath>) -> StackMaker {
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
