//! How a run fails, and the place where the first failure is kept until the run's root task takes it.

use ntmobile_proto::time::Instant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use thiserror::Error;

/// Why a run did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SimulationFailure {
    /// Nothing is scheduled any more and the main future is unfinished: somebody waits for what nobody will do.
    #[error("deadlock at {at:?}: nothing is left to happen and the run is unfinished; waiting: {}", list(waiting))]
    Deadlock {
        /// When the last event happened.
        at: Instant,
        /// Who waits, as far as they said so.
        waiting: Vec<String>,
    },
    /// A task, an actor or the main future panicked.
    #[error("a task panicked at {at:?}: {message} ({location})")]
    Panicked {
        /// When.
        at: Instant,
        /// What it said.
        message: String,
        /// The line of source.
        location: String,
    },
    /// The run would have gone on past its limit.
    #[error("the run was not finished at its limit of {limit:?}; waiting: {}", list(waiting))]
    TimeLimit {
        /// The limit.
        limit: Instant,
        /// Who waits, as far as they said so.
        waiting: Vec<String>,
    },
}

fn list(waiting: &[String]) -> String {
    if waiting.is_empty() { "nobody said".to_owned() } else { waiting.join("; ") }
}

/// What has become of the run. Apart from the world's state, so that a panic under the world's lock can be recorded.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    failed: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    root: Option<Waker>,
    failure: Option<SimulationFailure>,
}

impl Verdict {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps `failure` if it is the first, and has the root task look.
    pub(crate) fn fail(&self, failure: SimulationFailure) {
        let mut inner = self.lock();
        if inner.failure.is_none() {
            inner.failure = Some(failure);
            self.failed.store(true, Ordering::Release);
        }
        drop(inner);
        self.wake_root();
    }

    /// Polls the root task once more, so that the runtime does not put its thread to sleep.
    pub(crate) fn wake_root(&self) {
        if let Some(root) = &self.lock().root {
            root.wake_by_ref();
        }
    }

    /// The root task's look: the failure, if there is one; registers its waker otherwise.
    pub(crate) fn check(&self, root: &Waker) -> Option<SimulationFailure> {
        if self.failed.load(Ordering::Acquire) {
            return self.take();
        }
        let mut inner = self.lock();
        if !inner.root.as_ref().is_some_and(|known| known.will_wake(root)) {
            inner.root = Some(root.clone());
        }
        None
    }

    /// Takes the failure.
    pub(crate) fn take(&self) -> Option<SimulationFailure> {
        let mut inner = self.lock();
        self.failed.store(false, Ordering::Release);
        inner.failure.take()
    }

    /// Forgets the last run.
    pub(crate) fn reset(&self) {
        *self.lock() = Inner::default();
        self.failed.store(false, Ordering::Release);
    }
}
