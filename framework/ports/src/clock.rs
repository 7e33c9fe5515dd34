//! Time: everything that waits goes through this port.

use futures::future::BoxFuture;
use ntmobile_proto::time::{Instant, UnixTime};
use std::time::Duration;

/// A clock that can be waited for.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Instant;

    /// Now, on the wall.
    fn wall(&self) -> UnixTime;

    /// Completes at `at`, or at once when that is past.
    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()>;

    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.now() + duration)
    }
}
