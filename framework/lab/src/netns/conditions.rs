//! The conditions under which a lab ran: whether the machine was too busy for its figures to mean anything.

use super::internet::Punctuality;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Above this share of time that the hypervisor took away, a run is overloaded.
const STEAL: f64 = 0.05;
/// Below this share of idle time it is too: somebody waited for a processor most of the time.
const IDLE: f64 = 0.10;

/// What a run on the real kernel was like: a part of its manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabRecord {
    /// How nodes took part: `library` or `tun`.
    pub model: String,
    /// The networks whose NAT was the kernel's, and what it did; all others were the simulator's model.
    pub kernel_nats: BTreeMap<String, String>,
    /// What the machine was like meanwhile.
    pub machine: Machine,
    /// Why the figures are not to be trusted; empty on a machine that kept up.
    pub overload: Vec<String>,
}

/// A machine while a lab ran on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// How many processors it has.
    pub processors: usize,
    /// The load average of the last minute when the run began.
    pub load_before: f64,
    /// The same when it ended.
    pub load_after: f64,
    /// The share of time in which processors had nothing to do.
    pub idle: f64,
    /// The share of time that the hypervisor took away.
    pub steal: f64,
    /// How many packets the emulated internet has handed over.
    pub packets: u64,
    /// How late a packet was handed over in the middle, in milliseconds.
    pub late_median_ms: f64,
    /// How late one packet in a hundred was, or later, in milliseconds.
    pub late_p99_ms: f64,
    /// How late the latest was, in milliseconds.
    pub late_worst_ms: f64,
    /// How many were lost for want of time.
    pub packets_lost: u64,
}

/// Watches a machine from now on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    times: Times,
    load: f64,
}

impl Watch {
    pub(super) fn begin() -> Self {
        Self { times: Times::now(), load: load() }
    }

    /// What it was like since, and why it was too busy, if it was.
    pub(super) fn end(self, punctuality: &Punctuality) -> (Machine, Vec<String>) {
        let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1e3;
        let times = Times::now().since(self.times);
        let machine = Machine {
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            load_before: self.load,
            load_after: load(),
            idle: times.share(times.idle),
            steal: times.share(times.steal),
            packets: punctuality.handed_over,
            late_median_ms: millis(punctuality.median),
            late_p99_ms: millis(punctuality.p99),
            late_worst_ms: millis(punctuality.worst),
            packets_lost: punctuality.lost,
        };
        let mut why: Vec<String> = punctuality.overload().iter().map(ToString::to_string).collect();
        why.extend(machine.overload());
        (machine, why)
    }
}

impl Machine {
    fn overload(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.steal > STEAL {
            why.push(format!(
                "the hypervisor took {:.0} % of the time away (bound {:.0} %)",
                self.steal * 1e2,
                STEAL * 1e2
            ));
        }
        if self.idle < IDLE {
            let (idle, bound) = (self.idle * 1e2, IDLE * 1e2);
            why.push(format!("the processors were idle for {idle:.0} % of the time (bound {bound:.0} %)"));
        }
        if self.load_before > self.processors as f64 {
            let (load, processors) = (self.load_before, self.processors);
            why.push(format!("the load was {load:.1} on {processors} processors before it began"));
        }
        why
    }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// What the processors have spent their time on, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Times {
    all: u64,
    idle: u64,
    steal: u64,
}

impl Times {
    fn now() -> Self {
        Self::of(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn of(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
        let at = |index: usize| ticks.get(index).copied().unwrap_or_default();
        // The two after steal are guests' time, which the first ones hold already.
        Self { all: ticks.iter().take(8).sum(), idle: at(3) + at(4), steal: at(7) }
    }

    fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            idle: self.idle.saturating_sub(before.idle),
            steal: self.steal.saturating_sub(before.steal),
        }
    }

    fn share(self, ticks: u64) -> f64 {
        if self.all == 0 { 0.0 } else { ticks as f64 / self.all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_between() {
        let before = Times::of("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n");
        let after = Times::of("cpu  150 0 150 730 120 0 0 50 9 9\n");
        let between = after.since(before);
        assert_eq!(between, Times { all: 200, idle: 50, steal: 50 });
        assert!((between.share(between.steal) - 0.25).abs() < 1e-9);
        assert!(Times::default().share(0).abs() < 1e-9, "no time has passed");
    }

    #[test]
    fn each_bound_is_a_reason_of_its_own() {
        let quiet = Machine { processors: 2, load_before: 1.9, idle: 0.6, steal: 0.01, ..Machine::default() };
        assert!(quiet.overload().is_empty(), "{:?}", quiet.overload());
        let busy = Machine { processors: 2, load_before: 2.5, idle: 0.02, steal: 0.2, ..Machine::default() };
        assert_eq!(busy.overload().len(), 3);
    }
}
