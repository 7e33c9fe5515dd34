//! Nebula: certificates, and a process of its own at each end.

use super::{Contestant, PATIENCE, Running, version};
use crate::failure::Failure;
use crate::process::{Process, output};
use crate::site::Site;
use crate::topology::{OVERLAY_FAR, OVERLAY_MTU, Side};
use std::fs;
use std::path::Path;
use std::process::Command;

const PORT: u16 = 4_242;

pub(super) struct Nebula;

impl Contestant for Nebula {
    fn name(&self) -> &'static str {
        "nebula"
    }

    fn probe(&self) -> Result<String, &'static str> {
        let how_to_get = "apt-get install nebula";
        version("nebula-cert", "-version").and(version("nebula", "-version")).ok_or(how_to_get)
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let topology = &site.topology;
        let directory = topology.file("nebula");
        if !directory.exists() {
            issue(&directory)?;
        }
        let mut processes = Vec::new();
        for side in Side::BOTH {
            let path = directory.join(format!("{}.yml", side.name()));
            let text = configuration(&directory, side, &topology.device(side));
            fs::write(&path, text).map_err(|source| Failure::File { path: path.clone(), source })?;
            let mut command = topology.command(side.name(), "nebula");
            command.arg("-config").arg(&path);
            let words = topology.file(&format!("nebula-{}", side.name()));
            let mut process = Process::start(&mut command, "nebula", &words)?;
            process.until(PATIENCE, |_| topology.has_device(side))?;
            processes.push(process);
        }
        // It gives its device the address of its certificate.
        Ok(Running { processes, target: OVERLAY_FAR.to_owned() })
    }
}

/// A certificate authority, and what it says about the two ends.
fn issue(directory: &Path) -> Result<(), Failure> {
    fs::create_dir_all(directory).map_err(|source| Failure::File { path: directory.to_owned(), source })?;
    let certify = |arguments: &[&str]| output(Command::new("nebula-cert").current_dir(directory).args(arguments));
    certify(&["ca", "-name", "peers"])?;
    for side in Side::BOTH {
        certify(&["sign", "-name", side.name(), "-ip", &format!("{}/30", side.overlay())])?;
    }
    Ok(())
}

fn configuration(directory: &Path, side: Side, device: &str) -> String {
    let (directory, own, other) = (directory.display(), side.name(), side.other());
    format!(
        "pki:\n  ca: {directory}/ca.crt\n  cert: {directory}/{own}.crt\n  key: {directory}/{own}.key\n\
         static_host_map:\n  \"{}\": [\"{}:{PORT}\"]\n\
         lighthouse:\n  am_lighthouse: false\n\
         listen:\n  host: 0.0.0.0\n  port: {PORT}\n\
         tun:\n  dev: {device}\n  mtu: {OVERLAY_MTU}\n\
         logging:\n  level: error\n\
         firewall:\n  outbound:\n    - {{port: any, proto: any, host: any}}\n  inbound:\n    - {{port: any, proto: any, host: any}}\n",
        other.overlay(),
        other.address(),
    )
}
