//! What a node has to tell of itself and its peers: who it is, where, by which paths, since when, and what happened on the way.

mod status;

pub use status::{AttemptStatus, Happening, PeerStatus, Status, TunnelStatus};

use ntmobile_actors::engine::Engine;
use ntmobile_net::clock::OsClock;
use ntmobile_net::packet_path::path_room;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{Attempt, Connection, NodeEvent};
use ntmobile_proto::packet::TunnelTable;
use ntmobile_wire::message::DirectionReason;
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;

/// So many happenings are remembered of a peer, the newest.
const HAPPENINGS: usize = 16;
/// So many peers are remembered. Beyond, whoever's last happening is oldest makes room.
const PEERS: usize = 1_024;
/// How often the round trip inside each tunnel is measured.
const MEASURE: Duration = Duration::from_secs(60);

/// What is remembered of a peer.
#[derive(Default)]
struct History {
    addresses: Vec<IpAddr>,
    relay: Option<Fqdn>,
    happenings: VecDeque<(Instant, String)>,
    /// Which of its applications has the tunnel; nobody where none stands.
    stands: Option<Peer>,
    /// Since when there has been a tunnel.
    since: Option<Instant>,
    /// Since when it has gone this way.
    path_since: Option<Instant>,
    round_trip: Option<Duration>,
    handover: Option<Duration>,
    /// What was tried last, and when that ended.
    attempts: Vec<Attempt>,
    attempted: Option<Instant>,
}

impl History {
    fn build(&mut self, connection: &Connection, handover: Option<Duration>, attempts: &[Attempt]) {
        let now = Instant::now();
        self.addresses = vec![connection.addresses.v4.into(), connection.addresses.v6.into()];
        self.relay.clone_from(&connection.relay);
        self.stands = Some(connection.peer.clone());
        self.since.get_or_insert(now);
        self.path_since = Some(now);
        self.round_trip = None;
        self.handover = handover.or(self.handover);
        (self.attempts, self.attempted) = (attempts.to_vec(), Some(now));
    }

    fn try_in_vain(&mut self, attempts: &[Attempt]) {
        (self.attempts, self.attempted) = (attempts.to_vec(), Some(Instant::now()));
    }

    /// Why the path goes through a relay.
    fn relayed_because(&self) -> Option<String> {
        self.relay.as_ref()?;
        let direct = self.attempts.iter().find(|attempt| attempt.relay.is_none());
        let failure = direct.and_then(|attempt| attempt.outcome.as_ref().err());
        Some(match failure {
            Some(error) => format!("the direct path failed: {error}"),
            None => "the coordinator of the end that started saw no direct path".to_owned(),
        })
    }
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
        let mut measuring = tokio::time::interval(MEASURE);
        loop {
            let asked = tokio::select! {
                event = events.recv() => match event {
                    Ok(event) => self.note(&event).into_iter().collect(),
                    Err(RecvError::Lagged(_)) => Vec::new(),
                    Err(RecvError::Closed) => return,
                },
                _ = measuring.tick() => self.standing(),
            };
            for peer in asked {
                self.engine.measure(peer).await;
            }
        }
    }

    fn standing(&self) -> Vec<Peer> {
        lock(&self.peers).values().filter_map(|history| history.stands.clone()).collect()
    }

    /// Takes note of something; whoever is to be measured at once.
    fn note(&self, event: &NodeEvent) -> Option<Peer> {
        match event {
            NodeEvent::Registered { outer } => *lock(&self.seen_at) = Some(*outer),
            NodeEvent::TunnelBuilt { connection, handover, took, attempts } => {
                let by = connection.relay.as_ref().map_or("directly".to_owned(), |relay| format!("through {relay}"));
                let verb = if *handover { "moved" } else { "built" };
                let what = format!("{verb} in {} ms: goes {by}", took.as_millis());
                self.with(&connection.peer.name, what, |history| {
                    history.build(connection, handover.then_some(*took), attempts)
                });
                return Some(connection.peer.clone());
            }
            NodeEvent::TunnelFailed { peer, error, attempts } => {
                self.with(&peer.name, format!("not built: {error}"), |history| history.try_in_vain(attempts));
            }
            NodeEvent::TunnelClosed { peer, reason } => {
                self.with(&peer.name, format!("closed: {reason}"), |history| {
                    (history.stands, history.since) = (None, None)
                });
            }
            NodeEvent::RoundTrip { peer, took } => {
                if let Some(history) = lock(&self.peers).get_mut(&peer.name) {
                    history.round_trip = Some(*took);
                }
            }
            _ => {}
        }
        None
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
            let next_hop = tunnel.next_hop();
            let known = tunnel.path_limit(OsClock.now());
            TunnelStatus {
                relay: history.relay.as_ref().map(Fqdn::to_string),
                relayed_because: history.relayed_because(),
                next_hop,
                since_s: seconds_since(history.since),
                path_since_s: seconds_since(history.path_since),
                round_trip_us: history.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
                handover_ms: history.handover.map(milliseconds),
                room: known.or_else(|| path_room(next_hop).ok()),
                packets_in: counters.packets_in,
                bytes_in: counters.bytes_in,
                packets_out: counters.packets_out,
                bytes_out: counters.bytes_out,
            }
        }),
        attempts: history.attempts.iter().map(|attempt| attempt_status(attempt, history.attempted)).collect(),
        happenings: history
            .happenings
            .iter()
            .map(|(at, what)| Happening { ago_s: at.elapsed().as_secs(), what: what.clone() })
            .collect(),
    }
}

fn attempt_status(attempt: &Attempt, ended: Option<Instant>) -> AttemptStatus {
    let reason = match attempt.reason {
        DirectionReason::Handover => "handover",
        DirectionReason::DirectFailed => "direct-failed",
        DirectionReason::NewTunnel | DirectionReason::Unknown(_) => "new-tunnel",
    };
    AttemptStatus {
        ago_s: seconds_since(ended),
        reason: reason.to_owned(),
        relay: attempt.relay.as_ref().map(Fqdn::to_string),
        candidates: attempt.candidates.clone(),
        is_ours: attempt.is_ours,
        took_ms: milliseconds(attempt.took),
        answered: attempt.outcome.as_ref().ok().copied(),
        failure: attempt.outcome.as_ref().err().map(ToString::to_string),
    }
}

fn seconds_since(time: Option<Instant>) -> u64 {
    time.map_or(0, |time| time.elapsed().as_secs())
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
