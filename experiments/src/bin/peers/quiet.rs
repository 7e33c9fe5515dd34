//! Whether the machine is ours alone: what others use of it before a round, what the hypervisor takes, and whether a fixed
//! piece of work takes as long as it did at best.

use std::fmt;
use std::fs;
use std::hint::black_box;
use std::thread::{available_parallelism, sleep};
use std::time::{Duration, Instant};

/// How long it is looked at what others do.
const LOOK: Duration = Duration::from_millis(500);
/// The share of all processors that others may use, and that the hypervisor may take.
const MOST_BUSY: f64 = 0.08;
const MOST_STOLEN: f64 = 0.02;
/// A calibration loop may take so many times as long as the best of the run.
const MOST_SLOWER: f64 = 1.15;
/// Rounds of the calibration loop: some tens of milliseconds.
const WORK: u64 = 10_000_000;

/// What all processors have done since the machine started, in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ticks {
    pub(crate) busy: u64,
    pub(crate) stolen: u64,
    pub(crate) all: u64,
}

impl Ticks {
    /// Until now.
    pub(crate) fn now() -> Self {
        fs::read_to_string("/proc/stat").ok().and_then(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// The first line: user, nice, system, idle, waiting for I/O, interrupts, soft interrupts, stolen.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, waiting, interrupts, soft, stolen, ..] = fields[..] else { return None };
        let busy = user + nice + system + interrupts + soft;
        Some(Self { busy, stolen, all: busy + idle + waiting + stolen })
    }

    /// What has been done since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        let less = |now: u64, before: u64| now.saturating_sub(before);
        Self {
            busy: less(self.busy, before.busy),
            stolen: less(self.stolen, before.stolen),
            all: less(self.all, before.all),
        }
    }

    /// Processor time, of all processors together.
    pub(crate) fn busy_seconds(self) -> f64 {
        self.busy as f64 / 100.0
    }

    fn share(self, part: u64) -> f64 {
        part as f64 / self.all.max(1) as f64
    }
}

/// What the machine was like before a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    /// The share of all processors that others used.
    pub(crate) busy: f64,
    /// The share that the hypervisor took.
    pub(crate) stolen: f64,
    /// The load average of the last minute.
    pub(crate) load: f64,
    /// How long the slowest processor took for the calibration loop.
    pub(crate) calibration: Duration,
}

impl Look {
    /// Looks, while nothing of ours runs.
    pub(crate) fn take() -> Self {
        let before = Ticks::now();
        sleep(LOOK);
        let used = Ticks::now().since(before);
        let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            busy: used.share(used.busy),
            stolen: used.share(used.stolen),
            load: average.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            calibration: calibrate(),
        }
    }

    /// What is wrong with it, if anything; `best` is the shortest calibration of the run.
    pub(crate) fn flaw(&self, best: Duration) -> Option<String> {
        let slower = self.calibration.as_secs_f64() / best.as_secs_f64().max(f64::MIN_POSITIVE);
        let percent = |share: f64| (share * 100.0).round();
        if self.busy > MOST_BUSY {
            Some(format!("others use {} % of it (load {})", percent(self.busy), self.load))
        } else if self.stolen > MOST_STOLEN {
            Some(format!("the hypervisor takes {} % of it", percent(self.stolen)))
        } else if slower > MOST_SLOWER {
            Some(format!("the same work takes {slower:.2} times as long as at best"))
        } else {
            None
        }
    }
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [busy, stolen] = [self.busy, self.stolen].map(|share| share * 100.0);
        let calibration = self.calibration.as_secs_f64() * 1e3;
        write!(f, "others {busy:.0} %, stolen {stolen:.1} %, load {:.2}, calibration {calibration:.1} ms", self.load)
    }
}

/// The same work on every processor at once; the time of the slowest.
fn calibrate() -> Duration {
    let processors = available_parallelism().map_or(1, usize::from);
    let workers: Vec<_> = (0..processors).map(|_| std::thread::spawn(work)).collect();
    workers.into_iter().filter_map(|worker| worker.join().ok()).max().unwrap_or_default()
}

fn work() -> Duration {
    let started = Instant::now();
    let mut state = 1_u64;
    for number in 0..WORK {
        // Each step needs the one before, and none can be foreseen.
        state = black_box(state).wrapping_mul(6_364_136_223_846_793_005).rotate_left(23) ^ number;
    }
    black_box(state);
    started.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_from_the_first_line_of_all_processors() {
        let before = Ticks::parse("cpu  100 0 50 800 10 0 5 2 0 0\ncpu0 1 1 1").expect("it is well formed");
        let after = Ticks::parse("cpu  130 0 60 850 10 0 5 12 0 0\n").expect("it is well formed");
        let used = after.since(before);
        assert_eq!((used.busy, used.stolen, used.all), (40, 10, 100));
        assert!(Ticks::parse("cpu  1 2 3").is_none());
    }

    #[test]
    fn each_disturbance_is_named() {
        let best = Duration::from_millis(40);
        let quiet = Look { busy: 0.01, stolen: 0.0, load: 0.2, calibration: best };
        assert_eq!(quiet.flaw(best), None);
        assert!(Look { busy: 0.5, ..quiet }.flaw(best).is_some_and(|flaw| flaw.contains("others use 50 %")));
        assert!(Look { stolen: 0.1, ..quiet }.flaw(best).is_some_and(|flaw| flaw.contains("takes 10 %")));
        assert!(Look { calibration: best * 2, ..quiet }.flaw(best).is_some_and(|flaw| flaw.contains("2.00 times")));
    }
}
