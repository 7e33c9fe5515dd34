//! TCP streams by iperf3, and what carrying them cost.

use super::ping;
use crate::contestants::Running;
use crate::failure::Failure;
use crate::process::Process;
use crate::quiet::Ticks;
use crate::topology::Topology;
use std::time::Duration;

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    pub(crate) megabits: f64,
    /// Seconds of processor time of the tool, and of everything on the machine, for a gigabyte.
    pub(crate) tool: f64,
    pub(crate) machine: f64,
    pub(crate) round_trips: Option<ping::RoundTrips>,
}

/// Sends for so many seconds over so many streams, pinging beside it if asked to.
pub(crate) fn measure(
    topology: &Topology,
    running: &Running,
    (streams, seconds): (u8, u64),
    pings: bool,
) -> Result<Transfer, Failure> {
    let mut command = topology.command("far", "iperf3");
    let mut server = Process::start(command.args(["-s", "-1", "--forceflush"]), "iperf3", &topology.file("iperf3"))?;
    server.await_word("listening", Duration::from_secs(5))?;
    let (tool, machine) = (running.processor_time(), Ticks::now());
    let pinging = if pings { Some(ping::start(topology, &running.target, seconds)?) } else { None };
    let (streams, seconds) = (streams.to_string(), seconds.to_string());
    let arguments = ["-c", &running.target, "-t", &seconds, "-P", &streams, "-J", "--connect-timeout", "5000"];
    let said = topology.run("near", "iperf3", &arguments)?;
    let (tool, machine) = (running.processor_time().saturating_sub(tool), Ticks::now().since(machine));
    let round_trips = pinging.map(ping::finish).transpose()?;
    let (octets, megabits) = received(&said).ok_or(Failure::Answer { program: "iperf3", said })?;
    let gigabytes = octets / 1e9;
    Ok(Transfer {
        megabits,
        tool: tool.as_secs_f64() / gigabytes,
        machine: machine.busy_seconds() / gigabytes,
        round_trips,
    })
}

/// Octets that the receiver has had, and its megabits in a second.
fn received(said: &str) -> Option<(f64, f64)> {
    let report: serde_json::Value = serde_json::from_str(said).ok()?;
    let received = &report["end"]["sum_received"];
    let octets = received["bytes"].as_f64().filter(|octets| *octets > 0.0)?;
    Some((octets, received["bits_per_second"].as_f64()? / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_counts() {
        let said = r#"{"end":{"sum_sent":{"bytes":9e9,"bits_per_second":9e9},
                       "sum_received":{"bytes":2e9,"bits_per_second":4e9}}}"#;
        assert_eq!(received(said), Some((2e9, 4e3)));
        assert_eq!(received(r#"{"error":"unable to connect"}"#), None);
        assert_eq!(received(r#"{"end":{"sum_received":{"bytes":0,"bits_per_second":0}}}"#), None);
    }
}
