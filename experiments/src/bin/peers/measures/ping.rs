//! Round trips, by ping.

use crate::failure::Failure;
use crate::process::Process;
use crate::topology::Topology;
use std::time::Duration;

/// What came of some pings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RoundTrips {
    pub(crate) mean: f64,
    /// What one in a hundred exceeds.
    pub(crate) worst: f64,
}

/// The arguments of ping for `count` round trips.
pub(crate) fn arguments(target: &str, count: u64, interval: &str) -> [String; 6] {
    ["-n", "-c", &count.to_string(), "-i", interval, target].map(str::to_owned)
}

/// Measures while nothing else is sent. The first replies are not counted: the tool may have to find its peer.
pub(crate) fn idle(topology: &Topology, target: &str) -> Result<RoundTrips, Failure> {
    topology.run("near", "ping", &["-n", "-c", "3", "-i", "0.1", "-W", "3", target])?;
    let arguments = arguments(target, 60, "0.01");
    let said = topology.run("near", "ping", &arguments.each_ref().map(String::as_str))?;
    parse(&said).ok_or(Failure::Answer { program: "ping", said })
}

/// Starts to measure beside what else is done for so long.
pub(crate) fn start(topology: &Topology, target: &str, seconds: u64) -> Result<Process, Failure> {
    let mut command = topology.command("near", "ping");
    command.args(arguments(target, seconds * 50, "0.02"));
    Process::start(&mut command, "ping", &topology.file("ping"))
}

/// What it came to.
pub(crate) fn finish(mut process: Process) -> Result<RoundTrips, Failure> {
    process.await_word("packets transmitted", Duration::from_secs(15))?;
    let said = process.words();
    parse(&said).ok_or(Failure::Answer { program: "ping", said })
}

fn parse(said: &str) -> Option<RoundTrips> {
    let time = |line: &str| line.split_once("time=")?.1.split(' ').next()?.parse::<f64>().ok();
    let mut times: Vec<f64> = said.lines().filter_map(time).collect();
    times.sort_by(f64::total_cmp);
    let worst = *times.get((times.len() * 99 / 100).min(times.len().checked_sub(1)?))?;
    Some(RoundTrips { mean: times.iter().sum::<f64>() / times.len() as f64, worst })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_ones_are_left_out() {
        let said = "64 bytes from 1.2.3.4: icmp_seq=1 ttl=64 time=0.5 ms\nno answer yet for icmp_seq=2\n\
                    64 bytes from 1.2.3.4: icmp_seq=3 ttl=64 time=1.5 ms\n3 packets transmitted, 2 received";
        assert_eq!(parse(said), Some(RoundTrips { mean: 1.0, worst: 1.5 }));
        assert_eq!(parse("3 packets transmitted, 0 received"), None);
    }
}
