//! A whole network of real processes on the real kernel: servers by `ntm serve`, nodes by the library, NATs by nftables.
//!
//! Needs root, `ip`, `nft`, `dig` and `faketime`, and the programs: `cargo build --workspace --bins`, then
//! `cargo test --test real_network -- --include-ignored`.

mod chapter;
mod models;
mod node_refusals;
mod notification;
mod refusals;
mod unmodified;

use ntmobile_testbed::network::{self, Network, PATIENCE};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What `dig` says in one line, or its status where it says nothing.
fn dig(network: &Network, question: &str) -> String {
    let answer = network.world.must("carol", &format!("dig +norecurse +tries=1 +time=5 {question}"));
    answer.trim().to_owned()
}

/// Waits until the packet path of the RS says that it has forwarded something.
fn await_relayed(network: &Network) {
    let sent = "ntm_path_sent_total{entity=\"rs1.u1.example\"}";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = network.world.must("rs1", "curl -s http://127.0.0.1:9464/metrics");
        if metrics.contains(sent) {
            return;
        }
        assert!(Instant::now() < deadline, "no packet went by the path:\n{metrics}");
        sleep(Duration::from_millis(200));
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nodes_talk_directly_and_through_a_relay_and_servers_come_back_after_a_kill() {
    let mut network = Network::start("ntmr-");
    for account in ["alice@u1.example", "bob@u2.example", "carol@u2.example"] {
        network.add_account(account);
    }
    let mut bob = network.echo("bob", "bob@u2.example", None);
    let mut carol = network.echo("carol", "carol@u2.example", None);
    bob.await_word("bob.u2.example is fd", PATIENCE);
    carol.await_word("carol.u2.example is fd", PATIENCE);

    // Bob is behind a NAT like Alice, Carol in the open.
    let mut direct = network.echo("alice", "alice@u1.example", Some("carol.u2.example"));
    direct.await_word("reached directly", PATIENCE);
    direct.say("straight on");
    direct.await_word("udp: straight on", PATIENCE);
    direct.await_word("tcp: straight on", PATIENCE);
    drop(direct);
    let mut relayed = network.echo("alice", "alice@u1.example", Some("bob.u2.example"));
    relayed.await_word("reached through rs1.u1.example", PATIENCE);
    relayed.say("around the corner");
    relayed.await_word("udp: around the corner", PATIENCE);
    relayed.await_word("tcp: around the corner", PATIENCE);
    await_relayed(&network);

    // Every server loses its power, and comes back from its disk: the conversation goes on by itself, and accounts are there.
    let addresses = |words: String| words.lines().find(|line| line.contains(" is fd")).map(str::to_owned);
    let before = addresses(bob.words());
    for server in ["as", "dc1", "dc2", "rs1"] {
        network.kill(server);
        network.serve(server);
        relayed.say(&format!("after {server}"));
        relayed.await_word(&format!("udp: after {server}"), PATIENCE);
        relayed.await_word(&format!("tcp: after {server}"), PATIENCE);
    }
    let accounts = network.account(&["list"]);
    assert!(accounts.contains("alice@u1.example") && accounts.contains("bob@u2.example"), "{accounts}");
    drop((relayed, bob));
    let mut bob = network.echo("bob", "bob@u2.example", None);
    bob.await_word("bob.u2.example is fd", PATIENCE);
    assert_eq!(addresses(bob.words()), before, "a node keeps its permanent addresses");
    let mut again = network.echo("alice", "alice@u1.example", Some("bob.u2.example"));
    again.await_word("reached through rs1.u1.example", PATIENCE);
    again.say("still here");
    again.await_word("udp: still here", PATIENCE);
    again.await_word("tcp: still here", PATIENCE);

    // Polite ends: exit code 0, and sockets are free at once.
    for server in ["as", "dc1", "dc2", "rs1", "root"] {
        assert_eq!(network.stop(server), Some(0), "{server}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_node_that_has_only_ipv6_talks_to_one_that_has_only_ipv4() {
    let network = Network::start("ntm6-");
    network.add_account("alice@u1.example");
    network.add_account("dave@u1.example");
    let mut dave = network.echo("dave", "dave@u1.example", None);
    dave.await_word("dave.u1.example is fd", PATIENCE);
    let mut alice = network.echo("alice", "alice@u1.example", Some("dave.u1.example"));
    alice.await_word("reached through rs1.u1.example", PATIENCE);
    alice.say("four to six");
    alice.await_word("udp: four to six", PATIENCE);
    alice.await_word("tcp: four to six", PATIENCE);
    await_relayed(&network);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_coordinator_that_is_renumbered_says_so_in_its_zone() {
    let mut network = Network::without_servers("ntmn-");
    network.serve("dc1");
    let question = format!("@{} +short dc.u1.example A", network::ADDRESSES[2].1);
    assert_eq!(dig(&network, &question), network::ADDRESSES[2].1);
    network.world.address("dc1", "203.0.113.33/24");
    let deadline = Instant::now() + PATIENCE;
    while !dig(&network, &question).contains("203.0.113.33") {
        assert!(Instant::now() < deadline, "the zone still says {}", dig(&network, &question));
        sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_coordinators_name_server_answers_as_dig_expects() {
    let network = Network::start("ntmd-");
    let dc = network::ADDRESSES[2].1;
    let at = |question: &str| dig(&network, &format!("@{dc} {question}"));
    assert_eq!(at("+short dc.u1.example A"), dc);
    assert_eq!(at("+short u1.example NS"), "dc.u1.example.");
    assert!(at("+short u1.example SOA").starts_with("dc.u1.example. hostmaster.dc.u1.example. "));
    assert_eq!(at("+short _ntm._udp.u1.example SRV"), "0 0 4500 dc.u1.example.");
    assert_eq!(at("+short _ntm-tls._udp.u1.example SRV"), "0 0 4433 dc.u1.example.");
    assert_eq!(at("+short _ntm-as._udp.u1.example SRV"), "0 0 4433 as.example.");
    let absent = at("nobody.u1.example A");
    assert!(absent.contains("status: NXDOMAIN") && absent.contains("SOA"), "{absent}");
    assert_eq!(at("+short dc.u1.example AAAA"), network::ADDRESSES[2].2);
    let empty = at("dc.u1.example TXT");
    assert!(empty.contains("status: NOERROR") && empty.contains("ANSWER: 0") && empty.contains("SOA"), "{empty}");
    let elsewhere = at("www.example.org A");
    assert!(elsewhere.contains("status: REFUSED"), "{elsewhere}");
    let version = at("+edns=1 +noednsneg dc.u1.example A");
    assert!(version.contains("BADVERS"), "{version}");
    let edns = at("+bufsize=1232 dc.u1.example A");
    assert!(edns.contains("OPT PSEUDOSECTION") && edns.contains("flags: qr aa"), "{edns}");
    assert_eq!(at("+tcp +short dc.u1.example A"), dc);
    let many = |options: &str| dig(&network, &format!("@{} {options} many.example A", network::ADDRESSES[0].1));
    let cut = many("+noedns +ignore");
    assert!(cut.contains("flags: qr aa tc"), "{cut}");
    assert_eq!(many("+noedns +short").lines().count(), 60, "what was cut is had over TCP");
    let root = dig(&network, &format!("@{} dc.u1.example A", network::ADDRESSES[0].1));
    assert!(root.contains("AUTHORITY: 1") && root.contains("u1.example.") && root.contains(dc), "{root}");
    let outside = dig(&network, &format!("@{} +short as.example A", network::ADDRESSES[0].1));
    assert_eq!(outside, network::ADDRESSES[1].1);
}
