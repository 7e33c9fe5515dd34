//! A node that cannot run (`ntm up`) says why and what to do, once, and leaves the host as it was; one that may do no more
//! than it needs runs.

use ntmobile_testbed::network::{Network, PASSWORD, PATIENCE};
use ntmobile_testbed::process::Process;
use ntmobile_testbed::program::program;
use ntmobile_testbed::vpn::NOBODY;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The run directory of nodes that nobody runs: notes are believed only where nobody else can write.
const NOBODYS: &str = "nobodys";

/// Runs as nobody, with these capabilities and no others, and a run directory of its own.
fn as_nobody(network: &Network, host: &str, capabilities: &str) -> Command {
    let mut command = network.world.command(host, Path::new("setpriv"));
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs"]);
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.arg(format!("{set}=-all{capabilities}"));
    }
    command.env("NTM_TUN__RUN_DIRECTORY", NOBODYS);
    command
}

/// Runs where the clock is off by so much.
fn clock(network: &Network, host: &str, off: &str) -> Command {
    let mut command = network.world.command(host, Path::new("faketime"));
    command.args(["-f", off]).env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    command
}

/// The words that make a node of a host, for a command that is not `ntm` itself.
fn up_by<'a>(network: &Network, command: &'a mut Command, file: &str) -> &'a mut Command {
    command.arg(program("ntm")).args(["up", "--config", file]).current_dir(network.home.path());
    command.env("NTM_PASSWORD", PASSWORD)
}

/// Has a node not come up: its exit code is 8, and its last words are an error with these.
fn refuses(network: &Network, command: Command, words: &[&str]) {
    let log = network.home.path().join("refused.log");
    let mut process = Process::start(command, &log).expect("it starts");
    let code = process.end(2 * PATIENCE);
    let said = process.words();
    println!("{said}");
    assert_eq!(code, Some(8), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(words.iter().all(|word| errors[0].contains(word)), "{words:?}: {said}");
}

/// Makes the run directory of nodes that nobody runs.
fn make_nobodys(network: &Network) {
    let (home, own) = (network.home.path(), network.home.path().join(NOBODYS));
    std::fs::set_permissions(home, PermissionsExt::from_mode(0o755)).expect("ours");
    std::fs::create_dir(&own).expect("made");
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o700)).expect("ours");
    chown(own, Some(NOBODY), Some(NOBODY)).expect("this needs root");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_that_cannot_run_says_why_and_what_to_do() {
    let mut network = Network::without_servers("ntmy-");
    network.resolvers(&["carol"]);
    make_nobodys(&network);
    std::fs::create_dir(network.home.path().join("run")).expect("made");
    network.write_node("node.toml", "carol@u2.example", "");
    let before = network.looks("carol");
    let up = |file: &str| network.up_command("carol", file);

    // What it may not do.
    let mut bare = as_nobody(&network, "carol", "");
    up_by(&network, &mut bare, "node.toml");
    refuses(&network, bare, &["TUN device", "run as root", "CAP_NET_ADMIN"]);
    let mut bare = as_nobody(&network, "carol", ",+net_admin");
    up_by(&network, bare.env("NTM_TUN__RUN_DIRECTORY", "run"), "node.toml");
    refuses(&network, bare, &["run/ntm0@", "run as root or choose another directory"]);

    // What is not there, or somebody else's.
    let mut without = network.world.command("carol", Path::new("unshare"));
    let script = "mount -t tmpfs none /dev/net && exec \"$0\" \"$@\"";
    up_by(&network, without.args(["-m", "sh", "-c", script]), "node.toml");
    refuses(&network, without, &["there is no /dev/net/tun", "modprobe tun"]);
    network.write_node("port.toml", "carol@u2.example", "port = 4501\n");
    let mut holder = network.world.command("carol", Path::new("python3"));
    let hold = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.bind(('', 4501)); print('held'); input()";
    holder.args(["-u", "-c", hold]);
    let mut holder = Process::start(holder, &network.home.path().join("holder.log")).expect("python3 starts");
    holder.await_word("held", PATIENCE);
    refuses(&network, up("port.toml"), &["port 4501 is already in use"]);

    // Room for its notes.
    let mut full = network.world.command("carol", Path::new("unshare"));
    let script = "mount -t tmpfs -o size=4k,mode=700 none run && dd if=/dev/zero of=run/rest bs=4k count=1 2>/dev/null; exec \"$0\" \"$@\"";
    up_by(&network, full.args(["-m", "sh", "-c", script]), "node.toml");
    refuses(&network, full, &["run/ntm0@", "make room"]);

    // Whom it trusts, and who it is.
    std::fs::create_dir(network.home.path().join("bad")).expect("made");
    network.write("bad/authority.pem", "nothing of the kind\n");
    let with = |file: &str, certificates: &str| {
        let text = std::fs::read_to_string(network.home.path().join("node.toml")).expect("there");
        network.write(file, &text.replace("[tun]", &format!("certificates = \"{certificates}\"\n[tun]")));
    };
    with("bad.toml", "bad");
    refuses(&network, up("bad.toml"), &["bad/authority.pem"]);
    with("none.toml", "none");
    refuses(&network, up("none.toml"), &["none/authority.pem cannot be read", "ntm ca"]);
    network.ntm(&["ca", "--dir", "late", "init", "--lifetime", "0 s"]);
    std::thread::sleep(Duration::from_secs(1));
    with("late.toml", "late");
    refuses(&network, up("late.toml"), &["authority.pem expired", "set the clock"]);
    let mut slow = clock(&network, "carol", "-1h");
    up_by(&network, &mut slow, "node.toml");
    refuses(&network, slow, &["authority.pem is valid from", "min by this host's clock", "set it"]);
    let mut slow = clock(&network, "rs1", "-1h");
    slow.arg(program("ntm")).args(["serve", "rs", "--config", "rs1.toml"]).current_dir(network.home.path());
    refuses(&network, slow, &["authority.pem is valid from", "min by this host's clock", "set it"]);
    assert_eq!(network.looks("carol"), before, "nothing was left behind");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_that_does_not_get_in_says_why_and_what_to_do() {
    let mut network = Network::without_servers("ntmw-");
    network.resolvers(&["carol"]);
    for server in ["root", "dc2"] {
        network.serve(server);
    }
    // Nobody issues such certificates but for tests.
    network.ntm(&["ca", "issue", "as", "as.example", "--out", ".", "--lifetime", "5 s", "--force"]);
    network.serve("as");
    network.add_account("carol@u2.example");
    std::thread::sleep(Duration::from_secs(6));
    network.write_node("node.toml", "carol@u2.example", "");
    let before = network.looks("carol");
    refuses(
        &network,
        network.up_command("carol", "node.toml"),
        &["as.example cannot be trusted", "expired", "set the clock"],
    );

    network.stop("as");
    network.ntm(&["ca", "issue", "as", "as.example", "--out", ".", "--force"]);
    network.serve("as");
    // Another network's authority.
    network.ntm(&["ca", "--dir", "theirs", "init"]);
    let text = std::fs::read_to_string(network.home.path().join("node.toml")).expect("there");
    network.write("theirs.toml", &text.replace("[tun]", "certificates = \"theirs\"\n[tun]"));
    refuses(
        &network,
        network.up_command("carol", "theirs.toml"),
        &["as.example cannot be trusted", "another authority", "authority.pem"],
    );
    let mut wrong = network.up_command("carol", "node.toml");
    wrong.env("NTM_PASSWORD", "staple battery");
    refuses(&network, wrong, &["the account or its credential is wrong"]);
    // A clock that is fast by an hour is right enough.
    let mut fast = clock(&network, "carol", "+1h");
    up_by(&network, &mut fast, "node.toml");
    let mut fast = Process::start(fast, &network.home.path().join("fast.log")).expect("it starts");
    fast.await_word(" up ", PATIENCE);
    assert_eq!(network.ask("carol", &["down"]).0, Some(0));
    assert_eq!(fast.end(PATIENCE), Some(0), "{}", fast.words());
    assert_eq!(network.looks("carol"), before, "nothing was left behind");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_needs_no_more_than_it_says_and_stops_at_once_when_told_twice() {
    let mut network = Network::start("ntmh-");
    network.resolvers(&["alice", "carol"]);
    for account in ["alice@u1.example", "carol@u2.example"] {
        network.add_account(account);
    }
    make_nobodys(&network);
    let _carol = network.up("carol", "carol@u2.example");
    let before = network.looks("alice");

    // Without names it needs to change the network, and nothing else.
    network.write_node("alice-up.toml", "alice@u1.example", "names = false\n");
    let mut modest = as_nobody(&network, "alice", ",+net_admin");
    up_by(&network, &mut modest, "alice-up.toml");
    let mut modest = Process::start(modest, &network.home.path().join("modest.log")).expect("it starts");
    modest.await_word(" up ", PATIENCE);
    assert!(network.read_resolver("alice").starts_with("nameserver 203."));
    network.world.must("carol", "ping -c 1 -w 30 alice.u1.example");
    modest.signal("TERM");
    assert_eq!(modest.end(PATIENCE), Some(0), "{}", modest.words());
    network.await_looks("alice", &before);

    // With names: the port of DNS, and a resolver configuration that it may write.
    network.write_node("alice-up.toml", "alice@u1.example", "");
    let mut modest = as_nobody(&network, "alice", ",+net_admin");
    up_by(&network, &mut modest, "alice-up.toml");
    refuses(&network, modest, &["names", "CAP_NET_BIND_SERVICE", "names = false"]);
    let mut modest = as_nobody(&network, "alice", ",+net_admin,+net_bind_service");
    up_by(&network, &mut modest, "alice-up.toml");
    refuses(&network, modest, &["resolv.conf cannot be changed", "names"]);
    chown(network.resolver("alice"), Some(NOBODY), Some(NOBODY)).expect("this needs root");
    let mut modest = as_nobody(&network, "alice", ",+net_admin,+net_bind_service");
    up_by(&network, &mut modest, "alice-up.toml");
    let mut modest = Process::start(modest, &network.home.path().join("modest.log")).expect("it starts");
    modest.await_word(" up ", PATIENCE);
    network.world.must("alice", "ping -c 1 -w 30 carol.u2.example");
    modest.signal("KILL");
    assert_eq!(modest.end(PATIENCE), None, "it was killed");
    network.await_looks("alice", &before);

    // Told twice, it waits for nobody.
    let mut alice = network.up("alice", "alice@u1.example");
    for server in ["dc1", "dc2", "as"] {
        network.kill(server);
    }
    // Both are there before it has begun to leave.
    for signal in ["STOP", "TERM", "INT", "CONT"] {
        alice.signal(signal);
    }
    let code = alice.end(PATIENCE);
    println!("{}", alice.words());
    assert_eq!(code, Some(130), "{}", alice.words());
    network.await_looks("alice", &before);
}
