//! The world's clock: virtual time to the nanosecond.

use crate::runtime::timer::Sleep;
use crate::world::Shared;
use futures::future::BoxFuture;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::{Instant, UnixTime};
use std::sync::Arc;

/// The clock of a simulated world. Its wall time is the world's epoch and the virtual time since.
#[derive(Clone, Debug)]
pub struct SimClock {
    shared: Arc<Shared>,
}

impl SimClock {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        self.shared.now()
    }

    fn wall(&self) -> UnixTime {
        self.shared.wall()
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        Box::pin(Sleep::new(self.shared.clone(), at))
    }
}
