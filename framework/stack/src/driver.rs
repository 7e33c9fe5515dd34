//! The one task that sleeps until a stack's next deadline and then lets the connection in question act.

use crate::stack::Inner;
use futures::future::BoxFuture;
use ntmobile_proto::time::Instant;
use std::future::poll_fn;
use std::sync::Weak;
use std::task::{Poll, Waker};

/// What the state keeps of the driver, to wake it only when it would sleep too long.
#[derive(Default)]
pub(crate) struct DriverSlot {
    /// Whether the task runs.
    pub(crate) running: bool,
    waker: Option<Waker>,
    armed: Option<Instant>,
}

impl DriverSlot {
    /// The deadlines have changed; the waker, if the driver must look. It sleeps through one that was put off and looks
    /// then, which costs less than a new timer for every acknowledgement.
    pub(crate) fn changed(&mut self, earliest: Option<Instant>) -> Option<Waker> {
        let must_look = match (earliest, self.armed) {
            (Some(earliest), Some(armed)) => earliest < armed,
            (None, None) => false,
            (Some(_), None) | (None, Some(_)) => true,
        };
        if must_look { self.waker.take() } else { None }
    }

    /// Wakes the driver for the last time.
    pub(crate) fn end(&mut self) -> Option<Waker> {
        self.waker.take()
    }
}

/// Marks the driver as gone when its task is dropped with its runtime, so that another may be started.
struct Running(Weak<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            *inner.driver() = DriverSlot::default();
        }
    }
}

/// Runs until the stack is gone.
pub(crate) async fn drive(stack: Weak<Inner>) {
    let running = Running(stack);
    let mut sleep: Option<(Instant, BoxFuture<'static, ()>)> = None;
    poll_fn(|context| {
        loop {
            let Some(inner) = running.0.upgrade() else { return Poll::Ready(()) };
            let earliest = inner.earliest();
            let mut slot = inner.driver();
            slot.waker = Some(context.waker().clone());
            slot.armed = earliest;
            drop(slot);
            let Some(at) = earliest else {
                sleep = None;
                return Poll::Pending;
            };
            if sleep.as_ref().is_none_or(|(until, _)| *until != at) {
                sleep = Some((at, inner.clock().sleep_until(at)));
            }
            if let Some((_, future)) = &mut sleep
                && future.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            sleep = None;
            inner.expire();
        }
    })
    .await;
}
