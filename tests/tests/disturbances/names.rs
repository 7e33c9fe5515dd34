//! The host's name servers change under a node: other names are asked of the new ones, the network's go on being found.

use ntmobile_testbed::network::{Network, PATIENCE};
use ntmobile_testbed::process::Process;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts a provider's name server, which knows one name of its own.
fn provider(network: &mut Network, name: &'static str, address: &str) -> Process {
    network.world.host(name, address);
    let text = format!(
        "[names]\nserver = \"ns.{name}.test\"\nzone = \"{name}.test\"\n\
         [[entry]]\nname = \"www.{name}.test\"\naddresses = [\"198.51.100.7\"]\n"
    );
    network.write(&format!("{name}.toml"), &text);
    let mut process =
        Process::start(network.serve_command(name, "names", name), &network.home.path().join(format!("{name}.log")))
            .expect("ntm starts");
    process.await_word("ready", PATIENCE);
    process
}

/// Waits until a program on Alice's host finds this name.
fn await_name(network: &Network, name: &str) -> Duration {
    let began = Instant::now();
    while !network.world.run("alice", &format!("getent ahostsv4 {name}")).status.success() {
        assert!(began.elapsed() < PATIENCE, "nobody knows {name}; {}", network.read_resolver("alice"));
        sleep(Duration::from_millis(50));
    }
    began.elapsed()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_name_servers_change() {
    let mut network = Network::start("ndq-");
    network.resolvers(&["alice"]);
    let mut first = provider(&mut network, "one", "203.0.113.55");
    let _second = provider(&mut network, "two", "203.0.113.56");
    network.write_resolver("alice", "nameserver 203.0.113.55\noptions timeout:1\n");
    for account in ["alice@u1.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let mut alice = network.up("alice", "alice@u1.example");
    let _carol = network.echo("carol", "carol@u2.example", None);
    await_name(&network, "www.one.test");
    await_name(&network, "carol.u2.example");

    // The new network's DHCP client writes the file; the old server is not there any more.
    let after = "nameserver 203.0.113.56\noptions timeout:1\n";
    network.write_resolver("alice", after);
    first.signal("KILL");
    first.end(PATIENCE);
    let others = await_name(&network, "www.two.test");
    let began = Instant::now();
    network.await_names("alice");
    await_name(&network, "carol.u2.example");
    println!("other names: after {others:?}; the network's: after {:?} more", began.elapsed());
    await_name(&network, "www.two.test");

    // What was written while the node ran is what stays.
    alice.signal("TERM");
    assert_eq!(alice.end(PATIENCE), Some(0), "{}", alice.words());
    assert_eq!(network.read_resolver("alice"), after);
}
