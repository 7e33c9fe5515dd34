//! The emulated internet's time: nanoseconds since a full second of the wall clock shortly before it started.

use ntmobile_proto::time::{Instant, UnixTime};
use std::time::{self, Duration, SystemTime, UNIX_EPOCH};

/// Goes with the machine's monotonic clock; so captures, traces and the records of real processes lie on one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct RealTime {
    origin: time::Instant,
    /// When on the wall the origin was.
    pub(super) epoch: UnixTime,
}

impl RealTime {
    pub(super) fn start() -> Self {
        // A wall clock before 1970 is not set at all, and nothing can be compared with it anyway.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = time::Instant::now();
        let since_full_second = Duration::from_nanos(wall.subsec_nanos().into());
        Self { origin: now.checked_sub(since_full_second).unwrap_or(now), epoch: UnixTime(wall.as_secs()) }
    }

    pub(super) fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// When that is for the machine.
    pub(super) fn on_the_machine(&self, at: Instant) -> time::Instant {
        self.origin + at.since(Instant::ORIGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_is_where_the_epoch_says() {
        let time = RealTime::start();
        let told = Duration::from_secs(time.epoch.0) + time.now().since(Instant::ORIGIN);
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        assert!(wall.abs_diff(told) < Duration::from_secs(10), "{told:?}, and the wall says {wall:?}");
        assert!(time.on_the_machine(time.now()) <= time::Instant::now());
    }
}
