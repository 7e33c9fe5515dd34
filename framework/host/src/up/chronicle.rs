//! What a node has to tell of itself and its peers: who it is, where, by which paths, since when, and what happened on the way.

use ntmobile_actors::engine::Engine;
use ntmobile_ports::net::Net;
use ntmobile_proto::node::NodeEvent;
use ntmobile_proto::packet::TunnelTable;
use ntmobile_wire::name::Fqdn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;

/// So many happenings are remembered of a peer, the newest.
const HAPPENINGS: usize = 16;
/// So many peers are remembered. Beyond, whoever's last happening is oldest makes room.
const PEERS: usize = 1_024;

/// A node, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its virtual IPv4 address.
    pub v4: Ipv4Addr,
    /// Its virtual IPv6 address.
    pub v6: Ipv6Addr,
    /// Its interface.
    pub interface: String,
    /// Its process.
    pub process: u32,
    /// For how many seconds it has been up.
    pub up_s: u64,
    /// The host's own addresses, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// Where its DC saw it last, if it has moved since it joined.
    pub seen_at: Option<SocketAddr>,
    /// Its peers, by name.
    pub peers: Vec<PeerStatus>,
}

/// A peer, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// The addresses that programs here know it by.
    pub addresses: Vec<IpAddr>,
    /// Its tunnel, if it stands.
    pub tunnel: Option<TunnelStatus>,
    /// What happened, the oldest first.
    pub happenings: Vec<Happening>,
}

/// A tunnel, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// The relay, where the path goes through one.
    pub relay: Option<String>,
    /// Where packets are sent to.
    pub next_hop: SocketAddr,
    /// Packets received.
    pub packets_in: u64,
    /// Octets received.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Octets sent.
    pub bytes_out: u64,
}

/// Something that happened to the tunnel to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// How many seconds ago.
    pub ago_s: u64,
    /// What.
    pub what: String,
}

/// What is remembered of a peer.
#[derive(Default)]
struct History {
    addresses: Vec<IpAddr>,
    relay: Option<Fqdn>,
    happenings: VecDeque<(Instant, String)>,
}

/// Remembers what happens to a node.
pub(crate) struct Chronicle {
    engine: Engine,
    net: Arc<dyn Net>,
    interface: String,
    since: Instant,
    peers: Mutex<BTreeMap<Fqdn, History>>,
    seen_at: Mutex<Option<SocketAddr>>,
}

impl Chronicle {
    pub(crate) fn new(engine: Engine, net: Arc<dyn Net>, interface: String) -> Self {
        let (peers, seen_at) = (Mutex::default(), Mutex::default());
        Self { engine, net, interface, since: Instant::now(), peers, seen_at }
    }

    /// Listens to the node for as long as it lives.
    pub(crate) async fn keep(&self) {
        let mut events = self.engine.events();
        loop {
            match events.recv().await {
                Ok(event) => self.note(&event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn note(&self, event: &NodeEvent) {
        match event {
            NodeEvent::Registered { outer } => *lock(&self.seen_at) = Some(*outer),
            NodeEvent::TunnelBuilt { connection, handover } => {
                let by = connection.relay.as_ref().map_or("directly".to_owned(), |relay| format!("through {relay}"));
                let what = if *handover { format!("moved: goes {by}") } else { format!("built: goes {by}") };
                let addresses = vec![connection.addresses.v4.into(), connection.addresses.v6.into()];
                self.with(&connection.peer.name, what, |history| {
                    (history.addresses, history.relay) = (addresses, connection.relay.clone());
                });
            }
            NodeEvent::TunnelClosed { peer, reason } => self.with(&peer.name, format!("closed: {reason}"), |_| {}),
            _ => {}
        }
    }

    fn with(&self, peer: &Fqdn, what: String, change: impl FnOnce(&mut History)) {
        let mut peers = lock(&self.peers);
        if peers.len() >= PEERS && !peers.contains_key(peer) {
            let oldest = peers.iter().min_by_key(|(_, history)| history.happenings.back().map(|(at, _)| *at));
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                peers.remove(&oldest);
            }
        }
        let history = peers.entry(peer.clone()).or_default();
        if history.happenings.len() >= HAPPENINGS {
            history.happenings.pop_front();
        }
        history.happenings.push_back((Instant::now(), what));
        change(history);
    }

    /// Everything, now.
    pub(crate) fn status(&self, tunnels: &TunnelTable) -> Status {
        let own = self.engine.addresses();
        let peers = lock(&self.peers);
        Status {
            name: self.engine.name().to_string(),
            v4: own.v4,
            v6: own.v6,
            interface: self.interface.clone(),
            process: std::process::id(),
            up_s: self.since.elapsed().as_secs(),
            addresses: self.net.addresses(),
            seen_at: *lock(&self.seen_at),
            peers: peers.iter().map(|(name, history)| peer_status(name, history, tunnels)).collect(),
        }
    }
}

fn peer_status(name: &Fqdn, history: &History, tunnels: &TunnelTable) -> PeerStatus {
    let tunnel = history.addresses.iter().find_map(|address| tunnels.towards(*address));
    PeerStatus {
        name: name.to_string(),
        addresses: history.addresses.clone(),
        tunnel: tunnel.filter(|tunnel| tunnel.settings().peer == *name).map(|tunnel| {
            let counters = tunnel.counters();
            TunnelStatus {
                relay: history.relay.as_ref().map(Fqdn::to_string),
                next_hop: tunnel.next_hop(),
                packets_in: counters.packets_in,
                bytes_in: counters.bytes_in,
                packets_out: counters.packets_out,
                bytes_out: counters.bytes_out,
            }
        }),
        happenings: history
            .happenings
            .iter()
            .map(|(at, what)| Happening { ago_s: at.elapsed().as_secs(), what: what.clone() })
            .collect(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
