//! The world that one simulation runs: its time, its agenda of what will happen, who waits for it.
//!
//! Every handle shares one `Arc` with a mutex inside. A thread-local world would save the uncontended lock (some 10 ns an
//! event), but its handles would mean another world on another thread, or after the run; and QUIC asks for handles that
//! are `Send + Sync` and mean the same thing everywhere. The time is an atomic beside the mutex: reading the clock takes
//! no lock. No waker is called and no foreign value dropped while the lock is held.

mod heap;
pub(crate) mod waiting;

pub use waiting::Waiting;

use crate::entropy::SimEntropy;
use crate::ports::clock::SimClock;
use crate::runtime::SimulationFailure;
use crate::runtime::failure::Verdict;
use crate::runtime::timer::{Slot, Timers};
use heap::{Agenda, Ticket};
use ntmobile_proto::time::{Instant, UnixTime};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use waiting::WaitingList;

/// 2030-01-01T00:00:00Z.
const DEFAULT_EPOCH: u64 = 1_893_456_000;

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
                state: Mutex::new(State {
                    seed,
                    agenda: Agenda::new(),
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
        let nth = state.streams.entry(label.to_owned()).and_modify(|nth| *nth += 1).or_insert(0);
        let nth = *nth;
        SimEntropy::derive(state.seed, label, nth)
    }

    /// Registers what the caller is about to wait for; a deadlock report names every label whose guard lives.
    pub fn waiting(&self, label: impl Into<String>) -> Waiting {
        Waiting::begin(self.shared.clone(), label.into())
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
}

/// What the handles of one world share.
#[derive(Debug)]
pub(crate) struct Shared {
    now: AtomicU64,
    epoch: AtomicU64,
    running: AtomicBool,
    verdict: Verdict,
    state: Mutex<State>,
}

/// The world behind its lock.
#[derive(Debug)]
pub(crate) struct State {
    seed: u64,
    agenda: Agenda<Event>,
    pub(crate) timers: Timers<Ticket>,
    pub(crate) waiting: WaitingList,
    time_limit: Option<Instant>,
    events: u64,
    streams: BTreeMap<String, u64>,
}

impl State {
    pub(crate) fn add_timer(&mut self, at: Instant, waker: Waker) -> Slot {
        self.timers.insert(waker, |slot| self.agenda.schedule(at, Event::Wake(slot)))
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

    pub(crate) fn run_begins(&self) {
        self.verdict.reset();
        self.running.store(true, Ordering::Relaxed);
    }

    pub(crate) fn run_ends(&self) {
        self.running.store(false, Ordering::Relaxed);
        self.verdict.reset();
    }

    /// The idle hook: nobody is ready, so the next event happens. The only place where time moves.
    pub(crate) fn advance(&self) {
        if !self.running.load(Ordering::Relaxed) {
            return;
        }
        match self.next() {
            Ok(waker) => {
                waker.wake();
                // What was woken may be gone without having said so; the root task is not, so the hook is called again.
                self.verdict.wake_root();
            }
            Err(failure) => self.verdict.fail(failure),
        }
    }

    /// Carries out events until one of them has somebody to wake.
    fn next(&self) -> Result<Waker, SimulationFailure> {
        let mut state = self.lock();
        loop {
            let Some((at, event)) = state.agenda.pop() else {
                return Err(SimulationFailure::Deadlock { at: self.now(), waiting: state.waiting.labels() });
            };
            if let Some(limit) = state.time_limit
                && at > limit
            {
                return Err(SimulationFailure::TimeLimit { limit, waiting: state.waiting.labels() });
            }
            self.now.store(at.0, Ordering::Relaxed);
            state.events += 1;
            match event {
                Event::Wake(slot) => {
                    if let Some(waker) = state.timers.fire(slot) {
                        return Ok(waker);
                    }
                }
            }
        }
    }
}
