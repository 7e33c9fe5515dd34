//! Listening to the host's programs, by datagram and by stream.

use super::query::{Asked, read, unanswered};
use super::upstream::{Upstream, read_message, write_message};
use super::{Finding, Names};
use crate::net::NetOptions;
use crate::tcp::OsTcpPort;
use crate::udp::OsUdpPort;
use bytes::Bytes;
use ntmobile_ports::net::{ByteStream, Net, NetError, TcpPort, UdpPort};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// So many queries may be under way.
const MOST_QUERIES: usize = 512;
/// So many connections may be open.
const MOST_CONNECTIONS: usize = 64;
/// How long a connection may say nothing.
const IDLE: Duration = Duration::from_secs(10);
/// How long the network may take to find a name; programs give up soon afterwards.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long to leave a port alone that reports an error.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(10);

/// A running name service; it stops when this is dropped.
pub struct NameService {
    address: SocketAddr,
    upstream: Arc<Upstream>,
    tasks: [JoinHandle<()>; 2],
}

impl NameService {
    /// Listens on this address and port, by UDP and TCP; asks `servers` by `net` for names that are not the network's. Must
    /// be called within a tokio runtime.
    pub fn start(
        listener: SocketAddr,
        names: Arc<dyn Names>,
        net: Arc<dyn Net>,
        servers: Vec<SocketAddr>,
    ) -> Result<Self, NetError> {
        let options = NetOptions { listen: vec![listener.ip()], ..NetOptions::server() };
        let datagrams = OsUdpPort::bind(&options, listener.port())?;
        let streams = OsTcpPort::listen(&options, datagrams.port())?;
        let address = SocketAddr::new(listener.ip(), datagrams.port());
        let ports = (Arc::new(datagrams) as Arc<dyn UdpPort>, Box::new(streams) as Box<dyn TcpPort>);
        Ok(Self::serve(address, ports, Clients::ThisHost, names, net, servers))
    }

    /// The same on ports that are open at `address`, and reached by nobody but programs of this host.
    pub fn start_on(
        address: SocketAddr,
        ports: (Arc<dyn UdpPort>, Box<dyn TcpPort>),
        names: Arc<dyn Names>,
        net: Arc<dyn Net>,
        servers: Vec<SocketAddr>,
    ) -> Self {
        Self::serve(address, ports, Clients::Everybody, names, net, servers)
    }

    fn serve(
        address: SocketAddr,
        (datagrams, streams): (Arc<dyn UdpPort>, Box<dyn TcpPort>),
        clients: Clients,
        names: Arc<dyn Names>,
        net: Arc<dyn Net>,
        servers: Vec<SocketAddr>,
    ) -> Self {
        let upstream = Arc::new(Upstream::new(net, servers));
        let desk = Arc::new(Desk { names, upstream: Arc::clone(&upstream), clients });
        let tasks =
            [tokio::spawn(serve_datagrams(datagrams, Arc::clone(&desk))), tokio::spawn(serve_streams(streams, desk))];
        Self { address, upstream, tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whom to ask from now on for names that are not the network's.
    pub fn set_servers(&self, servers: Vec<SocketAddr>) {
        self.upstream.set(servers);
    }
}

impl Drop for NameService {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Where queries are answered.
struct Desk {
    names: Arc<dyn Names>,
    upstream: Arc<Upstream>,
    clients: Clients,
}

/// Who is answered, of those whose queries come.
#[derive(Clone, Copy)]
enum Clients {
    ThisHost,
    Everybody,
}

impl Clients {
    /// Whether somebody with this address is answered who asks at that one.
    fn include(self, from: IpAddr, to: IpAddr) -> bool {
        match self {
            Self::ThisHost => from.is_loopback() || from == to,
            Self::Everybody => true,
        }
    }
}

/// How a query came: its answer may be cut short on a datagram only.
#[derive(Clone, Copy)]
enum Way {
    Datagram,
    Stream,
}

impl Desk {
    async fn answer(&self, query: &[u8], way: Way) -> Option<Bytes> {
        let ours = match read(query) {
            Asked::Unsound(refusal) => return refusal.map(Bytes::from),
            Asked::Elsewhere => None,
            Asked::Address { address, question } => question.owner(&self.names.owner(address)),
            Asked::Name { name, question } => match timeout(PATIENCE, self.names.find(name)).await {
                Ok(Finding::Elsewhere) => None,
                Ok(Finding::Node { addresses, lifetime }) => question.node(addresses, lifetime),
                Ok(Finding::Failed) | Err(_) => question.failure(),
            },
        };
        if let Some(ours) = ours {
            return Some(ours.into());
        }
        let theirs = match way {
            Way::Datagram => self.upstream.datagram(query).await,
            Way::Stream => self.upstream.stream(query).await,
        };
        theirs.or_else(|| unanswered(query).map(Bytes::from))
    }
}

async fn serve_datagrams(port: Arc<dyn UdpPort>, desk: Arc<Desk>) {
    // What is under way ends with us.
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let received = match port.receive().await {
            Ok(received) => received,
            Err(NetError::Closed) => return,
            Err(_) => {
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        if !desk.clients.include(received.from.ip(), received.to) || under_way.len() >= MOST_QUERIES {
            continue;
        }
        let (port, desk) = (Arc::clone(&port), Arc::clone(&desk));
        under_way.spawn(async move {
            if let Some(answer) = desk.answer(&received.bytes, Way::Datagram).await {
                // If it is lost the program asks again.
                let _sent = port.send(received.from, answer);
            }
        });
    }
}

async fn serve_streams(port: Box<dyn TcpPort>, desk: Arc<Desk>) {
    let mut under_way = JoinSet::new();
    loop {
        while under_way.try_join_next().is_some() {}
        let stream = match port.accept().await {
            Ok(stream) => stream,
            Err(NetError::Closed) => return,
            Err(_) => {
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        if !desk.clients.include(stream.peer().ip(), stream.local().ip()) || under_way.len() >= MOST_CONNECTIONS {
            continue;
        }
        let desk = Arc::clone(&desk);
        under_way.spawn(async move { converse(stream, &desk).await });
    }
}

/// Answers one query after the other until the program has no more.
async fn converse(mut stream: Box<dyn ByteStream>, desk: &Desk) {
    while let Ok(Some(query)) = timeout(IDLE, read_message(&mut *stream)).await {
        let Some(answer) = desk.answer(&query, Way::Stream).await else { return };
        if timeout(IDLE, write_message(&mut *stream, &answer)).await.is_err() {
            return;
        }
    }
}
