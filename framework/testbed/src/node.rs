//! Nodes with a virtual interface (`ntm up`) on hosts of a network: started, asked, and what a host looks like without one.

use crate::network::{Network, PASSWORD, PATIENCE, addresses};
use crate::process::Process;
use crate::program::program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a host's resolver is told before the node comes.
pub const RESOLVER: &str = "nameserver 203.0.113.53\noptions timeout:2\n";

/// The resolver configurations of hosts: in namespaces they are where `ip netns exec` looks for them.
#[derive(Debug)]
pub(crate) struct Resolver(PathBuf);

impl Resolver {
    fn of(host: &str) -> Self {
        let directory = Path::new("/etc/netns").join(host);
        std::fs::create_dir_all(&directory).expect("this needs root");
        std::fs::write(directory.join("resolv.conf"), RESOLVER).expect("written");
        Self(directory)
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // What cannot be removed hurts nobody: the next run overwrites it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Network {
    /// Gives hosts resolver configurations of their own.
    ///
    /// # Panics
    /// Without root's rights.
    pub fn resolvers(&mut self, hosts: &[&str]) {
        let made: Vec<Resolver> = hosts.iter().map(|host| Resolver::of(&self.world.full(host))).collect();
        self.resolvers.extend(made);
    }

    /// Writes a host's resolver configuration, as a DHCP client does when its network names other servers.
    ///
    /// # Panics
    /// When the host has none of its own.
    pub fn write_resolver(&self, host: &str, text: &str) {
        std::fs::write(self.resolver(host), text).expect("the host has a resolver configuration of its own");
    }

    /// What a host's resolver configuration says.
    ///
    /// # Panics
    /// When the host has none of its own.
    pub fn read_resolver(&self, host: &str) -> String {
        std::fs::read_to_string(self.resolver(host)).expect("the host has a resolver configuration of its own")
    }

    /// Waits until programs of a host ask its node for names, whatever its network has told it.
    ///
    /// # Panics
    /// When they do not in time.
    pub fn await_names(&self, host: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.read_resolver(host).contains("nameserver 100.") {
            assert!(Instant::now() < deadline, "{host} asks {}", self.read_resolver(host));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The file of a host's resolver configuration.
    pub fn resolver(&self, host: &str) -> PathBuf {
        Path::new("/etc/netns").join(self.world.full(host)).join("resolv.conf")
    }

    /// Writes a node's file; `more` are its further sections.
    pub fn write_node(&self, file: &str, account: &str, more: &str) {
        let text = format!(
            "[node]\naccount = \"{account}\"\naccount-server = \"as.example\"\n[tun]\nrun-directory = \"run\"\n{more}\n\
             [host]\nroot-servers = {}\n",
            addresses("root")
        );
        self.write(file, &text);
    }

    /// The command that makes a node of a host, by this file.
    pub fn up_command(&self, host: &str, file: &str) -> Command {
        let mut command = self.world.command(host, &program("ntm"));
        command.args(["up", "--config", file]).current_dir(self.home.path()).env("NTM_PASSWORD", PASSWORD);
        command
    }

    /// Runs `ntm up` on a host for this account, and waits until it is up.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up(&self, host: &str, account: &str) -> Process {
        self.up_with(host, account, "")
    }

    /// The same, with further sections in its file.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn up_with(&self, host: &str, account: &str, more: &str) -> Process {
        let file = format!("{host}-up.toml");
        self.write_node(&file, account, more);
        let words = self.home.path().join(format!("{host}-up.log"));
        let mut process = Process::start(self.up_command(host, &file), &words).expect("ntm starts");
        process.await_word(" up ", PATIENCE);
        process
    }

    /// Asks the node on a host; exit code and what it says.
    ///
    /// # Panics
    /// When there is no `ntm`.
    pub fn ask(&self, host: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.world.command(host, &program("ntm"));
        let command = command.args(arguments).args(["--run-directory", "run"]).current_dir(self.home.path());
        let output = command.output().expect("ntm starts");
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    }

    /// What a host looks like where a node changes it.
    ///
    /// # Panics
    /// When the host cannot be looked at.
    pub fn looks(&self, host: &str) -> String {
        ["ip -o link show type tun", "ip -4 route", "ip -6 route", "ip rule", "cat /etc/resolv.conf"]
            .map(|line| self.world.must(host, line))
            .join("--\n")
    }

    /// Waits until a host looks like this.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn await_looks(&self, host: &str, before: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = self.looks(host);
            if now == before {
                return;
            }
            assert!(Instant::now() < deadline, "{host} was\n{before}\nand is\n{now}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
