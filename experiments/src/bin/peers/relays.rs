//! Relays beside each other: packets forwarded for each second of processor time, by our RS's packet path and by coturn, one
//! thread each, under the same load.

use crate::asked::Asked;
use crate::failure::Failure;
use crate::load::relayed::FIRST_PORT;
use crate::process::{Process, found};
use crate::programs::Programs;
use crate::site::Site;
use crate::topology::{FAR, NEAR, Topology};
use std::time::Duration;

const RS_PORT: u16 = 4_503;
const TURN_PORT: u16 = 3_478;
const SINK_PORT: u16 = 7_002;
/// How long a relay is loaded before it is measured.
const WARMING: u64 = 200;

/// Who relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relay {
    Ours,
    Coturn,
}

/// What comes to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) tunnels: u16,
    pub(crate) trains: bool,
}

impl Load {
    pub(crate) const ALL: [Self; 4] = [
        Self { tunnels: 1, trains: true },
        Self { tunnels: 100, trains: true },
        Self { tunnels: 1, trains: false },
        Self { tunnels: 100, trains: false },
    ];

    /// How tables call it.
    pub(crate) fn title(self) -> String {
        let how = if self.trains { "UDP_SEGMENT" } else { "one by one" };
        format!("{} × {how}", self.tunnels)
    }
}

/// What a relay has done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relaying {
    /// Packets relayed in a second.
    pub(crate) rate: f64,
    /// Packets relayed for a second of processor time.
    pub(crate) per_second_of_processor: f64,
}

impl Relay {
    pub(crate) const ALL: [Self; 2] = [Self::Ours, Self::Coturn];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours (RS)",
            Self::Coturn => "coturn",
        }
    }

    /// Its version if it is here, or how to get it.
    pub(crate) fn probe(self) -> Result<String, &'static str> {
        match self {
            Self::Ours => Ok("packet path of an RS, static tunnels".to_owned()),
            Self::Coturn if found("turnserver").is_some() => Ok("turnserver".to_owned()),
            Self::Coturn => Err("apt-get install coturn"),
        }
    }

    /// Loads it for so long.
    pub(crate) fn measure(self, site: &Site, load: Load, seconds: u64) -> Result<Relaying, Failure> {
        let Site { topology, programs, .. } = site;
        let mut sink = topology.command("near", &programs.own);
        let _sink = Asked::start("load sink", sink.args(["load", "sink", &SINK_PORT.to_string()]))?;
        let mut serving = Serving::start(self, topology, programs, load.tunnels)?;
        let port = if self == Self::Ours { RS_PORT } else { TURN_PORT };
        let mut command = topology.command("near", &programs.own);
        command.args(["load", "relayed", "--relay", &format!("{FAR}:{port}"), "--tunnels", &load.tunnels.to_string()]);
        if load.trains {
            command.arg("--trains");
        }
        if self == Self::Coturn {
            command.args(["--turn-peer", &format!("{NEAR}:{SINK_PORT}")]);
        }
        let mut source = Asked::start("load relayed", &mut command)?;
        source.ask(&WARMING.to_string())?;
        let (packets, time) = (serving.relayed(topology)?, serving.processor_time());
        source.ask(&(seconds * 1_000).to_string())?;
        let relayed = serving.relayed(topology)?.saturating_sub(packets) as f64;
        let used = serving.processor_time().saturating_sub(time).as_secs_f64();
        Ok(Relaying { rate: relayed / seconds as f64, per_second_of_processor: relayed / used.max(f64::MIN_POSITIVE) })
    }
}

/// A running relay at the far end.
enum Serving {
    Ours(Asked),
    Coturn(Process),
}

impl Serving {
    fn start(relay: Relay, topology: &Topology, programs: &Programs, tunnels: u16) -> Result<Self, Failure> {
        match relay {
            Relay::Ours => {
                let mut command = topology.command("far", &programs.static_relay);
                command.args([&RS_PORT.to_string(), "1", &tunnels.to_string()]);
                command.args([format!("{NEAR}:{FIRST_PORT}"), format!("{NEAR}:{SINK_PORT}")]);
                Ok(Self::Ours(Asked::start("static_relay", &mut command)?))
            }
            Relay::Coturn => {
                let mut command = topology.command("far", "turnserver");
                command.args([
                    "-n",
                    "--no-auth",
                    "--no-tls",
                    "--no-dtls",
                    "--no-cli",
                    "-m",
                    "1",
                    "--log-file",
                    "stdout",
                ]);
                command.args(["--listening-ip", FAR, "--relay-ip", FAR, "--listening-port", &TURN_PORT.to_string()]);
                command.arg("--pidfile").arg(topology.file("turnserver.pid"));
                command.arg("--userdb").arg(topology.file("turndb"));
                let mut process = Process::start(&mut command, "turnserver", &topology.file("turnserver"))?;
                let is_listening = |_: &Process| {
                    let sockets = topology.run("far", "cat", &["/proc/net/udp"]).unwrap_or_default();
                    sockets.contains(&format!(":{TURN_PORT:04X} "))
                };
                process.until(Duration::from_secs(10), is_listening)?;
                Ok(Self::Coturn(process))
            }
        }
    }

    fn processor_time(&self) -> Duration {
        match self {
            Self::Ours(asked) => asked.processor_time(),
            Self::Coturn(process) => process.processor_time(),
        }
    }

    /// How many packets it has sent on. Ours sends several in one call and counts them itself; for coturn the kernel counts.
    fn relayed(&mut self, topology: &Topology) -> Result<u64, Failure> {
        match self {
            Self::Ours(asked) => {
                let said = asked.ask("")?;
                said.parse().map_err(|_| Failure::Answer { program: "static_relay", said })
            }
            Self::Coturn(_) => {
                let said = topology.run("far", "cat", &["/proc/net/snmp"])?;
                datagrams_sent(&said).ok_or(Failure::Answer { program: "/proc/net/snmp", said })
            }
        }
    }
}

/// The datagrams that a namespace has sent: of the two lines about UDP the first has the names.
fn datagrams_sent(counters: &str) -> Option<u64> {
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let place = lines.next()?.split(' ').position(|name| name == "OutDatagrams")?;
    lines.next()?.split(' ').nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_found_by_the_name_of_their_column() {
        let counters = "Tcp: A\nTcp: 1\nUdp: InDatagrams NoPorts OutDatagrams\nUdp: 7 0 42\nUdpLite: OutDatagrams\n";
        assert_eq!(datagrams_sent(counters), Some(42));
        assert_eq!(datagrams_sent("Udp: InDatagrams\nUdp: 7\n"), None);
    }
}
