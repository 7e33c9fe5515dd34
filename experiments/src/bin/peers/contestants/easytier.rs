//! EasyTier: a shared secret, one peer named by its address.

use super::{Contestant, PATIENCE, Running, version};
use crate::failure::Failure;
use crate::process::Process;
use crate::site::Site;
use crate::topology::{FAR, OVERLAY_FAR, OVERLAY_MTU, Side};

const PORT: u16 = 11_010;

pub(super) struct EasyTier;

impl Contestant for EasyTier {
    fn name(&self) -> &'static str {
        "easytier"
    }

    fn probe(&self) -> Result<String, &'static str> {
        version("easytier-core", "--version").ok_or("cargo install --locked easytier")
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let topology = &site.topology;
        let mut processes = Vec::new();
        for side in Side::BOTH {
            let mut command = topology.command(side.name(), "easytier-core");
            command.args(["--network-name", "peers", "--network-secret", "peers", "--ipv4", side.overlay()]);
            command.args(["--listeners", &format!("udp://0.0.0.0:{PORT}"), "--dev-name", &topology.device(side)]);
            command.args(["--mtu", &OVERLAY_MTU.to_string(), "--console-log-level", "error"]);
            if side == Side::Near {
                command.args(["--peers", &format!("udp://{FAR}:{PORT}")]);
            }
            let words = topology.file(&format!("easytier-{}", side.name()));
            let mut process = Process::start(&mut command, "easytier-core", &words)?;
            process.until(PATIENCE, |_| topology.has_device(side))?;
            processes.push(process);
        }
        // It gives its device the address itself.
        Ok(Running { processes, target: OVERLAY_FAR.to_owned() })
    }
}
