//! The node models: each without what it does without, and every pair of them.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use ntmobile_testbed::vpn::{MARK, NOBODY};
use std::path::Path;

/// Asks the node without privilege on a host.
fn ask(network: &Network, host: &str, arguments: &[&str]) -> String {
    let mut line = vec!["--run-directory".to_owned(), format!("run-{host}")];
    line.splice(0..0, arguments.iter().map(|word| (*word).to_owned()));
    let arguments: Vec<&str> = line.iter().map(String::as_str).collect();
    let mut command = network.world.command(host, &ntmobile_testbed::program::program("ntm"));
    let output = command.args(arguments).current_dir(network.home.path()).output().expect("ntm starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_without_any_privilege_serves_its_device_wherever_that_moves() {
    let mut network = Network::start("ntmv-");
    network.resolvers(&["alice", "carol"]);
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Random);
    for account in ["alice@u1.example", "bob@u2.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let before = network.looks("alice");
    let mut bob = network.echo("bob", "bob@u2.example", None);
    bob.await_word("bob.u2.example is fd", PATIENCE);
    let _carol = network.up("carol", "carol@u2.example");
    let mut alice = network.vpn("alice", "alice@u1.example");

    let status = ask(&network, "alice", &["status", "--json"]);
    let process = status.lines().find_map(|line| line.trim().strip_prefix("\"process\": ")).expect("it says which");
    let process = std::fs::read_to_string(format!("/proc/{}/status", process.trim_end_matches(','))).expect("it runs");
    for nothing in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(process.contains(&format!("{nothing}:\t0000000000000000")), "{process}");
    }
    assert!(process.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}")) && process.contains("NoNewPrivs:\t1"), "{process}");

    // Whatever is not marked and goes to a server ends in the device from now on: all that the node itself sends is.
    network.world.ip("alice", "route add 203.0.113.0/24 dev ntm0 table 77");
    network.world.ip("alice", &format!("rule add not fwmark {MARK} lookup 77"));
    assert!(!network.world.run("alice", "ping -c 1 -W 1 203.0.113.2").status.success(), "it ends in the device");
    for family in ["-4", "-6"] {
        network.world.must("alice", &format!("ping {family} -c 2 -W 10 carol.u2.example"));
        network.world.must("alice", &format!("ping {family} -c 2 -W 10 bob.u2.example"));
    }
    // Other names are what they were, by datagram and by stream.
    for way in ["+notcp", "+tcp"] {
        let server = network.world.must("alice", &format!("dig {way} +short +tries=1 +time=9 as.example A"));
        assert_eq!(server.trim(), "203.0.113.2");
        let carol = network.world.must("alice", &format!("dig {way} +short +tries=1 +time=9 carol.u2.example AAAA"));
        assert!(carol.starts_with("fd"), "{carol}");
    }
    let status = ask(&network, "alice", &["status"]);
    assert!(
        status.contains("carol.u2.example  directly") && status.contains("bob.u2.example  through rs1"),
        "{status}"
    );

    // The device moves, and the host program says so; a conversation goes on.
    let mut stream = Process::start(
        {
            let mut command = network.world.command("alice", Path::new("ping"));
            command.args(["-i", "0.2", "-w", "90", "carol.u2.example"]);
            command
        },
        &network.home.path().join("ping.log"),
    )
    .expect("ping starts");
    stream.await_word("icmp_seq=3", PATIENCE);
    network.world.move_behind("cafe", "alice", "192.168.3", 10);
    alice.await_word("has moved its tunnel to carol.u2.example", PATIENCE);
    stream.await_word("bytes from", PATIENCE);
    assert!(alice.words().contains("state: Moved"), "{}", alice.words());
    drop(stream);

    network.world.ip("alice", &format!("rule del not fwmark {MARK} lookup 77"));
    alice.signal("TERM");
    assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
    assert!(alice.words().contains("state: Down"), "{}", alice.words());
    network.await_looks("alice", &before.replace("192.168.1", "192.168.3"));
}
