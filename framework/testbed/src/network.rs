//! A closed network: a root name server, an AS, two DCs, an RS and an NS in the open, two NATs, and nodes wherever they are wanted.

use crate::namespaces::Namespaces;
use crate::nat::Nat;
use crate::node::Resolver;
use crate::process::Process;
use crate::program::program;
use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take: an overloaded machine must not fail a test that asks what happens, not when.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The servers, and where they are: an address of each family.
pub const ADDRESSES: [(&str, &str, &str); 6] = [
    ("root", "203.0.113.53", "2001:db8::53"),
    ("as", "203.0.113.2", "2001:db8::2"),
    ("dc1", "203.0.113.3", "2001:db8::3"),
    ("dc2", "203.0.113.6", "2001:db8::6"),
    ("rs1", "203.0.113.4", "2001:db8::4"),
    ("ns1", "203.0.113.5", "2001:db8::5"),
];

/// The addresses of a server as a file writes them.
pub(crate) fn addresses(server: &str) -> String {
    let (_, v4, v6) = ADDRESSES.into_iter().find(|(name, ..)| *name == server).expect("a server");
    format!("[\"{v4}\", \"{v6}\"]")
}

/// What is said on standard input when a password is asked for.
pub const PASSWORD: &str = "correct horse";

/// The processes of a network, and their files.
pub struct Network {
    processes: BTreeMap<String, Process>,
    /// Hosts and cables.
    pub world: Namespaces,
    pub(crate) resolvers: Vec<Resolver>,
    /// The directory of everybody's files.
    pub home: TempDir,
}

impl Network {
    /// A network with every server running.
    pub fn start(prefix: &str) -> Self {
        let mut network = Self::without_servers(prefix);
        for (server, ..) in ADDRESSES {
            network.serve(server);
        }
        network
    }

    /// Hosts, cables, certificates and files; nothing runs yet.
    pub fn without_servers(prefix: &str) -> Self {
        let mut world = Namespaces::new(prefix);
        for (server, v4, v6) in ADDRESSES {
            world.host(server, v4);
            world.address(server, &format!("{v6}/64"));
        }
        world.host("carol", "203.0.113.110");
        world.host_v6("dave", "2001:db8::110");
        world.nat("home", "203.0.113.101", "192.168.1", Nat::Random);
        world.nat("office", "203.0.113.102", "192.168.2", Nat::Random);
        world.behind("home", "alice", "192.168.1", 10);
        world.behind("office", "bob", "192.168.2", 10);
        let home = tempfile::tempdir().expect("a directory for the test");
        let network = Self { processes: BTreeMap::new(), world, resolvers: Vec::new(), home };
        network.ntm(&["ca", "init"]);
        for (role, name) in [
            ("as", "as.example"),
            ("dc", "dc.u1.example"),
            ("dc", "dc.u2.example"),
            ("rs", "rs1.u1.example"),
            ("ns", "ns1.u1.example"),
        ] {
            network.ntm(&["ca", "issue", role, name, "--out", "."]);
        }
        network.write_files();
        network
    }

    fn write_files(&self) {
        let host = format!("[host]\nroot-servers = {}\nhealth = \"127.0.0.1:9464\"\n", addresses("root"));
        let account_server = addresses("as");
        let server = |name: &str, key: &str| format!("[server]\nname = \"{name}\"\nstate = \"state-{key}\"\n");
        let coordinator = |domain: &str, key: &str| {
            let servers = format!(
                "[[relay]]\nname = \"rs1.u1.example\"\naddresses = {}\n\
                 [[notification-server]]\nname = \"ns1.u1.example\"\naddresses = {}\n",
                addresses("rs1"),
                addresses("ns1"),
            );
            format!(
                "{}[domain]\nname = \"{domain}\"\n[account-server]\nname = \"as.example\"\naddresses = {account_server}\n{}{host}",
                server(&format!("dc.{domain}"), key),
                if key == "dc1" { servers.as_str() } else { "" },
            )
        };
        let domain = |name: &str, key: &str| {
            format!("[[domain]]\nname = \"{name}\"\nserver = \"dc.{name}\"\naddresses = {}\n", addresses(key))
        };
        // More than a datagram without EDNS holds.
        let many: Vec<String> = (1..=60).map(|number| format!("\"198.51.100.{number}\"")).collect();
        let many = format!("[[entry]]\nname = \"many.example\"\naddresses = [{}]\n", many.join(", "));
        let root = format!(
            "[names]\nserver = \"root.example\"\n{}{}[[entry]]\nname = \"as.example\"\naddresses = {account_server}\n{many}{host}",
            domain("u1.example", "dc1"),
            domain("u2.example", "dc2"),
        );
        let relay = format!("{}[relay]\ncoordinators = [\"dc.u1.example\"]\n{host}", server("rs1.u1.example", "rs1"));
        let notification =
            format!("{}[notification]\ncoordinators = [\"dc.u1.example\"]\n{host}", server("ns1.u1.example", "ns1"));
        for (name, text) in [
            ("root", root),
            (
                "as",
                format!(
                    "{}[accounts]\nhashing-memory = \"64 KiB\"\nhashing-passes = 1\n{host}",
                    server("as.example", "as")
                ),
            ),
            ("dc1", coordinator("u1.example", "dc1")),
            ("dc2", coordinator("u2.example", "dc2")),
            ("rs1", relay),
            ("ns1", notification),
        ] {
            self.write(&format!("{name}.toml"), &text);
        }
    }

    /// Writes a file of the network.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.home.path().join(name), text).expect("written");
    }

    /// Starts a server and waits until it is ready.
    pub fn serve(&mut self, server: &str) {
        let mut process = self.process(server, server, &[]);
        process.await_word("ready", PATIENCE);
        let ready = self.world.must(server, "curl -s http://127.0.0.1:9464/ready");
        assert_eq!(ready.trim(), "ready", "{server}");
        self.processes.insert(server.to_owned(), process);
    }

    /// Starts a server's process with a file and variables.
    pub fn process(&self, server: &str, file: &str, variables: &[(&str, &str)]) -> Process {
        let kind = match server {
            "root" => "names",
            other => other.trim_end_matches(char::is_numeric),
        };
        let mut command = self.serve_command(server, kind, file);
        command.envs(variables.iter().copied());
        let words = self.home.path().join(format!("{server}-{file}-{}.log", variables.len()));
        Process::start(command, &words).expect("ntm starts")
    }

    /// The command that serves as this kind of server on a host, by a file.
    pub fn serve_command(&self, host: &str, kind: &str, file: &str) -> Command {
        let mut command = self.world.command(host, &program("ntm"));
        command.args(["serve", kind, "--config", &format!("{file}.toml")]).current_dir(self.home.path());
        command
    }

    /// Kills a server without a word.
    pub fn kill(&mut self, server: &str) {
        let mut process = self.processes.remove(server).expect("it runs");
        process.signal("KILL");
        assert_eq!(process.end(PATIENCE), None, "{server} was killed");
    }

    /// Asks a server to stop; its exit code.
    pub fn stop(&mut self, server: &str) -> Option<i32> {
        let mut process = self.processes.remove(server).expect("it runs");
        process.signal("TERM");
        process.end(PATIENCE)
    }

    /// Runs `ntm` where the files are; it must succeed.
    pub fn ntm(&self, arguments: &[&str]) -> String {
        let output = self.try_ntm(arguments);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "ntm {arguments:?}: {said}{errors}");
        said.into_owned()
    }

    /// Runs `ntm` where the files are.
    pub fn try_ntm(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(program("ntm"));
        command.args(arguments).current_dir(self.home.path()).env("BOB", PASSWORD).output().expect("ntm starts")
    }

    /// Runs `ntm account` on the AS's file.
    pub fn account(&self, arguments: &[&str]) -> String {
        self.ntm(&[&["account", "--config", "as.toml"], arguments].concat())
    }

    /// Opens an account with the password of this test.
    pub fn add_account(&self, account: &str) {
        self.account(&["add", account, "--password-env", "BOB"]);
    }

    /// Starts the echo on a host, with a node's file for this account: as the service, or talking to `peer`.
    pub fn echo(&self, host: &str, account: &str, peer: Option<&str>) -> Process {
        let file = format!("{host}.toml");
        let text = format!(
            "[node]\naccount = \"{account}\"\naccount-server = \"as.example\"\n[host]\nroot-servers = {}\n",
            addresses("root")
        );
        self.write(&file, &text);
        let mut command = self.world.command(host, &program("host_echo"));
        command.arg(&file).args(peer).current_dir(self.home.path()).env("NTM_PASSWORD", PASSWORD);
        let words = format!("{host}-{}.log", peer.unwrap_or("serves"));
        Process::start(command, &self.home.path().join(words)).expect("the echo starts")
    }
}
