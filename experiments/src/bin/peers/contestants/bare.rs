//! The bare forwarder: super-packets between TUN and UDP, not looked at and not protected. The ceiling of what user space can do.

use super::{Contestant, PATIENCE, Running};
use crate::failure::Failure;
use crate::process::Process;
use crate::site::Site;
use crate::topology::{OVERLAY_FAR, OVERLAY_MTU, Side};

const PORT: u16 = 4_501;

pub(super) struct Bare;

impl Contestant for Bare {
    fn name(&self) -> &'static str {
        "bare forwarder"
    }

    fn probe(&self) -> Result<String, &'static str> {
        Ok("framework/net/examples".to_owned())
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let Site { topology, programs, .. } = site;
        let mut processes = Vec::new();
        for side in Side::BOTH {
            let device = topology.device(side);
            let mut command = topology.command(side.name(), &programs.bare_forwarder);
            command.args([&device, &OVERLAY_MTU.to_string(), &PORT.to_string()]);
            command.arg(format!("{}:{PORT}", side.other().address()));
            let words = topology.file(&format!("bare-{}", side.name()));
            let mut process = Process::start(&mut command, "bare_forwarder", &words)?;
            process.until(PATIENCE, |_| topology.has_device(side))?;
            processes.push(process);
        }
        topology.configure_devices()?;
        Ok(Running { processes, target: OVERLAY_FAR.to_owned() })
    }
}
