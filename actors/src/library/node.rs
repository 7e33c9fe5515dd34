//! A node as its application sees it.

use super::destination::Destination;
use super::error::ConnectError;
use super::path::NodePath;
use super::sockets::{VirtualTcpListener, VirtualTcpStream, VirtualUdpSocket};
use super::{Device, Peer};
use crate::engine::{Engine, JoinError, LookupError};
use crate::node as entity;
use ntmobile_ports::net::NetError;
use ntmobile_proto::node::NodeEvent;
use ntmobile_proto::sizes::Sizes;
use ntmobile_stack::Stack;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::{Account, Fqdn};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::broadcast;

/// One application's node: logged in, registered, reachable under its name and permanent addresses wherever it moves.
///
/// A handle: clones are the same node. It leaves the network when the last clone and the last of its sockets are dropped.
#[derive(Clone)]
pub struct Node {
    engine: Engine,
    path: Arc<NodePath>,
}

impl Node {
    /// Logs in and registers, as the device's default application.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub async fn join(device: &Device, account: &str, credential: impl Into<Credential>) -> Result<Self, JoinError> {
        Self::join_as(device, ApplicationId(0), account, credential).await
    }

    /// Logs in and registers, as one of several applications on the device: each has a port, a registration and tunnels
    /// of its own, all share the name and the addresses.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub async fn join_as(
        device: &Device,
        application: ApplicationId,
        account: &str,
        credential: impl Into<Credential>,
    ) -> Result<Self, JoinError> {
        let account = Account::parse(account)?;
        let (config, parts) = device.application(account, credential.into(), application);
        entity::start(config, parts, device.host.clone()).await
    }

    pub(crate) fn new(engine: Engine, path: Arc<NodePath>) -> Self {
        Self { engine, path }
    }

    /// The node's name.
    pub fn name(&self) -> &Fqdn {
        self.engine.name()
    }

    /// The node's permanent addresses.
    pub fn addresses(&self) -> VirtualAddresses {
        self.engine.addresses()
    }

    /// Finds a node by its name and sees that a tunnel to it stands.
    pub async fn lookup(&self, name: &str) -> Result<Peer, LookupError> {
        self.lookup_application(&Fqdn::parse(name)?, ApplicationId(0)).await
    }

    /// Finds one of a node's applications and sees that a tunnel to it stands; new connections to the node are for this
    /// application from now on.
    pub async fn lookup_application(&self, name: &Fqdn, application: ApplicationId) -> Result<Peer, LookupError> {
        let connection = self.engine.connect(name, application).await?;
        self.path.prefer(connection.addresses, application);
        Ok(Peer { name: connection.peer.name, addresses: connection.addresses, relay: connection.relay })
    }

    /// Opens a TCP connection to `name:port`, through any NAT, and across every move.
    pub async fn connect(&self, to: &str) -> Result<VirtualTcpStream, ConnectError> {
        let Destination { name, port } = to.parse()?;
        let peer = self.lookup_application(&name, ApplicationId(0)).await?;
        self.connect_to(peer.at(port)).await
    }

    /// Opens a TCP connection to a permanent address.
    pub async fn connect_to(&self, to: SocketAddr) -> Result<VirtualTcpStream, ConnectError> {
        let stream = self.stack().connect(to).await.map_err(ConnectError::Refused)?;
        Ok(VirtualTcpStream::new(stream, self.clone()))
    }

    /// Opens a TCP port; 0 for any free one.
    pub fn listen(&self, port: u16) -> Result<VirtualTcpListener, NetError> {
        Ok(VirtualTcpListener::new(self.stack().listen(port)?, self.clone()))
    }

    /// Opens a UDP port; 0 for any free one.
    pub fn bind_udp(&self, port: u16) -> Result<VirtualUdpSocket, NetError> {
        Ok(VirtualUdpSocket::new(self.stack().bind(port)?, self.clone()))
    }

    /// Everything that happens to the node from now on: moves, tunnels built and closed. Who does not listen loses the
    /// oldest.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.engine.events()
    }

    /// How much it holds, by table; nothing while it is starting anew.
    pub async fn sizes(&self) -> Option<Sizes> {
        self.engine.sizes().await
    }

    /// Starts the node's machine anew from its store, as after a crash; it joins again by itself.
    pub fn restart(&self) {
        self.engine.restart();
    }

    /// Closes every tunnel and leaves the network; sockets that are still open fall silent.
    pub async fn leave(&self) {
        self.engine.leave().await;
    }

    fn stack(&self) -> &Stack {
        self.path.stack().expect("a node that has joined has a stack")
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("name", self.name()).field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}
