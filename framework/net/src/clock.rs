//! The operating system's clock: it goes on while the host is suspended, so that what expired meanwhile has expired.

use futures::future::BoxFuture;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::{Instant, UnixTime};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest that a sleeper sleeps in one piece. The runtime's timers stand still while the host is suspended; looking at
/// the clock this often bounds how late they notice.
const LONGEST_NAP: Duration = Duration::from_secs(5);

/// Time since the host was started (`CLOCK_BOOTTIME`), the same for every process on the host, and the wall's time.
///
/// [`Clock::sleep_until`] must be called within a tokio runtime. A sleep ends at most five seconds late when
/// the host was suspended during it, and otherwise within the runtime's millisecond.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsClock;

impl Clock for OsClock {
    fn now(&self) -> Instant {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid timespec that the call fills in and does not keep.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
        assert_eq!(result, 0, "every Linux since 2.6.39 has CLOCK_BOOTTIME");
        let seconds = u64::try_from(time.tv_sec).expect("time since the start is not negative");
        let nanoseconds = u32::try_from(time.tv_nsec).expect("a second's part is below 10⁹");
        Instant::ORIGIN + Duration::new(seconds, nanoseconds)
    }

    fn wall(&self) -> UnixTime {
        // A wall clock before 1970 is not set at all; certificates are then refused as not yet valid, which says so.
        UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn sleep_until(&self, at: Instant) -> BoxFuture<'static, ()> {
        let clock = *self;
        Box::pin(async move {
            loop {
                let remaining = at.since(clock.now());
                if remaining.is_zero() {
                    return;
                }
                tokio::time::sleep(remaining.min(LONGEST_NAP)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_does_not_end_before_its_time() {
        let clock = OsClock;
        let at = clock.now() + Duration::from_millis(30);
        clock.sleep_until(at).await;
        assert!(clock.now() >= at);
    }

    #[tokio::test]
    async fn what_is_past_is_not_waited_for() {
        let clock = OsClock;
        let before = clock.now();
        clock.sleep_until(before.minus(Duration::from_secs(60))).await;
        clock.sleep_until(Instant::ORIGIN).await;
    }

    #[test]
    fn all_clocks_of_a_host_agree() {
        let (one, two) = (OsClock, OsClock);
        let earlier = one.now();
        assert!(two.now() >= earlier);
        assert!(one.wall() > UnixTime(1_700_000_000), "the wall clock is set");
    }
}
