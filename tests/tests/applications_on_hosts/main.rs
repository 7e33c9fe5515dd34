//! Unmodified applications, all at once, on a host that goes from one kind of network to the next: each keeps its one
//! connection, the path is the one that the network asks for, and ordinary traffic is left alone.
//!
//! Needs root, `ip`, `nft`, `curl`, `iperf3`, `python3`, an SSH client and server, PostgreSQL and Chromium, and the programs:
//! `cargo build --workspace --bins`, then `cargo test --workspace --test applications_on_hosts -- --include-ignored`.

mod database;
mod shell;
mod stations;
mod stream;
mod web;

use database::Database;
use ntmobile_testbed::network::{Network, PATIENCE};
use shell::Shell;
use stations::{STATIONS, Way};
use std::thread::sleep;
use std::time::{Duration, Instant};
use stream::Stream;
use web::{Browser, Download, Site};

/// An application with a connection to the peer.
trait Application {
    /// Shows that it still carries something, both ways; `mark` was never said before.
    ///
    /// # Panics
    /// When it does not.
    fn goes_on(&mut self, mark: &str);
}

/// Waits until the host's own node says that the peer is reached in this way.
fn await_way(network: &Network, host: &str, peer: &str, way: Way) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, said) = network.ask(host, &["path", peer]);
        let first = said.lines().next().unwrap_or_default().to_owned();
        if first.contains(way.said()) {
            return;
        }
        assert!(Instant::now() < deadline, "{host} does not reach {peer} {}: {said}", way.said());
        sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs root, network namespaces and the applications"]
fn every_application_stays_connected_from_network_to_network() {
    let mut network = Network::start("ntmz-");
    network.resolvers(&["alice", "bob"]);
    stations::build(&mut network);
    for account in ["alice@u1.example", "bob@u2.example"] {
        network.add_account(account);
    }
    let _alice = network.up("alice", "alice@u1.example");
    let _bob = network.up("bob", "bob@u2.example");

    let site = Site::start(&network, "bob");
    let mut applications: Vec<Box<dyn Application>> = vec![
        Box::new(Shell::open(&network, "bob", "alice", "bob.u2.example")),
        Box::new(Database::open(&network, "bob", "alice", "bob.u2.example")),
        Box::new(Stream::open(&network, "bob", "alice", "bob.u2.example")),
        Box::new(Download::begin(&network, &site, "alice", "bob.u2.example")),
        Box::new(Browser::open(&network, &site, "alice", "bob.u2.example")),
    ];
    for application in &mut applications {
        application.goes_on("at-home");
    }
    for (number, station) in STATIONS.iter().enumerate() {
        println!("{}", station.name);
        (station.go)(&network);
        for application in &mut applications {
            application.goes_on(&format!("at-{}-{number}", station.name));
        }
        await_way(&network, "alice", "bob.u2.example", station.way);
        network.await_names("alice");
        // Somebody new finds the peer from here, and others are reached as without a node.
        let said = network.world.must("alice", "curl -sS --max-time 60 http://bob.u2.example:8000/fetched?new");
        assert_eq!(said, "and fetched");
        network.world.must("alice", &format!("ping -c 1 -W 10 {}", station.ordinary));
        assert!(!network.world.must("alice", &format!("ip route get {}", station.ordinary)).contains("ntm0"));
    }
    site.finish();
    drop(applications);
}
