//! What happens when an actor panics. actix's own supervisor does not catch panics (the address just closes), so the
//! policy is ours: in a simulation the run fails; on a host the entity starts again from its store, after a pause that
//! grows, and is given up when it panics too often.
//!
//! **Invariant:** nothing of a machine that panicked is ever used again: machine, outstanding calls, connections and
//! effects not yet carried out all go, and outcomes that still arrive belong to an old [`Epoch`] and are dropped.

use futures::FutureExt;
use ntmobile_proto::time::Instant;
use std::any::Any;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use thiserror::Error;

/// One life of an entity's machine; every restart begins a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The life after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What a panic leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PanicPolicy {
    /// The panic goes on through the actor: a simulation's panic hook has marked the run failed.
    FailRun,
    /// The entity starts again from its store.
    Restart(RestartPolicy),
}

/// How often and how soon an entity starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// The pause before the first restart; it doubles with each further one.
    pub first_pause: Duration,
    /// The pause never grows beyond this.
    pub longest_pause: Duration,
    /// This many restarts within [`RestartPolicy::window`] are granted, the next panic ends the entity.
    pub limit: usize,
    /// Restarts older than this are forgotten.
    pub window: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
            limit: 10,
            window: Duration::from_secs(600),
        }
    }
}

/// Why an entity is no more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum End {
    /// It was told to stop and did.
    #[error("it was stopped")]
    Stopped,
    /// It panicked, and policy grants no restart.
    #[error("it panicked ({0}) and is not restarted")]
    Panicked(String),
    /// Its store could not be read.
    #[error("its store could not be read: {0}")]
    Store(#[from] ntmobile_proto::machine::StoreFailure),
    /// Whatever ran it is gone.
    #[error("the runtime that ran it is gone")]
    Abandoned,
}

/// What is to be done about a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start again after this long.
    RestartAfter(Duration),
    /// Let it go, and let the panic go on.
    Propagate,
    /// Let it go.
    GiveUp,
}

/// Counts panics against the policy.
#[derive(Debug)]
pub(crate) struct Supervision {
    policy: PanicPolicy,
    restarts: VecDeque<Instant>,
}

impl Supervision {
    pub(crate) fn new(policy: PanicPolicy) -> Self {
        Self { policy, restarts: VecDeque::new() }
    }

    /// Decides about a panic that happened at `now`.
    pub(crate) fn judge(&mut self, now: Instant) -> Verdict {
        let PanicPolicy::Restart(policy) = self.policy else { return Verdict::Propagate };
        self.restarts.retain(|&restart| now.since(restart) <= policy.window);
        if self.restarts.len() >= policy.limit {
            return Verdict::GiveUp;
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        self.restarts.push_back(now);
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        Verdict::RestartAfter(policy.first_pause.saturating_mul(factor).min(policy.longest_pause))
    }
}

/// What a panic said; panics carry text or something opaque.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}

/// Runs a task of an entity; a panic in it is handed to `report` instead of vanishing in the runtime.
pub(crate) async fn guarded(task: impl Future<Output = ()>, report: impl FnOnce(String)) {
    if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
        report(message_of(&*panic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ORIGIN + Duration::from_secs(seconds)
    }

    fn policy() -> RestartPolicy {
        RestartPolicy {
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(3),
            limit: 3,
            window: Duration::from_secs(100),
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_then_it_is_given_up() {
        let mut supervision = Supervision::new(PanicPolicy::Restart(policy()));
        let verdicts: Vec<_> = (0..4).map(|second| supervision.judge(at(second))).collect();
        let after = |seconds| Verdict::RestartAfter(Duration::from_secs(seconds));
        assert_eq!(verdicts, [after(1), after(2), after(3), Verdict::GiveUp]);
    }

    #[test]
    fn old_panics_are_forgotten() {
        let mut supervision = Supervision::new(PanicPolicy::Restart(policy()));
        for second in 0..3 {
            supervision.judge(at(second));
        }
        assert_eq!(supervision.judge(at(500)), Verdict::RestartAfter(Duration::from_secs(1)));
    }

    #[test]
    fn a_simulation_is_never_saved_from_a_panic() {
        assert_eq!(Supervision::new(PanicPolicy::FailRun).judge(at(0)), Verdict::Propagate);
    }
}
