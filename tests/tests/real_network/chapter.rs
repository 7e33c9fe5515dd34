//! The book's chapter "A network on three hosts", run as it is written: each block on the host that it names, each file where
//! it belongs, and what is shown is what comes out.
//!
//! A host is a network namespace and a mount namespace whose `/etc`, `/root`, `/var/lib` and `/usr/local/bin` are its own.

use ntmobile_testbed::namespaces::Namespaces;
use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::PATIENCE;
use ntmobile_testbed::process::Process;
use ntmobile_testbed::program::program;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use tempfile::TempDir;

const PAGE: &str = include_str!("../../../book/src/real-hosts.md");

/// Directories that each host has of its own.
const OWN: [&str; 4] = ["/etc", "/root", "/var/lib", "/usr/local/bin"];

/// Takes files to another host, as scp would: over a directory that all share.
const SCP: &str = r#"#!/bin/sh
for last; do :; done
host=${last#root@}; path=${host#*:}; host=${host%%:*}
while [ $# -gt 1 ]; do cp "$1" "$SHARED/$host$path/" || exit 1; shift; done
"#;

/// A block of the page.
struct Block {
    language: String,
    tags: Vec<String>,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = PAGE.lines();
    while let Some(line) = lines.next() {
        let Some(information) = line.strip_prefix("```") else { continue };
        let mut tags = information.split(',').map(str::to_owned);
        let language = tags.next().unwrap_or_default();
        let text = lines.by_ref().take_while(|line| *line != "```").map(|line| format!("{line}\n")).collect();
        blocks.push(Block { language, tags: tags.collect(), text });
    }
    blocks
}

/// The hosts of the chapter.
struct Hosts {
    keepers: BTreeMap<&'static str, (Process, u32)>,
    running: Vec<Process>,
    /// Outlives the processes, which look into it.
    home: TempDir,
    world: Namespaces,
}

impl Hosts {
    fn new() -> Self {
        let mut world = Namespaces::new("ntmc-");
        world.host("one", "203.0.113.2");
        world.host("two", "203.0.113.3");
        world.host("three", "203.0.113.4");
        world.nat("home", "203.0.113.101", "192.168.1", Nat::Random);
        world.nat("office", "203.0.113.102", "192.168.2", Nat::Random);
        world.behind("home", "alice", "192.168.1", 10);
        world.behind("office", "bob", "192.168.2", 10);
        let home = tempfile::tempdir().expect("a directory for the test");
        let mut hosts = Self { keepers: BTreeMap::new(), running: Vec::new(), home, world };
        let addresses =
            [("one", "one"), ("two", "203.0.113.3"), ("three", "203.0.113.4"), ("alice", "alice"), ("bob", "bob")];
        for (name, reached_as) in addresses {
            hosts.keep(name, reached_as);
        }
        hosts
    }

    /// Makes a host's own directories, by a process that does nothing but keep them.
    fn keep(&mut self, name: &'static str, reached_as: &str) {
        let upper = self.home.path().join(reached_as);
        let mut script = String::from("set -e\n");
        for directory in OWN {
            let (own, work) =
                (format!("{}{directory}", upper.display()), format!("{}/work{directory}", upper.display()));
            let options = format!("lowerdir={directory},upperdir={own},workdir={work}");
            script += &format!("mkdir -p {own} {work}\nmount -t overlay overlay -o {options} {directory}\n");
        }
        for (file, source) in [("ntm", program("ntm")), ("host_echo", program("host_echo"))] {
            script += &format!("cp {} /usr/local/bin/{file}\n", source.display());
        }
        script += &format!(
            "cat > /usr/local/bin/scp <<'END'\n{SCP}END\nchmod +x /usr/local/bin/scp\necho kept\nexec sleep infinity\n"
        );
        let mut command = self.world.command(name, Path::new("unshare"));
        command.args(["-m", "sh", "-c", &script]);
        let mut keeper = Process::start(command, &self.home.path().join(format!("{name}.log"))).expect("a host");
        keeper.await_word("kept", PATIENCE);
        let id = keeper.id();
        self.keepers.insert(name, (keeper, id));
    }

    /// A shell on a host.
    fn shell(&self, host: &str, script: &str) -> Command {
        let (_, id) = self.keepers.get(host).unwrap_or_else(|| panic!("the chapter has no host {host}"));
        let mut command = Command::new("nsenter");
        command.args(["-t", &id.to_string(), "-m", "-n", "sh", "-ec", script]);
        command.env("SHARED", self.home.path()).env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir("/");
        command
    }

    /// Runs a block to its end, with a password on standard input for whoever asks for one; what it says.
    fn run(&self, host: &str, script: &str) -> String {
        self.feed(host, script, "correct horse\n")
    }

    fn feed(&self, host: &str, script: &str, input: &str) -> String {
        let mut command = self.shell(host, script);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        // Whoever reads nothing closes it early.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "on {host}:\n{script}\n{said}{errors}");
        said.into_owned()
    }

    /// Starts a block that does not end, and waits until it says this.
    fn start(&mut self, host: &str, script: &str, word: &str) {
        let words = self.home.path().join(format!("{host}-{}.log", self.running.len()));
        let mut process = Process::start(self.shell(host, script), &words).expect("a shell");
        process.await_word(word, PATIENCE);
        self.running.push(process);
    }
}

/// Whether what came out is what is shown: line by line, spaces as they come, and `…` stands for anything.
fn is_as_shown(said: &str, shown: &str) -> bool {
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut said = said.lines().map(plain);
    shown.lines().map(plain).all(|shown| {
        said.any(|said| {
            let mut rest = said.as_str();
            shown.split('…').map(str::trim).all(|part| match rest.find(part) {
                Some(place) => {
                    rest = &rest[place + part.len()..];
                    true
                }
                None => false,
            })
        })
    })
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_chapter_works_as_it_is_written() {
    let mut hosts = Hosts::new();
    let (mut said, mut ran) = (String::new(), 0);
    for Block { language, tags, text } in blocks() {
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        match (language.as_str(), tags.as_slice()) {
            ("sh", [host]) => said = hosts.run(host, &text),
            ("sh", [host, "serves"]) => hosts.start(host, &text, " ready "),
            ("sh", [host, "joins"]) => hosts.start(host, &text, " is fd"),
            ("toml", [host, path]) => drop(hosts.feed(host, &format!("cat > {path}"), &text)),
            ("text", []) => assert!(is_as_shown(&said, &text), "shown:\n{text}\nsaid:\n{said}"),
            // What the page says is not run.
            ("text", ["build" | "systemd"]) => continue,
            (language, tags) => panic!("nobody knows what to do with a block of {language} {tags:?}:\n{text}"),
        }
        ran += 1;
    }
    assert!(ran > 25, "the page has lost its blocks");
}

#[test]
fn what_is_shown_is_compared() {
    assert!(is_as_shown("  a  the authority  until 2046  holds\nready\n", "a the authority … holds\nready\n"));
    assert!(!is_as_shown("udp: hello\n", "tcp: hello\n"));
    assert!(!is_as_shown("one\ntwo\n", "two\none\n"));
}
