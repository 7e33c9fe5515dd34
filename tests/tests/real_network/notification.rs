//! A node that sleeps behind a NAT (`reachability = "tcp-ns"`): nothing of it goes by UDP for an hour, and whoever wants it has
//! it woken through its NS.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::{Network, PATIENCE};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What an NS has counted under this name.
fn counted(network: &Network, counter: &str) -> u64 {
    let metrics = network.world.must("ns1", "curl -s http://127.0.0.1:9464/metrics");
    let line = metrics.lines().find(|line| line.starts_with(counter));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

/// Waits until the NS has counted so many.
fn await_counted(network: &Network, counter: &str, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while counted(network, counter) < wanted {
        let metrics = network.world.must("ns1", "curl -s http://127.0.0.1:9464/metrics");
        assert!(Instant::now() < deadline, "{counter} is not {wanted}: {metrics}");
        sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_sleeping_node_behind_a_nat_is_woken() {
    let mut network = Network::start("ntmp-");
    network.world.rules("home", &Nat::Masquerade.rules());
    network.resolvers(&["alice", "carol"]);
    for account in ["alice@u1.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let _alice = network.up_with("alice", "alice@u1.example", "[plugins]\nreachability = \"tcp-ns\"\n");
    let _carol = network.up("carol", "carol@u2.example");
    // Its NAT forgets what it has sent by UDP; the connection to the NS is TCP.
    drop(network.world.run("home", "conntrack -D -p udp"));
    let path = network.world.must("home", "conntrack -L -p udp");
    assert!(!path.contains("192.168.1.10"), "{path}");
    network.world.must("carol", "ping -c 1 -w 30 alice.u1.example");
    await_counted(&network, "ntm_notification_woken_total", 1);
}
