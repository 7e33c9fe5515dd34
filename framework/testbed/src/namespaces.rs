//! Small internets out of network namespaces on the real kernel: hosts on one open network, NATs by nftables with a network
//! behind each, and processes in them. Needs root.

use crate::nat::Nat;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// One internet; it is gone, with every process in it, when this is dropped.
pub struct Namespaces {
    prefix: String,
    names: Vec<String>,
}

impl Namespaces {
    /// The open network, with nobody on it yet. Nobody else must use the same prefix at the same time.
    ///
    /// # Panics
    /// When the kernel refuses: this needs root.
    pub fn new(prefix: &str) -> Self {
        let mut world = Self { prefix: prefix.to_owned(), names: Vec::new() };
        world.add("core");
        world.ip("core", "link add br0 type bridge stp_state 0 mcast_snooping 0");
        world.ip("core", "link set br0 up");
        world
    }

    /// A host on the open network, 203.0.113.0/24.
    pub fn host(&mut self, name: &str, address: &str) {
        self.add(name);
        self.plug(name, "eth0", address);
    }

    /// A host on the open network that has only IPv6, in 2001:db8::/64.
    pub fn host_v6(&mut self, name: &str, address: &str) {
        self.add(name);
        self.cable(name, "eth0");
        self.address(name, &format!("{address}/64"));
        self.ip(name, "link set eth0 up");
    }

    /// One more address of a host; usable at once.
    pub fn address(&self, name: &str, address: &str) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        self.ip(name, &format!("addr add {address} dev eth0{nodad}"));
    }

    /// A NAT on the open network at this address, with the network `lan` behind it, as in `192.168.1`.
    pub fn nat(&mut self, name: &str, address: &str, lan: &str, kind: Nat) {
        self.add(name);
        self.plug(name, "wan", address);
        self.ip(name, "link add lan type bridge stp_state 0 mcast_snooping 0");
        self.ip(name, &format!("addr add {lan}.1/24 dev lan"));
        self.ip(name, "link set lan up");
        self.must(name, "sysctl -qw net.ipv4.ip_forward=1");
        self.rules(name, &kind.rules());
    }

    /// Has a host's kernel follow these rules of nftables.
    ///
    /// # Panics
    /// When it refuses them.
    pub fn rules(&self, name: &str, rules: &str) {
        let mut nft =
            self.command(name, Path::new("nft")).args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("nft starts");
        nft.stdin.take().expect("a pipe").write_all(rules.as_bytes()).expect("written");
        assert!(nft.wait().expect("nft ends").success(), "nft refused the rules of {name}");
    }

    /// A host behind a NAT.
    pub fn behind(&mut self, nat: &str, name: &str, lan: &str, number: u8) {
        self.add(name);
        self.plug_behind(nat, name, lan, number);
    }

    /// Pulls a host's cable and plugs it in behind a NAT, maybe another.
    pub fn move_behind(&self, nat: &str, name: &str, lan: &str, number: u8) {
        self.ip(name, "link del eth0");
        self.plug_behind(nat, name, lan, number);
    }

    /// Pulls a host's cable and plugs it in on the open network, where it has this address of either family alone.
    pub fn move_into_the_open(&self, name: &str, address: &str) {
        self.ip(name, "link del eth0");
        self.cable(name, "eth0");
        self.address(name, &format!("{address}/{}", if address.contains(':') { 64 } else { 24 }));
        self.ip(name, "link set eth0 up");
    }

    /// Has a NAT carry no larger packets than this between its two sides. Who sends larger ones is told by ICMP.
    pub fn narrow(&self, nat: &str, lan: &str, mtu: u16) {
        let wan = self.must(nat, "ip -4 -o addr show dev wan");
        let wan = wan.split_whitespace().nth(3).and_then(|word| word.split('/').next()).expect("an address").to_owned();
        let limit = format!("mtu lock {mtu}");
        self.ip(nat, &format!("route replace 203.0.113.0/24 dev wan proto kernel scope link src {wan} {limit}"));
        self.ip(nat, &format!("route replace {lan}.0/24 dev lan proto kernel scope link src {lan}.1 {limit}"));
    }

    /// Pulls a host's cable, which is plugged into this network (`core` is the open one), and leaves it unplugged.
    pub fn unplug(&self, network: &str, name: &str) {
        self.ip(network, &format!("link set {} down", port(name)));
    }

    /// Plugs it in again.
    pub fn plug_in(&self, network: &str, name: &str) {
        self.ip(network, &format!("link set {} up", port(name)));
    }

    fn plug_behind(&self, nat: &str, name: &str, lan: &str, number: u8) {
        let (inner, outer) = (self.full(name), port(name));
        self.ip(nat, &format!("link add {outer} type veth peer name eth0 netns {inner}"));
        self.ip(nat, &format!("link set {outer} master lan up"));
        self.ip(name, &format!("addr add {lan}.{number}/24 dev eth0"));
        self.ip(name, "link set eth0 up");
        self.ip(name, &format!("route add default via {lan}.1"));
    }

    /// A command in a host's namespace.
    pub fn command(&self, host: &str, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.full(host)]).arg(program);
        command
    }

    /// Runs a command in a host's namespace to its end.
    pub fn run(&self, host: &str, line: &str) -> Output {
        let mut words = line.split(' ');
        let program = words.next().expect("a command");
        self.command(host, Path::new(program)).args(words).output().expect("the command starts")
    }

    /// The same, and it must succeed; what it says on standard output.
    pub fn must(&self, host: &str, line: &str) -> String {
        let output = self.run(host, line);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{host}: {line}: {said}{errors}");
        said.into_owned()
    }

    pub(crate) fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn add(&mut self, name: &str) {
        let full = self.full(name);
        // One that an earlier run has left behind.
        let _ = Command::new("ip").args(["netns", "del", &full]).stderr(Stdio::null()).status();
        let made = Command::new("ip").args(["netns", "add", &full]).status().expect("ip starts");
        assert!(made.success(), "no namespace {full}: this needs root");
        self.names.push(full);
        self.ip(name, "link set lo up");
    }

    fn plug(&self, name: &str, interface: &str, address: &str) {
        self.cable(name, interface);
        self.ip(name, &format!("addr add {address}/24 dev {interface}"));
        self.ip(name, &format!("link set {interface} up"));
    }

    fn cable(&self, name: &str, interface: &str) {
        let (core, outer) = (self.full("core"), port(name));
        self.ip(name, &format!("link add {interface} type veth peer name {outer} netns {core}"));
        self.ip("core", &format!("link set {outer} master br0 up"));
    }

    /// Runs `ip` for a host; it must succeed.
    ///
    /// # Panics
    /// When it does not.
    pub fn ip(&self, name: &str, arguments: &str) {
        let output = Command::new("ip").args(["-n", &self.full(name)]).args(arguments.split(' ')).output();
        let output = output.expect("ip starts");
        assert!(output.status.success(), "{name}: ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // A namespace lives on while a process is in it.
            if let Ok(output) = Command::new("ip").args(["netns", "pids", name]).output() {
                for pid in String::from_utf8_lossy(&output.stdout).split_whitespace() {
                    let _ = Command::new("kill").args(["-9", pid]).status();
                }
            }
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// The end of a host's cable that is not its own.
fn port(name: &str) -> String {
    format!("p{}", name.chars().take(12).collect::<String>())
}
