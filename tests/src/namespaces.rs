//! Small internets out of network namespaces on the real kernel: hosts on one open network, NATs by nftables with a network
//! behind each, and processes in them. Needs root.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether something has come.
const PAUSE: Duration = Duration::from_millis(50);

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

    /// A NAT on the open network at this address, with the network `lan` behind it, as in `192.168.1`. Endpoint-dependent in
    /// mapping and filtering, as nftables' masquerading is with `random`.
    pub fn nat(&mut self, name: &str, address: &str, lan: &str) {
        self.add(name);
        self.plug(name, "wan", address);
        self.ip(name, "link add lan type bridge stp_state 0 mcast_snooping 0");
        self.ip(name, &format!("addr add {lan}.1/24 dev lan"));
        self.ip(name, "link set lan up");
        self.must(name, "sysctl -qw net.ipv4.ip_forward=1");
        let rules = "table ip nat {
                chain post { type nat hook postrouting priority srcnat
                    oifname \"wan\" masquerade random
                }
            }
            table inet filter {
                chain input { type filter hook input priority filter
                    iifname \"wan\" ct state established,related accept
                    iifname \"wan\" drop
                }
                chain forward { type filter hook forward priority filter; policy drop;
                    iifname \"lan\" accept
                    ct state established,related accept
                }
            }
            ";
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

    fn plug_behind(&self, nat: &str, name: &str, lan: &str, number: u8) {
        let (inner, outer) = (self.full(name), format!("p{}", name.chars().take(12).collect::<String>()));
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

    fn full(&self, name: &str) -> String {
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
        let (core, outer) = (self.full("core"), format!("p{}", name.chars().take(12).collect::<String>()));
        self.ip(name, &format!("link add {interface} type veth peer name {outer} netns {core}"));
        self.ip("core", &format!("link set {outer} master br0 up"));
    }

    fn ip(&self, name: &str, arguments: &str) {
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

/// A process whose words are kept in a file; it is killed when this is dropped.
pub struct Process {
    child: Child,
    words: PathBuf,
    seen: usize,
}

impl Process {
    /// Starts a command; `words` is the file that takes what it says on either output.
    pub fn start(mut command: Command, words: &Path) -> io::Result<Self> {
        let file = File::create(words)?;
        let child = command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, words: words.to_owned(), seen: 0 })
    }

    /// All that it has said.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Waits until it says this, later than what was waited for before.
    ///
    /// # Panics
    /// When it ends before, or does not say it in time.
    pub fn await_word(&mut self, word: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let said = self.words();
            if let Some(place) = said.get(self.seen..).and_then(|rest| rest.find(word)) {
                self.seen += place + word.len();
                return;
            }
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{} ended with {ended:?} and never said {word:?}:\n{said}", self.words.display());
            assert!(Instant::now() < deadline, "{} did not say {word:?}:\n{said}", self.words.display());
            sleep(PAUSE);
        }
    }

    /// Says a line to it.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its input is a pipe");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it listens");
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, as `kill` names it.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill starts").success(), "the process is gone");
    }

    /// Waits for its end; its exit code.
    pub fn end(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.words.display(), self.words());
            sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
