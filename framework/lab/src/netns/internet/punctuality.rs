//! Whether the machine kept up: how late packets were handed over, and how many were lost because of it.

use std::fmt;
use std::time::Duration;

/// Above this 99th percentile of lateness a run is overloaded: a scenario's delays are milliseconds, and one packet in a hundred
/// is then wrong by as much.
pub const LATE: Duration = Duration::from_millis(2);

/// Above this worst lateness a run is overloaded: everything stood still for as long as many a round trip takes.
pub const STALLED: Duration = Duration::from_millis(100);

/// From one packet in so many on that were lost because the machine was too slow, a run is overloaded.
pub const LOST_ONE_IN: u64 = 1_000;

/// How well a machine kept up with what the model asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Punctuality {
    /// How many packets were handed over to a namespace.
    pub handed_over: u64,
    /// Half of them were handed over no later than this after they were due.
    pub median: Duration,
    /// Of a hundred, 99 were.
    pub p99: Duration,
    /// All of them were.
    pub worst: Duration,
    /// How many packets were lost because the machine was too slow, not because the model says so.
    pub lost: u64,
}

/// In which way a machine did not keep up, so that what was measured on it means little.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// More than one packet in a hundred came later than [`LATE`]: this much.
    Late(Duration),
    /// A packet came later than [`STALLED`]: this much.
    Stalled(Duration),
    /// So many packets were lost, of so many.
    Lost(u64, u64),
}

impl Punctuality {
    /// Whether the run is to be marked as overloaded, and why.
    pub fn overload(&self) -> Option<Overload> {
        let all = self.handed_over + self.lost;
        if self.lost > 0 && self.lost * LOST_ONE_IN >= all {
            return Some(Overload::Lost(self.lost, all));
        }
        if self.p99 > LATE {
            return Some(Overload::Late(self.p99));
        }
        (self.worst > STALLED).then_some(Overload::Stalled(self.worst))
    }
}

impl fmt::Display for Overload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(p99) => write!(f, "one packet in a hundred came {p99:.1?} late or more (bound {LATE:?})"),
            Self::Stalled(worst) => write!(f, "a packet came {worst:.1?} late (bound {STALLED:?})"),
            Self::Lost(lost, all) => {
                write!(f, "{lost} of {all} packets were lost for want of time (bound 1 in {LOST_ONE_IN})")
            }
        }
    }
}

/// How many linear steps each doubling of lateness is divided into: what is told is at most a sixteenth too much.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.ilog2();

/// How often which lateness occurred, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Lateness {
    buckets: Vec<u64>,
    count: u64,
    worst: u64,
}

impl Default for Lateness {
    fn default() -> Self {
        Self { buckets: vec![0; bucket(u64::MAX) + 1], count: 0, worst: 0 }
    }
}

impl Lateness {
    pub(super) fn record(&mut self, late: Duration) {
        let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(late)] += 1;
        self.count += 1;
        self.worst = self.worst.max(late);
    }

    /// What this part of all packets, in hundredths, did not exceed.
    fn percentile(&self, hundredths: u64) -> Duration {
        let wanted = (self.count * hundredths).div_ceil(100).max(1);
        let mut seen = 0;
        for (number, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(last_of(number).min(self.worst));
            }
        }
        Duration::ZERO
    }

    pub(super) fn punctuality(&self, lost: u64) -> Punctuality {
        Punctuality {
            handed_over: self.count,
            median: self.percentile(50),
            p99: self.percentile(99),
            worst: Duration::from_nanos(self.worst),
            lost,
        }
    }
}

/// The bucket of a value: the first ones hold one value each, then each doubling has as many.
fn bucket(value: u64) -> usize {
    let Some(shift) = (value | 1).ilog2().checked_sub(STEP_BITS) else { return value as usize };
    (u64::from(shift) * STEPS + (value >> shift)) as usize
}

/// The largest value of a bucket.
fn last_of(number: usize) -> u64 {
    let number = number as u64;
    if number < 2 * STEPS {
        return number;
    }
    let (shift, step) = (number / STEPS - 1, number % STEPS + STEPS);
    // The very last bucket ends where numbers do.
    u64::try_from(((u128::from(step) + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_buckets_are_narrow() {
        for value in
            (0..200).chain((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1])).chain([u64::MAX])
        {
            let number = bucket(value);
            let last = last_of(number);
            assert!(last >= value && last - value <= value / STEPS, "{value} in {number}, which ends at {last}");
            assert!(number == 0 || last_of(number - 1) < value, "{value} in {number}");
        }
    }

    fn of(lates: impl IntoIterator<Item = u64>, lost: u64) -> Punctuality {
        let mut lateness = Lateness::default();
        for late in lates {
            lateness.record(Duration::from_micros(late));
        }
        lateness.punctuality(lost)
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let told = of(1..=1_000, 0);
        let within = |told: Duration, true_micros: u64| {
            let exact = Duration::from_micros(true_micros);
            told >= exact && told <= exact + exact / 16
        };
        assert!(within(told.median, 500) && within(told.p99, 990), "{told:?}");
        assert_eq!((told.worst, told.handed_over), (Duration::from_millis(1), 1_000));
        assert_eq!(of([], 0), Punctuality::default());
    }

    #[test]
    fn each_bound_marks_a_run() {
        assert_eq!(of(1..=1_900, 1).overload(), None);
        assert!(matches!(of((0..95).chain([3_000; 5]), 0).overload(), Some(Overload::Late(_))));
        assert!(matches!(of((0..1_000).chain([100_001]), 0).overload(), Some(Overload::Stalled(_))));
        assert_eq!(of(1..=999, 1).overload(), Some(Overload::Lost(1, 1_000)));
        assert_eq!(Punctuality::default().overload(), None, "nothing was late where nothing was sent");
    }
}
