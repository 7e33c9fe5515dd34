//! Nodes without privilege (`ntm vpn-service`) on hosts of a network, each with a host program around it (`vpn_host`).

use crate::network::{Network, PASSWORD, PATIENCE, addresses};
use crate::process::Process;
use crate::program::program;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

/// The user and group that nobody else is.
pub const NOBODY: u32 = 65_534;

/// What the sockets of a node bear that `vpn_host` has marked.
pub const MARK: &str = "0x4e54";

impl Network {
    /// Writes the file of a node without privilege, where its user can read it; its control socket is in a directory of its own.
    ///
    /// # Panics
    /// Without root's rights.
    pub fn write_vpn_node(&self, host: &str, account: &str) -> String {
        let (file, run) = (format!("{host}-vpn.toml"), format!("run-{host}"));
        let text = format!(
            "[node]\naccount = \"{account}\"\naccount-server = \"as.example\"\n[tun]\nrun-directory = \"{run}\"\n\
             [host]\nroot-servers = {}\n",
            addresses("root")
        );
        self.write(&file, &text);
        let home = self.home.path();
        std::fs::set_permissions(home, PermissionsExt::from_mode(0o755)).expect("it is ours");
        std::fs::create_dir_all(home.join(&run)).expect("made");
        chown(home.join(&run), Some(NOBODY), Some(NOBODY)).expect("this needs root");
        file
    }

    /// The command that runs a node as nobody, without any privilege and without a way to get one; `socket` is as for `ntm`.
    pub fn vpn_command(&self, host: &str, file: &str, socket: &str) -> Command {
        let mut command = self.world.command(host, Path::new("setpriv"));
        command.args(as_nobody(file, socket)).current_dir(self.home.path()).env("NTM_PASSWORD", PASSWORD);
        command
    }

    /// Runs a node without privilege on a host for this account, and waits until it is up. The process is its host program.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn vpn(&self, host: &str, account: &str) -> Process {
        let file = self.write_vpn_node(host, account);
        let mut command = self.world.command(host, &program("vpn_host"));
        command.args(["--", "setpriv"]).args(as_nobody(&file, "-"));
        command.current_dir(self.home.path()).env("NTM_PASSWORD", PASSWORD);
        let words = self.home.path().join(format!("{host}-vpn.log"));
        let mut process = Process::start(command, &words).expect("vpn_host starts");
        process.await_word("state: Up", PATIENCE);
        process
    }
}

fn as_nobody(file: &str, socket: &str) -> Vec<String> {
    let user = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
    let privilege = ["--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned);
    let node =
        [&program("ntm").display().to_string(), "vpn-service", "--socket", socket, "--config", file].map(str::to_owned);
    [user.as_slice(), &privilege, &node].concat()
}
