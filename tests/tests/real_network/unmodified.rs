//! Unmodified applications on nodes with a virtual interface (`ntm up`): they find nodes by their names, stay connected while
//! their host moves, and the host is as it was when the node is gone, however it went.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::{Network, PASSWORD, PATIENCE};
use ntmobile_testbed::process::Process;
use ntmobile_testbed::program::program;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root and network namespaces"]
fn programs_reach_nodes_by_name_and_stay_connected_while_their_host_moves() {
    let mut network = Network::start("ntmu-");
    network.resolvers(&["alice", "bob", "carol"]);
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Random);
    for account in ["alice@u1.example", "bob@u2.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let before = network.looks("alice");
    let mut alice = network.up("alice", "alice@u1.example");
    let _bob = network.up("bob", "bob@u2.example");
    let _carol = network.up("carol", "carol@u2.example");

    // Carol is in the open, Bob behind a NAT like Alice; a server of the network and other names are what they were.
    for name in ["carol.u2.example", "bob.u2.example"] {
        for family in ["-4", "-6"] {
            network.world.must("alice", &format!("ping {family} -c 2 -W 10 {name}"));
        }
    }
    let (code, said) = network.ask("alice", &["status"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("alice.u1.example") && said.contains("bob.u2.example  through rs1.u1.example"), "{said}");
    assert!(said.contains("carol.u2.example  directly, to 203.0.113.110"), "{said}");
    let round_trips =
        network.world.command("alice", &program("ntm")).args(["ping", "-c", "2", "bob.u2.example"]).output();
    let said = String::from_utf8_lossy(&round_trips.expect("ntm starts").stdout).into_owned();
    assert!(said.contains("2 of 2 came back"), "{said}");
    let server = network.world.must("alice", "dig +short +tries=1 +time=9 as.example A");
    assert_eq!(server.trim(), "203.0.113.2");
    network.world.must("alice", "ping -c 1 -W 10 203.0.113.2");

    // A download by a program that knows nothing of all this, while its host changes networks.
    let shared = network.home.path().join("shared");
    std::fs::create_dir(&shared).expect("made");
    let content: Vec<u8> = (0..12_000_000_u32).flat_map(|number| number.to_le_bytes()).take(12_000_000).collect();
    std::fs::write(shared.join("file"), &content).expect("written");
    let mut serve = network.world.command("bob", Path::new("python3"));
    serve.args(["-u", "-m", "http.server", "--bind", "::", "8000"]).current_dir(&shared);
    let mut server = Process::start(serve, &network.home.path().join("http.log")).expect("python3 starts");
    server.await_word("Serving", PATIENCE);
    let got = network.home.path().join("got");
    let mut fetch = network.world.command("alice", Path::new("curl"));
    fetch
        .args(["-sS", "--max-time", "120", "--limit-rate", "1M", "-o"])
        .arg(&got)
        .arg("http://bob.u2.example:8000/file");
    let mut download = Process::start(fetch, &network.home.path().join("curl.log")).expect("curl starts");
    let length = || std::fs::metadata(&got).map_or(0, |metadata| metadata.len());
    let deadline = Instant::now() + PATIENCE;
    while length() < 2_000_000 {
        assert!(Instant::now() < deadline, "the download does not come on: {}", download.words());
        std::thread::sleep(Duration::from_millis(100));
    }
    network.world.move_behind("cafe", "alice", "192.168.3", 10);
    assert_eq!(download.end(2 * PATIENCE), Some(0), "{}", download.words());
    assert!(std::fs::read(&got).expect("there") == content, "what has come is what was there");
    alice.await_word("has moved its tunnel to bob.u2.example", PATIENCE);
    network.world.must("alice", "ping -c 2 -W 10 carol.u2.example");

    let (code, said) = network.ask("alice", &["path", "bob.u2.example"]);
    assert_eq!(code, Some(0), "{said}");
    let parts = [
        "built in ",
        "moved in ",
        "goes through rs1",
        "relayed because ",
        "tried through rs1",
        "(handover): 203.0.113.4:4500 answered",
    ];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    let (code, said) = network.ask("alice", &["path", "bob.u2.example", "--json"]);
    assert_eq!(code, Some(0), "{said}");
    let parts = ["\"relay\": \"rs1.u1.example\"", "\"room\": 14", "\"handover_ms\": ", "\"reason\": \"handover\""];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    let measured = |said: &str| said.contains("\"round_trip_us\": ") && !said.contains("\"round_trip_us\": null");
    assert!(measured(&said), "{said}");

    // A polite end leaves nothing but the new network's own route behind.
    assert_eq!(network.ask("alice", &["down"]).0, Some(0));
    assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
    let (code, said) = network.ask("alice", &["status"]);
    assert_eq!(code, Some(6));
    assert!(said.contains("no node is running on ntm0"), "{said}");
    network.await_looks("alice", &before.replace("192.168.1", "192.168.3"));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_that_is_killed_leaves_nothing_behind_and_a_second_one_is_refused() {
    let mut network = Network::start("ntmk-");
    network.resolvers(&["alice", "carol"]);
    for account in ["alice@u1.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let before = network.looks("alice");
    let mut alice = network.up("alice", "alice@u1.example");
    let mut carol = network.up("carol", "carol@u2.example");
    network.world.must("alice", "ping -c 1 -W 10 carol.u2.example");
    let mut second: Command = network.world.command("alice", &program("ntm"));
    let second = second.args(["up", "--config", "alice-up.toml"]).current_dir(network.home.path());
    let refused = second.env("NTM_PASSWORD", PASSWORD).output().expect("ntm starts");
    assert_eq!(refused.status.code(), Some(8));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("already running on ntm0"), "{said}");

    alice.signal("KILL");
    assert_eq!(alice.end(PATIENCE), None, "it was killed");
    network.await_looks("alice", &before);

    // It comes back with the same addresses, and its peers reach it again.
    let mut again = network.up("alice", "alice@u1.example");
    network.world.must("carol", "ping -c 1 -w 60 alice.u1.example");

    // Somebody removes the interface: nothing can be carried any more, and the host is as it was.
    network.world.must("alice", "ip link del ntm0");
    assert_eq!(again.end(PATIENCE), Some(8), "{}", again.words());
    assert!(again.words().contains("the virtual interface is gone"), "{}", again.words());
    network.await_looks("alice", &before);

    carol.signal("TERM");
    assert_eq!(carol.end(PATIENCE), Some(0), "{}", carol.words());
    assert!(!network.looks("carol").contains("ntm0"), "nothing of hers is left");
}

/// Kills a node and the process that would undo its changes.
fn kill_with_guardian(node: &mut Process) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", node.id())).expect("it runs");
    let children = tasks.map(|task| std::fs::read_to_string(task.expect("it runs").path().join("children")));
    let guardian: String = children.map(|children| children.expect("it runs")).collect();
    let killed = Command::new("kill").args(["-KILL", guardian.trim()]).status().expect("kill starts");
    assert!(killed.success(), "{guardian:?} is one process");
    node.signal("KILL");
    assert_eq!(node.end(PATIENCE), None, "it was killed");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_a_node_and_its_guardian_have_left_when_both_were_killed_goes_with_ntm_down() {
    let mut network = Network::start("ntmg-");
    network.resolvers(&["alice"]);
    network.add_account("alice@u1.example");
    let before = network.looks("alice");
    let mut alice = network.up("alice", "alice@u1.example");
    kill_with_guardian(&mut alice);
    assert!(network.read_resolver("alice").contains("nameserver 100."), "nobody is there to undo it");
    let (code, said) = network.ask("alice", &["down"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("was killed; what it had left is undone: the host's resolver configuration"), "{said}");
    network.await_looks("alice", &before);
    let left: Vec<_> = std::fs::read_dir(network.home.path().join("run")).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
    let (code, said) = network.ask("alice", &["down"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("no node is running on ntm0"), "{said}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn streams_in_both_directions_and_ordinary_traffic_go_on_side_by_side_while_a_host_moves() {
    let mut network = Network::start("ntmi-");
    network.resolvers(&["alice", "bob"]);
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Random);
    for account in ["alice@u1.example", "bob@u2.example"] {
        network.add_account(account);
    }
    let mut alice = network.up("alice", "alice@u1.example");
    let _bob = network.up("bob", "bob@u2.example");
    let start = |host: &str, file: &str, arguments: &[&str]| {
        let mut command = network.world.command(host, Path::new("iperf3"));
        command.arg("--forceflush").args(arguments);
        Process::start(command, &network.home.path().join(file)).expect("iperf3 starts")
    };
    // A relayed stream by name in each direction, and one to a server beside them that has nothing to do with the network.
    let mut here = start("bob", "bob-iperf.log", &["-s"]);
    let mut there = start("carol", "carol-iperf.log", &["-s"]);
    here.await_word("listening", PATIENCE);
    there.await_word("listening", PATIENCE);
    let mut mobile = start("alice", "mobile.log", &["-c", "bob.u2.example", "-t", "12", "-b", "5M", "--bidir"]);
    let mut ordinary = start("bob", "ordinary.log", &["-c", "203.0.113.110", "-t", "12", "-b", "5M"]);
    mobile.await_word("3.00-4.00", PATIENCE);
    network.world.move_behind("cafe", "alice", "192.168.3", 20);
    alice.await_word("has moved its tunnel to bob.u2.example", PATIENCE);
    assert_eq!(mobile.end(PATIENCE), Some(0), "{}", mobile.words());
    assert_eq!(ordinary.end(PATIENCE), Some(0), "{}", ordinary.words());
    // Whatever was lost in the move came again: the last seconds are as full as the first.
    let last = mobile.words().lines().rfind(|line| line.contains("11.00-12.")).map(str::to_owned).unwrap_or_default();
    assert!(!last.contains(" 0.00 Bytes"), "{}", mobile.words());
    assert!(
        !network.world.must("bob", "ip route get 203.0.113.110").contains("ntm0"),
        "ordinary traffic is left alone"
    );
}
