//! A whole NTMobile network of real `ntm` processes behind the far end: a root of DNS, an AS, a DC and an RS, and an account for
//! each end.

use crate::failure::Failure;
use crate::process::{Process, output};
use crate::programs::Programs;
use crate::topology::{OVERLAY_MTU, Side, Topology};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a server or a node may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Accounts live as long as the run.
const PASSWORD: &str = "a password for one run";

/// The servers: name of the kind, number of the address.
const SERVERS: [(&str, u8); 4] = [("names", 53), ("as", 2), ("dc", 3), ("rs", 4)];

/// The node at one end.
pub(crate) fn node_name(side: Side) -> &'static str {
    match side {
        Side::Near => "alice.u1.example",
        Side::Far => "bob.u1.example",
    }
}

/// The running servers, and the directory of their files.
#[derive(Debug)]
pub(crate) struct Network {
    directory: PathBuf,
    _servers: Vec<Process>,
}

impl Network {
    /// Starts the servers and opens the accounts.
    pub(crate) fn start(topology: &Topology, programs: &Programs) -> Result<Self, Failure> {
        let directory = topology.file("network");
        fs::create_dir_all(&directory).map_err(|source| Failure::File { path: directory.clone(), source })?;
        let mut network = Self { directory, _servers: Vec::new() };
        let ntm = |arguments: &[&str]| {
            let mut command = Command::new(&programs.ntm);
            output(command.args(arguments).current_dir(&network.directory).env("PASSWORD", PASSWORD))
        };
        ntm(&["ca", "init"])?;
        for (role, name) in [("as", "as.example"), ("dc", "dc.u1.example"), ("rs", "rs.u1.example")] {
            ntm(&["ca", "issue", role, name, "--out", "."])?;
        }
        network.write_files()?;
        for account in ["alice@u1.example", "bob@u1.example"] {
            ntm(&["account", "--config", "as.toml", "add", account, "--password-env", "PASSWORD"])?;
        }
        for (kind, number) in SERVERS {
            topology.add_server(kind, number)?;
            let mut command = topology.command(kind, &programs.ntm);
            command.args(["serve", kind, "--config", &format!("{kind}.toml")]).current_dir(&network.directory);
            let mut process = Process::start(&mut command, "ntm serve", &topology.file(&format!("{kind}.log")))?;
            process.await_word("ready", PATIENCE)?;
            network._servers.push(process);
        }
        Ok(network)
    }

    fn write_files(&self) -> Result<(), Failure> {
        let host = "[host]\nroot-servers = [\"10.7.0.53\"]\n";
        let server = |name: &str| format!("[server]\nname = \"{name}\"\nstate = \"state-{name}\"\n");
        let names = "[names]\nserver = \"root.example\"\n\
             [[domain]]\nname = \"u1.example\"\nserver = \"dc.u1.example\"\naddresses = [\"10.7.0.3\"]\n\
             [[entry]]\nname = \"as.example\"\naddresses = [\"10.7.0.2\"]\n";
        let accounts = "[accounts]\nhashing-memory = \"64 KiB\"\nhashing-passes = 1\n";
        let domain = "[domain]\nname = \"u1.example\"\n\
             [account-server]\nname = \"as.example\"\naddresses = [\"10.7.0.2\"]\n\
             [[relay]]\nname = \"rs.u1.example\"\naddresses = [\"10.7.0.4\"]\n";
        let relay = "[relay]\ncoordinators = [\"dc.u1.example\"]\n";
        self.write("names.toml", &format!("{names}{host}"))?;
        self.write("as.toml", &format!("{}{accounts}{host}", server("as.example")))?;
        self.write("dc.toml", &format!("{}{domain}{host}", server("dc.u1.example")))?;
        self.write("rs.toml", &format!("{}{relay}{host}", server("rs.u1.example")))?;
        for side in Side::BOTH {
            let (own, account) = (side.name(), node_name(side).replacen('.', "@", 1));
            let node = format!(
                "[node]\naccount = \"{account}\"\naccount-server = \"as.example\"\n\
                 [tun]\nmtu = {OVERLAY_MTU}\nrun-directory = \"run-{own}\"\n{host}"
            );
            self.write(&format!("{own}.toml"), &node)?;
        }
        Ok(())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        fs::write(&path, text).map_err(|source| Failure::File { path, source })
    }

    /// A program at one end, in the directory of the files; the end's own is near.toml or far.toml.
    pub(crate) fn command(&self, topology: &Topology, side: Side, program: &Path) -> Command {
        let mut command = topology.command(side.name(), program);
        command.current_dir(&self.directory).env("NTM_PASSWORD", PASSWORD);
        command
    }
}
