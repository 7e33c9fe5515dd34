//! Our packet path alone, with keys from the command line and no signalling.

use super::{Contestant, PATIENCE, Running};
use crate::failure::Failure;
use crate::process::Process;
use crate::programs::Programs;
use crate::site::Site;
use crate::topology::{OVERLAY_FAR, OVERLAY_MTU, Side, Topology};

const PORT: u16 = 4_502;

pub(crate) struct PacketPath {
    name: &'static str,
    suite: &'static str,
}

impl PacketPath {
    pub(super) const AES: Self = Self { name: "ours", suite: "aes" };
    pub(super) const CHACHA: Self = Self { name: "ours (ChaCha20)", suite: "chacha" };
}

impl Contestant for PacketPath {
    fn name(&self) -> &'static str {
        self.name
    }

    fn probe(&self) -> Result<String, &'static str> {
        Ok("packet path, static keys".to_owned())
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let Site { topology, programs, .. } = site;
        let processes = static_tunnels(topology, programs, 1, self.suite)?;
        topology.configure_devices()?;
        Ok(Running { processes, target: OVERLAY_FAR.to_owned() })
    }
}

/// Starts the packet path at both ends with so many tunnels installed; the devices are there and have no addresses yet.
pub(crate) fn static_tunnels(
    topology: &Topology,
    programs: &Programs,
    tunnels: u16,
    suite: &str,
) -> Result<Vec<Process>, Failure> {
    let mut processes = Vec::new();
    for side in Side::BOTH {
        let device = topology.device(side);
        let mut command = topology.command(side.name(), &programs.static_tunnel);
        command.args([&device, &OVERLAY_MTU.to_string(), &PORT.to_string()]);
        command.arg(format!("{}:{PORT}", side.other().address()));
        command.args([if side == Side::Near { "mn" } else { "cn" }, "secret", "1", &tunnels.to_string(), suite]);
        let words = topology.file(&format!("static-{}", side.name()));
        let mut process = Process::start(&mut command, "static_tunnel", &words)?;
        process.until(PATIENCE, |_| topology.has_device(side))?;
        processes.push(process);
    }
    Ok(processes)
}
