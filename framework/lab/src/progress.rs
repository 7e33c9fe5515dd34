//! How far a run is, for whoever watches it from another thread, and the request to stop it.
//!
//! Plain atomics: the simulation writes a number now and then, the watcher reads it when it likes. Neither waits for the
//! other, and nothing that is simulated depends on it except that a stopped run ends early.

use ntmobile_proto::time::Instant;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What a run is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Putting the world together.
    Building,
    /// Letting it live.
    Running,
    /// Writing down what happened.
    Writing,
    /// Done, well or not.
    Done,
}

/// A handle to the progress of one run; clones mean the same run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    phase: AtomicU8,
    now: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// What it is busy with.
    pub fn phase(&self) -> Phase {
        match self.shared.phase.load(Ordering::Acquire) {
            0 => Phase::Building,
            1 => Phase::Running,
            2 => Phase::Writing,
            _ => Phase::Done,
        }
    }

    /// Virtual time, as far as it has come.
    pub fn now(&self) -> Instant {
        Instant(self.shared.now.load(Ordering::Relaxed))
    }

    /// Asks the run to stop; what was measured until then is kept and marked as partial.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    pub fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// The run says what it is busy with.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Release);
    }

    /// The run says how far it has come.
    pub fn advance(&self, now: Instant) {
        self.shared.now.store(now.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_sees_what_the_run_says_and_the_run_what_the_watcher_asks() {
        let run = Progress::default();
        let watcher = run.clone();
        assert_eq!(watcher.phase(), Phase::Building);
        for phase in [Phase::Running, Phase::Writing, Phase::Done] {
            run.enter(phase);
            assert_eq!(watcher.phase(), phase);
        }
        run.advance(Instant(5));
        assert_eq!(watcher.now(), Instant(5));
        assert!(!run.is_stopping());
        watcher.stop();
        assert!(run.is_stopping());
    }
}
