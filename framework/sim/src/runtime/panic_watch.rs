//! Sees panics that the runtime swallows: a panicking task or actor must fail the run, and its message must be kept.
//!
//! The runtime turns a task's panic into a value that nobody looks at. One process-wide panic hook, put before the
//! existing one, looks up whether the panicking thread is running a simulation and marks that run as failed.

use super::SimulationFailure;
use crate::world::Shared;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::{Arc, Once};

thread_local! {
    static RUNNING: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// While it lives, panics on this thread fail the run.
pub(super) struct Watch;

impl Watch {
    pub(super) fn begin(shared: Arc<Shared>) -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let previous = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                note(info);
                previous(info);
            }));
        });
        RUNNING.set(Some(shared));
        Self
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

/// The world whose run is under way on this thread.
pub(crate) fn current() -> Option<Arc<Shared>> {
    // A thread that is going away has no simulation any more.
    RUNNING.try_with(|running| running.try_borrow().ok().and_then(|running| running.clone())).ok().flatten()
}

fn note(info: &PanicHookInfo<'_>) {
    if let Some(shared) = current() {
        shared.verdict().fail(SimulationFailure::Panicked {
            at: shared.now(),
            message: info.payload_as_str().unwrap_or("a panic without a text").to_owned(),
            location: info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string),
        });
    }
}
