//! The machine's own small network: two hosts on one cable, and whatever servers stand behind the far one.
//!
//! Each host is a network namespace. They are named after this process, are gone when the value is dropped or the run is
//! interrupted, and what a killed run has left behind is swept away by the next.

use crate::failure::Failure;
use crate::process::output;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the names of all our namespaces begin with; the process that made them follows.
const PREFIX: &str = "ntmpeers";

/// The addresses of the two ends of the cable.
pub(crate) const NEAR: &str = "10.9.0.1";
pub(crate) const FAR: &str = "10.9.0.2";

/// The addresses that the tools under measurement give to their devices.
pub(crate) const OVERLAY_NEAR: &str = "100.64.0.1";
pub(crate) const OVERLAY_FAR: &str = "100.64.0.2";

/// The largest packet on the cable, and in the devices of the tools.
pub(crate) const WIRE_MTU: u16 = 1_500;
pub(crate) const OVERLAY_MTU: u16 = 1_420;

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where load comes from.
    Near,
    /// Where it goes to.
    Far,
}

impl Side {
    pub(crate) const BOTH: [Self; 2] = [Self::Near, Self::Far];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }

    pub(crate) fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }

    /// Its address on the cable.
    pub(crate) fn address(self) -> &'static str {
        match self {
            Self::Near => NEAR,
            Self::Far => FAR,
        }
    }

    /// Its address in the tools' devices.
    pub(crate) fn overlay(self) -> &'static str {
        match self {
            Self::Near => OVERLAY_NEAR,
            Self::Far => OVERLAY_FAR,
        }
    }
}

/// The network, and a directory for files.
#[derive(Debug)]
pub(crate) struct Topology {
    owner: u32,
    directory: PathBuf,
}

impl Topology {
    /// Builds it: needs root.
    pub(crate) fn build() -> Result<Self, Failure> {
        sweep();
        let owner = std::process::id();
        let directory = std::env::temp_dir().join(format!("{PREFIX}{owner}"));
        let file = |source| Failure::File { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(file)?;
        let this = Self { owner, directory };
        for side in Side::BOTH {
            this.add(side.name())?;
        }
        let (near, far) = (this.namespace("near"), this.namespace("far"));
        this.ip(&["link", "add", "wire0", "netns", &near, "type", "veth", "peer", "name", "wire0", "netns", &far])?;
        for side in Side::BOTH {
            let address = format!("{}/24", side.address());
            this.ip_at(side.name(), &["address", "add", &address, "dev", "wire0"])?;
            this.ip_at(side.name(), &["link", "set", "wire0", "mtu", &WIRE_MTU.to_string(), "up"])?;
        }
        this.ip_at("far", &["link", "add", "servers", "type", "bridge"])?;
        this.ip_at("far", &["address", "add", "10.7.0.1/24", "dev", "servers"])?;
        this.ip_at("far", &["link", "set", "servers", "up"])?;
        this.run("far", "sysctl", &["-qw", "net.ipv4.ip_forward=1"])?;
        this.ip_at("near", &["route", "add", "10.7.0.0/24", "via", FAR])?;
        Ok(this)
    }

    /// Adds a server behind the far end, as 10.7.0.`number`.
    pub(crate) fn add_server(&self, name: &str, number: u8) -> Result<(), Failure> {
        self.add(name)?;
        let (namespace, outer) = (self.namespace(name), format!("to-{name}"));
        self.ip_at("far", &["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        self.ip_at("far", &["link", "set", &outer, "master", "servers", "up"])?;
        self.ip_at(name, &["address", "add", &format!("10.7.0.{number}/24"), "dev", "eth0"])?;
        self.ip_at(name, &["link", "set", "eth0", "up"])?;
        self.ip_at(name, &["route", "add", "default", "via", "10.7.0.1"])
    }

    fn add(&self, name: &str) -> Result<(), Failure> {
        self.ip(&["netns", "add", &self.namespace(name)])?;
        self.ip_at(name, &["link", "set", "lo", "up"])
    }

    /// The namespace of a host.
    fn namespace(&self, host: &str) -> String {
        format!("{PREFIX}{}-{host}", self.owner)
    }

    /// A name for a device that no other run uses at the same time: some tools name sockets after it.
    pub(crate) fn device(&self, side: Side) -> String {
        format!("{}{}", side.name(), self.owner)
    }

    /// Whether this side's device is there.
    pub(crate) fn has_device(&self, side: Side) -> bool {
        self.ip_at(side.name(), &["link", "show", &self.device(side)]).is_ok()
    }

    /// Where files may be put; it is gone with the network.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A command on a host.
    pub(crate) fn command(&self, host: &str, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(host)]).arg(program.as_ref());
        command
    }

    /// Runs a command on a host to its end; what it says.
    pub(crate) fn run(&self, host: &str, program: &str, arguments: &[&str]) -> Result<String, Failure> {
        output(self.command(host, program).args(arguments))
    }

    /// Gives the tools' devices their addresses and lets them up.
    pub(crate) fn configure_devices(&self) -> Result<(), Failure> {
        for side in Side::BOTH {
            let (device, address) = (self.device(side), format!("{}/30", side.overlay()));
            self.ip_at(side.name(), &["address", "add", &address, "dev", &device])?;
            self.ip_at(side.name(), &["link", "set", &device, "mtu", &OVERLAY_MTU.to_string(), "up"])?;
        }
        Ok(())
    }

    /// What a host's programs ask for names; `None` for nothing of its own.
    pub(crate) fn set_resolver(&self, host: &str, server: &str) -> Result<(), Failure> {
        let directory = Path::new("/etc/netns").join(self.namespace(host));
        let file = |source| Failure::File { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(file)?;
        fs::write(directory.join("resolv.conf"), format!("nameserver {server}\n")).map_err(file)
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), Failure> {
        output(Command::new("ip").args(arguments)).map(|_| ())
    }

    /// Runs `ip` on a host.
    pub(crate) fn ip_at(&self, host: &str, arguments: &[&str]) -> Result<(), Failure> {
        output(Command::new("ip").args(["-n", &self.namespace(host)]).args(arguments)).map(|_| ())
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        remove(self.owner);
    }
}

/// Removes all that this process has made: for those that do not come to the end of a run.
pub(crate) fn remove_own() {
    remove(std::process::id());
}

/// Removes what processes that are gone have left.
fn sweep() {
    let list = output(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
    for line in list.lines() {
        let owner = line.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-')?.0.parse().ok());
        if let Some(owner) = owner.filter(|owner| !Path::new("/proc").join(u32::to_string(owner)).exists()) {
            remove(owner);
        }
    }
}

/// Removes the namespaces of one owner with every process in them, and its files. What is gone already is not missed.
fn remove(owner: u32) {
    let prefix = format!("{PREFIX}{owner}-");
    let list = output(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
    for namespace in
        list.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with(&prefix))
    {
        let inhabitants = output(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
        for process in inhabitants.split_whitespace() {
            let _ = output(Command::new("kill").args(["-9", process]));
        }
        let _ = output(Command::new("ip").args(["netns", "del", namespace]));
        let _ = fs::remove_dir_all(Path::new("/etc/netns").join(namespace));
    }
    for side in Side::BOTH {
        let _ = fs::remove_file(format!("/var/run/wireguard/{}{owner}.sock", side.name()));
    }
    let _ = fs::remove_dir_all(std::env::temp_dir().join(format!("{PREFIX}{owner}")));
}
