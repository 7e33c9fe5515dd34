//! A thousand tunnels on one node beside one, traffic spread over all of them: memory, and whether throughput keeps.

use crate::asked::Asked;
use crate::contestants::static_tunnels;
use crate::failure::Failure;
use crate::load::Flows;
use crate::measures::datagrams::highest_rate;
use crate::process::Process;
use crate::programs::Programs;
use crate::site::Site;
use crate::topology::{OVERLAY_FAR, OVERLAY_MTU, OVERLAY_NEAR, Side, Topology};
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread::sleep;
use std::time::Duration;

const PORT: u16 = 7_003;
/// So many flows there are in any case: through as many tunnels, or all through one.
pub(crate) const FLOWS: u16 = 1_000;
/// Octets of the datagrams, and between which rates they are tried.
const OCTETS: usize = 1_340;
const RATES: (f64, f64) = (10_000.0, 640_000.0);
/// How long connections grow before what they carry is counted.
const GROWING: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    /// A thousand TCP connections.
    pub(crate) tcp_megabits: f64,
    /// Datagrams over a thousand flows in turn, under 1 % loss.
    pub(crate) udp_megabits: f64,
    /// Memory of one process, in octets, after the traffic.
    pub(crate) memory: f64,
}

/// Measures with so many tunnels.
pub(crate) fn measure(site: &Site, tunnels: u16, seconds: u64) -> Result<Crowd, Failure> {
    let Site { topology, programs, .. } = site;
    let processes = static_tunnels(topology, programs, tunnels, "aes")?;
    for side in Side::BOTH {
        configure(topology, side, tunnels)?;
    }
    let to = SocketAddrV4::new(address(OVERLAY_FAR)?, PORT);
    let step = if tunnels == 1 { 0 } else { 2 };
    let flows = Flows { flows: FLOWS, from: address(OVERLAY_NEAR)?, to, step, octets: OCTETS };
    let tcp_megabits = connections(topology, programs, flows, seconds)?;
    let rate = highest_rate(topology, programs, flows, RATES)?;
    let memory = processes.iter().map(Process::memory).sum::<u64>() as f64 / processes.len() as f64;
    Ok(Crowd { tcp_megabits, udp_megabits: rate * OCTETS as f64 * 8.0 / 1e6, memory })
}

fn address(text: &str) -> Result<Ipv4Addr, Failure> {
    text.parse().map_err(|_| Failure::Missing(format!("{text} is no address")))
}

/// Gives the device the own address of each tunnel, and a route to all others.
fn configure(topology: &Topology, side: Side, tunnels: u16) -> Result<(), Failure> {
    let device = topology.device(side);
    let mut batch = format!("link set {device} mtu {OVERLAY_MTU} up\n");
    let first = u32::from(address(side.overlay())?);
    for tunnel in 0..u32::from(tunnels) {
        // Writing to a string cannot fail.
        let _ = writeln!(batch, "address add {}/32 dev {device}", Ipv4Addr::from(first + tunnel * 2));
    }
    let _ = writeln!(batch, "route add 100.64.0.0/20 dev {device}");
    let path = topology.file(&format!("crowd-{}", side.name()));
    fs::write(&path, batch).map_err(|source| Failure::File { path: path.clone(), source })?;
    topology.ip_at(side.name(), &["-batch", &path.to_string_lossy()])
}

/// What all connections together carry in a second, in megabits.
fn connections(topology: &Topology, programs: &Programs, flows: Flows, seconds: u64) -> Result<f64, Failure> {
    let mut swallow = topology.command("far", &programs.own);
    let mut swallow = Asked::start("load swallow", swallow.args(["load", "swallow", &PORT.to_string()]))?;
    let mut stream = topology.command("near", &programs.own);
    stream.args(["load", "stream", "--flows", &flows.flows.to_string(), "--step", &flows.step.to_string()]);
    stream.args(["--from", &flows.from.to_string(), "--to", &flows.to.to_string()]);
    let mut stream = Asked::start("load stream", &mut stream)?;
    let count = |swallow: &mut Asked| {
        let said = swallow.ask("")?;
        said.parse::<f64>().map_err(|_| Failure::Answer { program: "load swallow", said })
    };
    stream.say(&(GROWING * 2 + Duration::from_secs(seconds)).as_millis().to_string())?;
    stream.hear()?;
    sleep(GROWING);
    let before = count(&mut swallow)?;
    sleep(Duration::from_secs(seconds));
    Ok((count(&mut swallow)? - before) * 8.0 / 1e6 / seconds as f64)
}
