//! Virtual time: runs a future, and everything it spawns, under a clock that moves only when nobody has anything to do.
//!
//! **Invariant:** time stands still while any task is ready. The current-thread runtime below actix calls one hook before
//! it would put its thread to sleep; the hook takes the next event from the world's one agenda, sets the time to it and
//! carries it out. Nothing else moves time. The runtime has neither I/O nor timers of its own, so nothing can wait for
//! the outside.
//!
//! An agenda that runs empty while the run is unfinished is a deadlock, and a panic in any task or actor ends the run:
//! both are a [`SimulationFailure`].

pub(crate) mod failure;
mod panic_watch;
#[cfg(test)]
mod tests;
pub(crate) mod timer;

pub use failure::SimulationFailure;
pub(crate) use panic_watch::current;

use crate::world::World;
use ntmobile_proto::time::{Instant, UnixTime};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// One simulated world and the right to run it.
///
/// ```
/// use ntmobile_sim::Simulation;
/// use ntmobile_ports::clock::Clock;
/// use std::time::Duration;
///
/// let mut simulation = Simulation::new(7);
/// let clock = simulation.world().clock();
/// let waited = simulation.run(async move {
///     clock.sleep(Duration::from_nanos(1_500)).await;
///     clock.now()
/// });
/// assert_eq!(waited.unwrap().0, 1_500);
/// ```
#[derive(Debug)]
pub struct Simulation {
    world: World,
}

impl Simulation {
    /// A new world at its origin. Everything that happens in it follows from `seed` and what is run.
    pub fn new(seed: u64) -> Self {
        Self { world: World::new(seed) }
    }

    /// Sets the wall-clock time at the world's origin; 2030-01-01 otherwise. Never 0, which some formats read as unset.
    pub fn with_epoch(self, epoch: UnixTime) -> Self {
        self.world.shared().set_epoch(epoch);
        self
    }

    /// Fails the run when virtual time would pass `limit` after the origin: a guard for runs whose timers never end.
    pub fn with_time_limit(self, limit: Duration) -> Self {
        self.world.shared().set_time_limit(Instant::ORIGIN + limit);
        self
    }

    /// The world: hosts, clock, randomness. A handle that may be cloned and outlive the run.
    pub fn world(&self) -> World {
        self.world.clone()
    }

    /// Runs `main` until it completes, with everything it spawns: actors, `actix::spawn`, `tokio::spawn`. What is still
    /// running then is dropped.
    ///
    /// # Panics
    /// When called from within an asynchronous task.
    pub fn run<T: 'static>(&mut self, main: impl Future<Output = T> + 'static) -> Result<T, SimulationFailure> {
        let shared = self.world.shared().clone();
        let hook = shared.clone();
        let _watch = panic_watch::Watch::begin(shared.clone());
        let system = actix::System::with_tokio_rt(move || {
            tokio::runtime::Builder::new_current_thread()
                .on_thread_park(move || hook.advance())
                .build()
                .expect("a runtime without I/O and timers needs nothing from the operating system")
        });
        shared.run_begins();
        let result = system.block_on(async {
            // A task of its own, so that the event loop wakes this cheap one at each event and not the caller's.
            let mut main = tokio::task::spawn_local(main);
            poll_fn(|context| {
                if let Some(failure) = shared.verdict().check(context.waker()) {
                    return Poll::Ready(Err(failure));
                }
                match Pin::new(&mut main).poll(context) {
                    Poll::Ready(Ok(value)) => Poll::Ready(Ok(value)),
                    Poll::Ready(Err(_)) => {
                        Poll::Ready(Err(shared.verdict().take().expect("the panic hook saw the main task panic")))
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await
        });
        shared.run_ends();
        result
    }
}
