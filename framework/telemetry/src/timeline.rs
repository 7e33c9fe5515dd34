//! The stretch of wall-clock time that a run's virtual time is mapped onto.

use ntmobile_proto::time::{Instant, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Why a timeline cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelineError {
    /// OTLP reads a time of 0 as *not set*.
    #[error("the epoch must not be 0: a time of 0 means `not set` in OTLP")]
    ZeroEpoch,
    /// The end does not fit into 64 bits of nanoseconds.
    #[error("the timeline ends later than 64 bits of nanoseconds since 1970 can tell")]
    TooFar,
}

/// Maps instants of the run's world to Unix time, and knows which times are the run's own.
///
/// OpenTelemetry's SDK stamps wall-clock time wherever it is not told better. Every time that goes into a trace is
/// therefore held to `[epoch, epoch + duration]`: a stamp that leaked in from outside lies elsewhere and is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    epoch: u64,
    end: u64,
}

impl Timeline {
    /// A world whose origin is at `epoch` and which lasts for `duration`.
    pub fn new(epoch: UnixTime, duration: Duration) -> Result<Self, TimelineError> {
        let epoch = Self::epoch_nanos(epoch)?;
        let duration = u64::try_from(duration.as_nanos()).map_err(|_| TimelineError::TooFar)?;
        let end = epoch.checked_add(duration).ok_or(TimelineError::TooFar)?;
        Ok(Self { epoch, end })
    }

    /// A world whose origin is at `epoch` and which lasts until it is stopped: a real host.
    pub fn open_ended(epoch: UnixTime) -> Result<Self, TimelineError> {
        Ok(Self { epoch: Self::epoch_nanos(epoch)?, end: u64::MAX })
    }

    fn epoch_nanos(epoch: UnixTime) -> Result<u64, TimelineError> {
        match epoch.0.checked_mul(1_000_000_000) {
            Some(0) => Err(TimelineError::ZeroEpoch),
            Some(nanos) => Ok(nanos),
            None => Err(TimelineError::TooFar),
        }
    }

    /// The origin in nanoseconds since 1970.
    pub fn epoch_unix_nanos(&self) -> u64 {
        self.epoch
    }

    /// An instant of the world in nanoseconds since 1970; the last possible nanosecond if it would be later.
    pub fn unix_nanos(&self, at: Instant) -> u64 {
        self.epoch.saturating_add(at.0)
    }

    /// An instant of the world as OpenTelemetry's SDK wants it.
    pub fn system_time(&self, at: Instant) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.unix_nanos(at))
    }

    /// Whether a time in nanoseconds since 1970 is within the run.
    pub fn contains(&self, unix_nanos: u64) -> bool {
        (self.epoch..=self.end).contains(&unix_nanos)
    }
}

/// A time of the SDK in nanoseconds since 1970; `None` before that and after the year 2554.
pub(crate) fn nanos_of(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_never_zero() {
        assert_eq!(Timeline::new(UnixTime(0), Duration::from_secs(1)), Err(TimelineError::ZeroEpoch));
        assert_eq!(Timeline::open_ended(UnixTime(0)), Err(TimelineError::ZeroEpoch));
    }

    #[test]
    fn a_timeline_fits_64_bits() {
        assert_eq!(Timeline::new(UnixTime(u64::MAX), Duration::ZERO), Err(TimelineError::TooFar));
        assert_eq!(Timeline::new(UnixTime(18_446_744_073), Duration::from_secs(1)), Err(TimelineError::TooFar));
    }

    #[test]
    fn both_ends_belong_to_the_run() {
        let timeline = Timeline::new(UnixTime(10), Duration::from_secs(2)).expect("small numbers");
        assert!(timeline.contains(10_000_000_000));
        assert!(timeline.contains(12_000_000_000));
        assert!(!timeline.contains(9_999_999_999));
        assert!(!timeline.contains(12_000_000_001));
        assert_eq!(timeline.unix_nanos(Instant(5)), 10_000_000_005);
        assert_eq!(nanos_of(timeline.system_time(Instant(5))), Some(10_000_000_005));
    }
}
