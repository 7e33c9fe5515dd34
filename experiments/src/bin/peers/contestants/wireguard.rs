//! WireGuard in user space: three programs of one protocol, one command line and one control socket.

use super::{Contestant, PATIENCE, Running, version};
use crate::failure::Failure;
use crate::process::{Process, found, output};
use crate::site::Site;
use crate::topology::{OVERLAY_FAR, Side, Topology};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const PORT: u16 = 5_555;

pub(super) struct WireGuard {
    name: &'static str,
    program: &'static str,
    options: &'static [&'static str],
    how_to_get: &'static str,
}

impl WireGuard {
    pub(super) const GO: Self = Self {
        name: "wireguard-go",
        program: "wireguard-go",
        options: &["-f"],
        how_to_get: "apt-get install wireguard-go wireguard-tools; a current one from Debian sid",
    };
    pub(super) const BORINGTUN: Self = Self {
        name: "boringtun",
        program: "boringtun-cli",
        options: &["-f", "--disable-drop-privileges"],
        how_to_get: "cargo install --locked boringtun-cli; apt-get install wireguard-tools",
    };
    pub(super) const GOTATUN: Self = Self {
        name: "gotatun",
        program: "gotatun",
        options: &["-f", "--disable-drop-privileges"],
        how_to_get: "cargo install --locked gotatun-cli; apt-get install wireguard-tools",
    };

    /// Makes a key pair: where the private one lies, and the public one.
    fn keys(topology: &Topology, side: Side) -> Result<(PathBuf, String), Failure> {
        let path = topology.file(&format!("wireguard-{}.key", side.name()));
        let file = |source| Failure::File { path: path.clone(), source };
        fs::write(&path, output(Command::new("wg").arg("genkey"))?).map_err(file)?;
        let input = fs::File::open(&path).map_err(file)?;
        let public = output(Command::new("wg").arg("pubkey").stdin(input))?;
        Ok((path, public.trim().to_owned()))
    }
}

impl Contestant for WireGuard {
    fn name(&self) -> &'static str {
        self.name
    }

    fn probe(&self) -> Result<String, &'static str> {
        found("wg").ok_or(self.how_to_get)?;
        version(self.program, "--version").ok_or(self.how_to_get)
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let topology = &site.topology;
        let mut processes = Vec::new();
        for side in Side::BOTH {
            let mut command = topology.command(side.name(), self.program);
            command
                .args(self.options)
                .arg(topology.device(side))
                .envs([("LOG_LEVEL", "error"), ("WG_LOG_LEVEL", "error")]);
            let words = topology.file(&format!("{}-{}", self.program, side.name()));
            let mut process = Process::start(&mut command, self.program, &words)?;
            let socket = Path::new("/var/run/wireguard").join(format!("{}.sock", topology.device(side)));
            process.until(PATIENCE, |_| socket.exists() && topology.has_device(side))?;
            processes.push(process);
        }
        let [near, far] = [Self::keys(topology, Side::Near)?, Self::keys(topology, Side::Far)?];
        for (side, (private, _), (_, peer)) in [(Side::Near, &near, &far), (Side::Far, &far, &near)] {
            let mut command = Command::new("wg");
            command.args(["set", &topology.device(side), "listen-port", &PORT.to_string(), "private-key"]).arg(private);
            command.args(["peer", peer, "allowed-ips", "0.0.0.0/0", "endpoint"]);
            command.arg(format!("{}:{PORT}", side.other().address()));
            output(&mut command)?;
        }
        topology.configure_devices()?;
        Ok(Running { processes, target: OVERLAY_FAR.to_owned() })
    }
}
