//! The world that one simulation runs: its time, its agenda of what will happen, who waits for it.
//!
//! Every handle shares one `Arc` with a mutex inside. A thread-local world would save the uncontended lock (some 10 ns an
//! event), but its handles would mean another world on another thread, or after the run; and QUIC asks for handles that
//! are `Send + Sync` and mean the same thing everywhere. The time is an atomic beside the mutex: reading the clock takes
//! no lock. No waker is called and no foreign value dropped while the lock is held.

mod carry;
mod hosts;
#[cfg(test)]
mod tests;
pub(crate) mod waiting;

pub use hosts::HostCounters;

pub use waiting::Waiting;

use crate::agenda::{Agenda, EventKey};
use crate::entropy::SimEntropy;
use crate::network::{Network, NetworkEvent, NodeId};
use crate::ports::clock::SimClock;
use crate::ports::host::SimHost;
use crate::runtime::SimulationFailure;
use crate::runtime::failure::Verdict;
use crate::runtime::timer::{Slot, Timers};
use carry::Effects;
use hosts::Hosts;
use ntmobile_proto::time::{Instant, UnixTime};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use waiting::WaitingList;

/// 2030-01-01T00:00:00Z.
const DEFAULT_EPOCH: u64 = 1_893_456_000;

/// How many waiting sockets a report names.
const MOST_READERS: usize = 32;

/// A handle to the world of one simulation.
#[derive(Clone, Debug)]
pub struct World {
    shared: Arc<Shared>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            shared: Arc::new(Shared {
                now: AtomicU64::new(0),
                epoch: AtomicU64::new(DEFAULT_EPOCH),
                running: AtomicBool::new(false),
                verdict: Verdict::default(),
                tls_streams: Mutex::default(),
                state: Mutex::new(State {
                    seed,
                    agenda: Agenda::new(),
                    network: Network::new(seed),
                    hosts: Hosts::default(),
                    timers: Timers::default(),
                    waiting: WaitingList::default(),
                    time_limit: None,
                    events: 0,
                    streams: BTreeMap::new(),
                }),
            }),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.shared.now()
    }

    /// The world's clock, the same for all its hosts.
    pub fn clock(&self) -> SimClock {
        SimClock::new(self.shared.clone())
    }

    /// A stream of chance of its own for the consumer called `label`: what others draw does not shift it. Asking again
    /// for the same label gives the next independent stream, so that a restarted process never draws what it drew before.
    pub fn entropy(&self, label: &str) -> SimEntropy {
        let mut state = self.shared.lock();
        let nth = state.next_stream(label);
        SimEntropy::derive(state.seed, label, nth)
    }

    /// Registers what the caller is about to wait for; a deadlock report names every label whose guard lives.
    pub fn waiting(&self, label: impl Into<String>) -> Waiting {
        Waiting::begin(self.shared.clone(), label.into())
    }

    /// Builds, changes or reads the network. Hosts whose addresses change by it are told before this returns. Nothing
    /// else of the world may be touched inside.
    pub fn network<T>(&self, action: impl FnOnce(&mut Network) -> T) -> T {
        self.shared.act(|state, effects| {
            let value = action(&mut state.network);
            state.network_changed(&self.shared, effects);
            value
        })
    }

    /// The network as this host of it sees it.
    pub fn host(&self, node: NodeId) -> SimHost {
        self.shared.lock().host(node);
        SimHost::new(self.shared.clone(), node)
    }

    /// How many events have happened.
    pub fn events(&self) -> u64 {
        self.shared.lock().events
    }
}

/// What is entered into the agenda.
#[derive(Debug)]
enum Event {
    /// Wake whoever sleeps in this place.
    Wake(Slot),
    /// A packet arrives.
    Network(NetworkEvent),
}

/// What the handles of one world share.
#[derive(Debug)]
pub(crate) struct Shared {
    now: AtomicU64,
    epoch: AtomicU64,
    running: AtomicBool,
    verdict: Verdict,
    /// What the places of the seeded cryptography draw from; apart from the state, since TLS draws whenever it likes.
    tls_streams: Mutex<Vec<SimEntropy>>,
    state: Mutex<State>,
}

/// The world behind its lock.
#[derive(Debug)]
pub(crate) struct State {
    seed: u64,
    agenda: Agenda<Event>,
    network: Network,
    hosts: Hosts,
    pub(crate) timers: Timers<EventKey>,
    pub(crate) waiting: WaitingList,
    time_limit: Option<Instant>,
    events: u64,
    streams: BTreeMap<String, u64>,
}

impl State {
    pub(crate) fn add_timer(&mut self, at: Instant, waker: Waker) -> Slot {
        self.timers.insert(waker, |slot| self.agenda.schedule(at, Event::Wake(slot)))
    }

    /// Which one of the streams with this label comes next.
    fn next_stream(&mut self, label: &str) -> u64 {
        match self.streams.get_mut(label) {
            Some(nth) => {
                *nth += 1;
                *nth
            }
            None => {
                self.streams.insert(label.to_owned(), 0);
                0
            }
        }
    }

    /// Those who said so, then the sockets that somebody reads from.
    fn who_waits(&mut self) -> Vec<String> {
        let mut waiting = self.waiting.labels();
        let nodes: Vec<NodeId> = self.network.nodes().collect();
        let network = &self.network;
        let readers = self.hosts.iter_mut().flat_map(|(number, host)| {
            let name = network.node_name(nodes[number]);
            let ports = host.udp.iter().filter(|(_, port)| port.reader.is_some());
            ports.map(move |(number, _)| format!("{name} reads UDP port {number}"))
        });
        waiting.extend(readers.take(MOST_READERS));
        waiting
    }

    pub(crate) fn remove_timer(&mut self, slot: Slot) -> Option<Waker> {
        let (ticket, waker) = self.timers.remove(slot);
        if let Some(ticket) = ticket {
            self.agenda.cancel(ticket);
        }
        waker
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn wall(&self) -> UnixTime {
        UnixTime(self.epoch.load(Ordering::Relaxed) + self.now().0 / 1_000_000_000)
    }

    pub(crate) fn set_epoch(&self, epoch: UnixTime) {
        assert_ne!(epoch.0, 0, "a wall clock at 0 means unset to those who read the traces");
        self.epoch.store(epoch.0, Ordering::Relaxed);
    }

    pub(crate) fn set_time_limit(&self, limit: Instant) {
        self.lock().time_limit = Some(limit);
    }

    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// A panic under the lock has already failed the run; the state stays readable for the report.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the next place of the seeded cryptography a stream; the place's number.
    pub(crate) fn add_tls_stream(&self, stream: SimEntropy) -> usize {
        let mut streams = self.tls_streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.push(stream);
        streams.len() - 1
    }

    /// Draws from a place's stream, if it has one.
    pub(crate) fn with_tls_stream(&self, place: usize, draw: impl FnOnce(&mut SimEntropy)) -> Option<()> {
        let mut streams = self.tls_streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.get_mut(place).map(draw)
    }

    pub(crate) fn run_begins(&self) {
        self.verdict.reset();
        self.running.store(true, Ordering::Relaxed);
    }

    pub(crate) fn run_ends(&self) {
        self.running.store(false, Ordering::Relaxed);
        self.verdict.reset();
    }

    pub(crate) fn clock(self: &Arc<Self>) -> SimClock {
        SimClock::new(self.clone())
    }

    /// Does something to the state, then, without the lock, what follows from it.
    pub(crate) fn act<T>(&self, action: impl FnOnce(&mut State, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let value = action(&mut self.lock(), &mut effects);
        effects.perform();
        value
    }

    /// The idle hook: nobody is ready, so the next event happens. The only place where time moves.
    pub(crate) fn advance(self: &Arc<Self>) {
        if !self.running.load(Ordering::Relaxed) {
            return;
        }
        match self.next() {
            Ok(effects) => {
                effects.perform();
                // What was woken may be gone without having said so; the root task is not, so the hook is called again.
                self.verdict.wake_root();
            }
            Err(failure) => self.verdict.fail(failure),
        }
    }

    /// Carries out events until one of them concerns somebody.
    fn next(self: &Arc<Self>) -> Result<Effects, SimulationFailure> {
        let mut state = self.lock();
        let mut effects = Effects::default();
        while effects.is_empty() {
            let Some((at, event)) = state.agenda.pop() else {
                return Err(SimulationFailure::Deadlock { at: self.now(), waiting: state.who_waits() });
            };
            if let Some(limit) = state.time_limit
                && at > limit
            {
                return Err(SimulationFailure::TimeLimit { limit, waiting: state.who_waits() });
            }
            self.now.store(at.0, Ordering::Relaxed);
            state.events += 1;
            match event {
                Event::Wake(slot) => effects.wake(state.timers.fire(slot)),
                Event::Network(event) => state.network_event(self, event, &mut effects),
            }
        }
        Ok(effects)
    }
}
