//! What a host's packet path needs of the process around it: threads, and somewhere for its counters to go.

use ntmobile_telemetry::Recorder;
use std::collections::BTreeMap;
use std::thread::available_parallelism;
use std::time::Duration;

/// The most threads that carry packets where nobody says how many.
const MOST_THREADS: usize = 4;
/// How often the packet path's counters go to metrics.
const COUNT: Duration = Duration::from_secs(1);

/// How many threads carry packets where so many are wished for: 0 is for one for each processor, within reason.
pub(crate) fn threads(wished: usize) -> usize {
    match wished {
        0 => available_parallelism().map_or(1, Into::into).min(MOST_THREADS),
        wished => wished,
    }
}

/// Brings what is counted on the way of packets to the metrics of an entity, for as long as it is polled.
pub(crate) async fn count(counted: impl Fn() -> Vec<(&'static str, u64)>, recorder: &Recorder, entity: &str) {
    let mut before: BTreeMap<&'static str, u64> = BTreeMap::new();
    loop {
        tokio::time::sleep(COUNT).await;
        for (name, now) in counted() {
            let before = before.entry(name).or_default();
            if now > *before {
                recorder.count(entity, name, now - *before);
                *before = now;
            }
        }
    }
}
