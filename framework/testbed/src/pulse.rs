//! A pulse from one host to another: ten packets a second, as large as a virtual interface takes, that come back, and when.

use crate::namespaces::Namespaces;
use crate::process::Process;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often one is sent.
const EVERY: &str = "0.1";
/// What makes a packet of 1,400 octets.
const SIZE: &str = "1372";
/// So many replies within [`STEADY`] are no accident.
const ENOUGH: usize = 10;
/// See [`ENOUGH`].
const STEADY: Duration = Duration::from_secs(2);
/// How often it is looked whether it is back.
const PAUSE: Duration = Duration::from_millis(100);

/// Echo requests and their replies.
pub struct Pulse {
    process: Process,
}

/// What became of a pulse that was disturbed.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// The longest time without a reply since it was disturbed, until it was back for good.
    pub silence: Duration,
    /// How long after the end of the disturbance it was back for good: its first reply from when on there was one after the
    /// other.
    pub back: Duration,
}

impl Pulse {
    /// Starts it in a host's namespace, to this address.
    ///
    /// # Panics
    /// When there is no `ping`.
    pub fn start(world: &Namespaces, host: &str, address: &str, words: &Path) -> Self {
        let mut command = world.command(host, Path::new("ping"));
        command.args(["-D", "-n", "-i", EVERY, "-s", SIZE, address]);
        Self { process: Process::start(command, words).expect("ping starts") }
    }

    /// When replies came, in order.
    fn replies(&self) -> Vec<Duration> {
        let words = self.process.words();
        let lines = words.lines().filter(|line| line.contains("bytes from"));
        let stamps = lines.filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok());
        stamps.map(Duration::from_secs_f64).collect()
    }

    /// The first reply since `moment` from which on they come steadily.
    fn steady_since(&self, moment: SystemTime) -> Option<Duration> {
        let moment = since_epoch(moment);
        let replies: Vec<Duration> = self.replies().into_iter().filter(|reply| *reply >= moment).collect();
        let steady = replies.windows(ENOUGH).find(|few| few[ENOUGH - 1] - few[0] <= STEADY)?;
        Some(steady[0])
    }

    /// Waits until it comes steadily since `over`, the end of a disturbance that began at `began`.
    ///
    /// # Panics
    /// When it does not come in time.
    pub fn await_steady(&self, began: SystemTime, over: SystemTime, patience: Duration) -> Beat {
        let deadline = SystemTime::now() + patience;
        let back = loop {
            if let Some(back) = self.steady_since(over) {
                break back;
            }
            assert!(SystemTime::now() < deadline, "no traffic: {}", last_lines(&self.process.words()));
            sleep(PAUSE);
        };
        let began = since_epoch(began);
        let mut replies = self.replies();
        replies.retain(|reply| *reply <= back);
        let before = replies.iter().rfind(|reply| **reply < began).copied().unwrap_or(began);
        let moments: Vec<Duration> =
            std::iter::once(before).chain(replies.into_iter().filter(|reply| *reply >= began)).collect();
        let silence = moments.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default();
        Beat { silence, back: back.saturating_sub(since_epoch(over)) }
    }
}

fn since_epoch(moment: SystemTime) -> Duration {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn last_lines(words: &str) -> String {
    let lines: Vec<&str> = words.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
