//! The whole of ours: `ntm up` at both ends, joined to a network of real servers, the tunnel negotiated between them.

use super::{Contestant, PATIENCE, Running};
use crate::failure::Failure;
use crate::network::node_name;
use crate::process::Process;
use crate::site::Site;
use crate::topology::{Side, Topology};
use std::time::{Duration, Instant};

/// How long the first name may take to be found.
const LOOKUP: Duration = Duration::from_secs(10);

pub(super) struct NtmUp;

impl Contestant for NtmUp {
    fn name(&self) -> &'static str {
        "ours (ntm up)"
    }

    fn probe(&self) -> Result<String, &'static str> {
        Ok("with AS, DC and RS".to_owned())
    }

    fn start(&self, site: &Site) -> Result<Running, Failure> {
        let Site { topology, programs, .. } = site;
        let network = site.network()?;
        let mut processes = Vec::new();
        for side in Side::BOTH {
            topology.set_resolver(side.name(), "10.7.0.53")?;
            let mut command = network.command(topology, side, &programs.ntm);
            command.args(["up", "--config", &format!("{}.toml", side.name())]);
            let mut process = Process::start(&mut command, "ntm up", &topology.file(&format!("up-{}", side.name())))?;
            process.await_word(" up ", PATIENCE)?;
            processes.push(process);
        }
        Ok(Running { processes, target: find(topology)? })
    }
}

/// The far node's virtual address, as any program of the near host finds it.
fn find(topology: &Topology) -> Result<String, Failure> {
    let deadline = Instant::now() + LOOKUP;
    loop {
        match topology.run("near", "getent", &["ahostsv4", node_name(Side::Far)]) {
            Ok(said) => {
                let address = said.split_whitespace().next();
                return address.map(str::to_owned).ok_or(Failure::Answer { program: "getent", said });
            }
            Err(failure) if Instant::now() > deadline => return Err(failure),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
