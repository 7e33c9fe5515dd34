//! What a node changes on its host is undone whatever becomes of the node: it ends, it is killed, its guardian is killed too.

use crate::namespace::Namespace;
use ntmobile_net::footprint::{
    Footprint, FootprintError, FootprintOptions, GuardianProgram, Remnant, guard, undo_stale,
};
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BEFORE: &str = "search example.org\nnameserver 192.0.2.53\n";
/// Tells a process of this test that it is a node, and where its journal lies.
const NODE: &str = "NTM_TEST_NODE";
/// So many peers come and go in a test.
const CROWD: u16 = 5_000;
/// Within this time everything is undone.
const SOON: Duration = Duration::from_secs(2);

/// A host with an interface that outlives its node, so that everything else has to be undone.
struct Host {
    namespace: Namespace,
    journals: TempDir,
}

impl Host {
    fn new() -> Self {
        let namespace = Namespace::new("host");
        fs::create_dir_all(namespace.etc()).unwrap();
        fs::write(namespace.etc().join("resolv.conf"), BEFORE).unwrap();
        namespace.ip("tuntap add dev ntm0 mode tun");
        // It gets its queue with its first start, and keeps it.
        namespace.ip("link set ntm0 up");
        namespace.ip("link set ntm0 down");
        Self { namespace, journals: TempDir::new().unwrap() }
    }

    fn state(&self) -> String {
        let links = ["link show dev ntm0", "addr show", "route show table all", "-6 route show table all"];
        let parts: Vec<String> = links.iter().map(|what| self.namespace.ip(&format!("-o {what}"))).collect();
        parts.concat() + &self.resolv_conf()
    }

    fn resolv_conf(&self) -> String {
        fs::read_to_string(self.namespace.etc().join("resolv.conf")).unwrap()
    }

    fn journals(&self) -> usize {
        fs::read_dir(self.journals.path()).unwrap().count()
    }

    fn start(&self) -> Node {
        self.start_as(&["env"])
    }

    /// Starts a node under a command that changes what it may do.
    fn start_as(&self, wrapper: &[&str]) -> Node {
        let mut process = Command::new("ip")
            .args(["netns", "exec", &self.namespace.name])
            .args(wrapper)
            .arg(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "footprint::the_node"])
            .env(NODE, self.journals.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Node { process, output }
    }

    /// Waits until the host is as it was.
    fn becomes(&self, before: &str) {
        let latest = Instant::now() + SOON;
        while Instant::now() < latest && (self.state() != before || self.journals() > 0) {
            thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(self.state(), before);
        assert_eq!(self.journals(), 0, "nothing is left to be undone");
    }
}

/// A process that is a node.
struct Node {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Node {
    fn says(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the node has ended");
            if let Some(said) = line.strip_prefix("node: ") {
                return said.trim().to_owned();
            }
        }
    }

    fn asked(&mut self, word: &str) -> String {
        writeln!(self.process.stdin.as_mut().unwrap(), "{word}").unwrap();
        self.says()
    }

    /// The guardian's process.
    fn guardian(&self) -> libc::pid_t {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let of_main = fs::read_to_string(children).unwrap();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        let of_all = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
        let all = of_all.fold(of_main, |all, some| all + " " + &some);
        all.split_whitespace().next().expect("there is a guardian").parse().unwrap()
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _it_may_have_ended = self.process.kill();
        let _it_may_have_ended = self.process.wait();
    }
}

fn signal(process: libc::pid_t, signal: libc::c_int) {
    // SAFETY: kill reads nothing of ours.
    assert_eq!(unsafe { libc::kill(process, signal) }, 0);
}

fn options(journals: &Path) -> FootprintOptions {
    let arguments = ["--ignored", "--exact", "--nocapture", "footprint::the_guardian"];
    FootprintOptions {
        directory: journals.to_owned(),
        guardian: Some(GuardianProgram {
            program: env::current_exe().unwrap(),
            arguments: arguments.map(Into::into).to_vec(),
        }),
        ..FootprintOptions::default()
    }
}

/// The life of a node: sets itself up, answers questions, ends when nobody can ask any more.
fn live(journals: &Path) -> Result<(), FootprintError> {
    let say = |what: String| io::stdout().write_all(format!("node: {what}\n").as_bytes()).unwrap();
    let mut footprint = Footprint::begin("ntm0", options(journals))?;
    footprint.set_up(1_280)?;
    footprint.add_address("100.64.0.9".parse().unwrap(), 32)?;
    footprint.add_address("fd00:1:2:3::9".parse().unwrap(), 64)?;
    for _ in 0..2 {
        footprint.add_route("100.64.0.0".parse().unwrap(), 10)?;
        footprint.add_route("fd00:1::".parse().unwrap(), 32)?;
    }
    let servers = footprint.hook_resolver("100.64.0.9".parse().unwrap())?;
    say(format!("{servers:?}"));
    for asked in io::stdin().lines() {
        if asked.is_ok_and(|word| word == "crowd") {
            crowd(&mut footprint)?;
        }
        say(format!("{:?}", footprint.name_servers()?));
    }
    footprint.undo()
}

/// Many peers come and go; the last ten stay, and the first comes back.
fn crowd(footprint: &mut Footprint) -> Result<(), FootprintError> {
    let address = |number: u16| IpAddr::from(Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, number));
    for number in 0..CROWD {
        footprint.add_route(address(number), 128)?;
        if let Some(earlier) = number.checked_sub(10) {
            footprint.remove_route(address(earlier), 128)?;
        }
    }
    footprint.add_route(address(0), 128)
}

#[test]
#[ignore = "is a process of the other tests"]
fn the_node() {
    let Some(journals) = env::var_os(NODE) else { return };
    if let Err(error) = live(Path::new(&journals)) {
        io::stdout().write_all(format!("node: {error}\n").as_bytes()).unwrap();
    }
}

#[test]
#[ignore = "is a process of the other tests"]
fn the_guardian() {
    let journal = PathBuf::from(env::args_os().next_back().unwrap());
    if journal.extension().is_some_and(|ending| ending == "undo") {
        guard(&journal).unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn a_node_that_ends_leaves_the_host_as_it_was() {
    let host = Host::new();
    let before = host.state();
    let mut node = host.start();
    assert_eq!(node.says(), "[192.0.2.53:53]");
    let ours = host.state();
    for part in
        ["100.64.0.0/10 dev ntm0", "fd00:1::/32 dev ntm0", "fd00:1:2:3::9/64", "mtu 1280", "nameserver 100.64.0.9"]
    {
        assert!(ours.contains(part), "{part}: {ours}");
    }
    drop(node.process.stdin.take());
    assert!(node.process.wait().unwrap().success());
    assert_eq!((host.state(), host.journals()), (before, 0));
}

#[test]
#[ignore = "needs root"]
fn the_guardian_of_a_killed_node_undoes_what_it_left() {
    let host = Host::new();
    let before = host.state();
    let mut node = host.start();
    node.says();
    assert_ne!(host.state(), before);
    for polite in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        signal(node.guardian(), polite);
    }
    node.kill();
    host.becomes(&before);
}

#[test]
#[ignore = "needs root"]
fn the_next_start_undoes_what_a_killed_node_and_guardian_left() {
    let host = Host::new();
    let before = host.state();
    for _ in 0..2 {
        let mut node = host.start();
        assert_eq!(node.says(), "[192.0.2.53:53]", "what the predecessor has left is not taken for the host's");
        signal(node.guardian(), libc::SIGKILL);
        node.kill();
        assert_ne!(host.state(), before);
    }
    let mut node = host.start();
    node.says();
    drop(node.process.stdin.take());
    node.process.wait().unwrap();
    host.becomes(&before);
}

#[test]
#[ignore = "needs root"]
fn a_node_killed_at_any_moment_leaves_nothing() {
    let host = Host::new();
    let before = host.state();
    for wait in (0..24).map(|step| Duration::from_micros(step * 1_500)) {
        let mut node = host.start();
        // From before the beginning to after the end of its changes.
        thread::sleep(wait);
        node.kill();
        host.becomes(&before);
    }
}

#[test]
#[ignore = "needs root"]
fn routes_of_many_short_lived_peers_go_and_the_journal_stays_short() {
    let host = Host::new();
    let before = host.state();
    let mut node = host.start();
    node.says();
    node.asked("crowd");
    let routes = host.namespace.ip("-6 route show dev ntm0");
    assert_eq!(routes.matches("fd00:2:").count(), 11, "{routes}");
    let journals = fs::read_dir(host.journals.path()).unwrap().map(|file| file.unwrap().path());
    let lines: usize = journals.map(|file| fs::read_to_string(file).unwrap().lines().count()).sum();
    assert!(lines < usize::from(CROWD / 2), "{lines} lines for eleven routes");
    node.kill();
    host.becomes(&before);
}

#[test]
#[ignore = "needs root"]
fn an_interface_has_one_node_in_each_namespace() {
    let (host, other) = (Host::new(), Host::new());
    let mut node = host.start();
    node.says();
    let mut second = host.start();
    let refusal = second.says();
    assert!(refusal.contains(&format!("already running on ntm0 (process {})", node.process.id())), "{refusal}");
    host.namespace.enter(|| async {
        let stale = undo_stale("ntm0", &options(host.journals.path()), || {});
        assert!(matches!(stale, Err(FootprintError::Running { .. })), "{stale:?}");
    });
    // The same name in another namespace is another interface, though the directory may be the same.
    let mut elsewhere = Command::new("ip");
    elsewhere.args(["netns", "exec", &other.namespace.name]).arg(env::current_exe().unwrap());
    elsewhere.args(["--ignored", "--exact", "--nocapture", "footprint::the_node"]).env(NODE, host.journals.path());
    let output = elsewhere.stdin(Stdio::null()).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("node: [192.0.2.53:53]"));
    assert_eq!(host.journals(), 1);
}

#[test]
#[ignore = "needs root"]
fn what_another_tunnel_routes_is_left_to_it() {
    let host = Host::new();
    host.namespace.ip("tuntap add dev other0 mode tun");
    host.namespace.ip("link set other0 up");
    host.namespace.ip("route add 100.64.0.0/10 dev other0");
    let before = host.state();
    let refusal = host.start().says();
    assert!(refusal.contains("100.64.0.0/10 is already routed elsewhere"), "{refusal}");
    host.becomes(&before);
}

#[test]
#[ignore = "needs root"]
fn a_resolver_that_the_site_rewrites_is_taken_back_and_followed() {
    let host = Host::new();
    let mut node = host.start();
    assert_eq!(node.says(), "[192.0.2.53:53]");
    assert_eq!(node.asked("who?"), "[192.0.2.53:53]");
    // As a DHCP client does. The file is the one that is mounted for the namespace.
    fs::write(host.namespace.etc().join("resolv.conf"), "nameserver 198.51.100.7\n").unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(node.asked("who?"), "[198.51.100.7:53]");
    assert!(host.resolv_conf().contains("nameserver 100.64.0.9"));
    node.kill();
    let latest = Instant::now() + SOON;
    while Instant::now() < latest && host.journals() > 0 {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(host.resolv_conf(), "nameserver 198.51.100.7\n", "what the site wrote last comes back");
}

#[test]
#[ignore = "needs root"]
fn a_journal_that_somebody_else_could_have_written_is_not_believed() {
    let host = Host::new();
    let before = host.state();
    let journal = || fs::read_dir(host.journals.path()).unwrap().next().unwrap().unwrap().path();
    let mut node = host.start();
    node.says();
    signal(node.guardian(), libc::SIGKILL);
    node.kill();
    let changed = host.state();
    let stale = || host.namespace.enter(async || undo_stale("ntm0", &options(host.journals.path()), || {}));
    let refused = |why: &str| {
        let refusal = stale().expect_err("it is not believed");
        assert!(matches!(refusal, FootprintError::Foreign { .. }) && refusal.to_string().contains(why), "{refusal}");
        assert_eq!(host.state(), changed, "nothing is done");
    };
    fs::set_permissions(journal(), PermissionsExt::from_mode(0o666)).unwrap();
    refused("others may write to it");
    fs::set_permissions(journal(), PermissionsExt::from_mode(0o600)).unwrap();
    chown(journal(), Some(65_534), None).unwrap();
    refused("it belongs to another user");
    chown(journal(), Some(0), None).unwrap();
    let elsewhere = TempDir::new().unwrap();
    let (link, moved) = (journal(), elsewhere.path().join("journal"));
    fs::copy(&link, &moved).unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&moved, &link).unwrap();
    refused("it is a symbolic link");
    fs::remove_file(&link).unwrap();
    fs::copy(&moved, &link).unwrap();
    let mut next = host.start();
    next.says();
    drop(next.process.stdin.take());
    next.process.wait().unwrap();
    host.becomes(&before);
}

#[test]
#[ignore = "needs root"]
fn what_is_undone_on_request_is_told() {
    let host = Host::new();
    let addresses = || host.namespace.ip("addr show dev ntm0");
    let before = addresses();
    let mut node = host.start();
    node.says();
    signal(node.guardian(), libc::SIGKILL);
    node.kill();
    assert_ne!(addresses(), before);
    // Of the namespace this process has entered only the network: the resolver configuration that it sees is nobody's.
    let stale = || host.namespace.enter(async || undo_stale("ntm0", &options(host.journals.path()), || {}).unwrap());
    assert_eq!(stale(), Some([Remnant::Addresses, Remnant::Routes].into()));
    assert_eq!(addresses(), before);
    assert_eq!(stale(), None);
}

#[test]
#[ignore = "needs root"]
fn without_privilege_it_is_said_what_is_missing() {
    let host = Host::new();
    let before = host.state();
    fs::set_permissions(host.journals.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let refusal = host.start().says();
    assert!(refusal.contains("others may write to it"), "{refusal}");
    fs::set_permissions(host.journals.path(), PermissionsExt::from_mode(0o700)).unwrap();
    chown(host.journals.path(), Some(65_534), Some(65_534)).unwrap();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let refusal = host.start_as(&nobody).says();
    assert!(refusal.contains("CAP_NET_ADMIN"), "{refusal}");
    let net_admin = [&nobody[..], &["--inh-caps=+net_admin", "--ambient-caps=+net_admin"]].concat();
    let refusal = host.start_as(&net_admin).says();
    assert!(refusal.contains("/etc/resolv.conf cannot be changed"), "{refusal}");
    host.becomes(&before);
}
