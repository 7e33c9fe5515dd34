//! Whoever is restarted in the middle of everything: the others hardly notice, what was acknowledged still holds, no nonce
//! repeats, and what was captured before is of no use to anybody. On the bench.

use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Dice, name};
use ntmobile_tests::load::{Load, NODES};
use ntmobile_tests::malice::{self, refused};
use ntmobile_tests::network::{connect, coordinator, forward_packets, join, network, outcome, relay_server};
use ntmobile_tests::nonces::Nonces;
use ntmobile_wire::datagram::Header;
use std::time::Duration;

/// One of each kind, and whose word the others take.
const ENTITIES: [&str; 7] = [
    "as.example",
    "dc.u1.example",
    "dc.u2.example",
    "rs.u1.example",
    "ns.u2.example",
    "bob.u2.example",
    "dave.u2.example",
];

fn nonces(bench: &Bench) -> Nonces {
    Nonces::of(bench.crossed.iter(), bench.stream_bytes.iter())
}

/// A load with `who` restarted after `after`, in the middle of half a second in which much happens.
fn restarted(who: &str, after: Duration, loses_store: bool, choices: &Choices) -> Load {
    let mut load = Load::new(7, choices);
    for _ in 0..8 {
        load.go_on();
    }
    load.bench.run_for(after);
    if loses_store {
        load.bench.lose_store(who);
    }
    load.restart(who);
    load
}

#[test]
fn whoever_starts_again_on_its_store_goes_on_and_no_nonce_repeats() {
    for (number, who) in (0..).zip(ENTITIES) {
        let choices = Choices::default();
        let mut load = restarted(who, Duration::from_millis(17 + 61 * number), false, &choices);
        let addresses = load.addresses();
        for _ in 0..40 {
            load.go_on();
        }
        load.bench.run_for(Duration::from_secs(60));
        load.assert_all_connected(who);
        load.assert_all_talk(who);
        let after = load.addresses();
        for (node, address) in &addresses {
            assert_eq!(after.get(node), Some(address), "{who}: {node} has kept its addresses");
        }
        // One login or Key Sharing may have been cut in two.
        let (logins, nodes) = (load.bench.count("node.logged_in"), after.len() as u64);
        assert!(logins <= nodes + 1, "{who}: nobody logs in again, {logins} logins of {nodes}");
        let shared = load.bench.count("relay.key_shared") + load.bench.count("notification.key_shared");
        assert!(shared <= 5, "{who}: no key is shared again, {shared}");
        let used = nonces(&load.bench);
        assert!(used.signalling > 400 && used.packets > 500, "{who}: {} {}", used.signalling, used.packets);
        assert_eq!(used.repeated, [], "{who}");
    }
}

/// Everything acknowledged, and every tunnel.
fn state_and_tunnels(bench: &mut Bench) -> Vec<String> {
    let mut state = malice::state(bench);
    for (account, ..) in NODES {
        let node = account.replacen('@', ".", 1);
        for tunnel in bench.at::<Node>(&node).machine.tunnels().tunnels() {
            state.push(format!("{node} {:?} {}", tunnel.settings(), tunnel.next_hop()));
        }
    }
    state
}

/// Who says what to whom within a minute of peace.
fn said_in_a_minute(bench: &mut Bench) -> Vec<(String, String, Option<u8>)> {
    let before = bench.crossed.len();
    bench.run_for(Duration::from_secs(60));
    let kind = |bytes| Header::parse(bytes).ok().map(|header| header.kind);
    let mut said: Vec<_> =
        bench.crossed[before..].iter().map(|c| (c.from.to_string(), c.to.to_string(), kind(&c.bytes))).collect();
    said.sort();
    said
}

/// Lets a minute and more pass in which nobody asks for anything, so that what is captured is old. The peers of a node that has
/// started again notice that while they talk to it.
fn settle(load: &mut Load, who: &str) {
    let is_node = NODES.iter().any(|(account, ..)| account.replacen('@', ".", 1) == who);
    for _ in 0..if is_node { 120 } else { 4 } {
        load.go_on();
    }
    load.bench.run_for(Duration::from_secs(90));
}

#[test]
fn an_old_capture_is_of_no_use_after_a_restart_and_every_message_of_it_is_counted() {
    for (number, who) in (0..).zip(ENTITIES) {
        let after = Duration::from_millis(17 + 61 * number);
        let mut peaceful = restarted(who, after, false, &Choices::default());
        settle(&mut peaceful, who);
        peaceful.bench.run_for(Duration::from_secs(15));
        let mut load = restarted(who, after, false, &Choices::default());
        settle(&mut load, who);
        let bench = &mut load.bench;
        let before = state_and_tunnels(bench);
        // What is still on its way is not old.
        let old = bench.now.minus(Duration::from_secs(1));
        let captured: Vec<_> = bench.crossed.iter().filter(|crossed| crossed.at < old).cloned().collect();
        let streams = bench.stream_bytes.clone();
        let hosts = bench.hosts();
        for crossed in captured.iter().filter(|crossed| crossed.bytes.len() > 1) {
            let from = bench.seen_at(&crossed.from);
            for host in &hosts {
                let (counted, forwarded) = (refused(bench), bench.count("relay.packet_forwarded"));
                bench.arrive(host.as_str(), from, crossed.bytes.clone());
                bench.run_for(Duration::ZERO);
                // A relay cannot tell: it passes packets on from where they were proved to come, and the end refuses them.
                let is_passed_on = bench.count("relay.packet_forwarded") > forwarded;
                let kind = Header::parse(&crossed.bytes).map(|header| header.kind);
                assert!(refused(bench) > counted || is_passed_on, "{who}: {kind:?} to {} at {host}", crossed.to);
            }
        }
        for notifier in ["ns.u1.example", "ns.u2.example"] {
            let stranger = bench.open_stream(notifier, "192.0.2.66:50000".parse().expect("an address"));
            for crossed in streams.iter().filter(|crossed| crossed.to == name(notifier)) {
                let counted = refused(bench);
                bench.inject_on_stream(notifier, stranger, crossed.bytes.clone());
                bench.run_for(Duration::ZERO);
                assert!(refused(bench) > counted, "{who}: a message on a stream to {notifier}");
            }
        }
        bench.run_for(Duration::from_secs(15));
        malice::assert_unchanged(&before, &state_and_tunnels(bench), who);
        assert_eq!(said_in_a_minute(bench), said_in_a_minute(&mut peaceful.bench), "{who}");
        assert_eq!(nonces(bench).repeated, [], "{who}");
        load.assert_all_talk(who);
    }
}

/// Keys and relays are made anew; only of a DC's allotments nobody else knows.
#[test]
fn whoever_has_lost_its_store_serves_everybody_again() {
    for (number, who) in (0..).zip(ENTITIES) {
        let mut load = restarted(who, Duration::from_millis(31 + 47 * number), true, &Choices::default());
        if who.starts_with("dc") {
            // Nobody knows any more which addresses it had allotted: tunnels are made anew. Its sleeping nodes notice within
            // the hour.
            load.bench.run_for(Duration::from_secs(3_700));
            load.ask_all();
        } else {
            for _ in 0..180 {
                load.go_on();
            }
        }
        load.bench.run_for(Duration::from_secs(60));
        load.assert_all_talk(who);
        assert_eq!(nonces(&load.bench).repeated, [], "{who}");
    }
}

/// A DC that has lost its store allots addresses in the order in which its nodes come back. Those who get others are told.
#[test]
fn a_node_whose_coordinator_has_forgotten_its_addresses_is_told() {
    let choices = Choices::default();
    let mut bench = network(6, &choices);
    for (number, who) in ["alice", "carol"].into_iter().enumerate() {
        join(&mut bench, &format!("{who}@u1.example"), &choices, &format!("203.0.113.{number}"), None);
        bench.run_for(Duration::from_secs(2));
    }
    let told = |bench: &mut Bench, who: &str| -> Vec<NodeEvent> {
        let events = &bench.at::<Node>(who).events;
        let changes = events.iter().filter(|(_, event)| matches!(event, NodeEvent::AddressesChanged { .. }));
        changes.map(|(_, event)| event.clone()).collect()
    };
    bench.set_up("alice.u1.example", false);
    for lost in [false, true] {
        if lost {
            bench.lose_store("dc.u1.example");
        }
        let machine = coordinator(&mut bench, 0, &choices);
        bench.restart("dc.u1.example", machine);
        bench.run_for(Duration::from_secs(120));
        assert_eq!(told(&mut bench, "carol.u1.example").len(), usize::from(lost), "{:?}", bench.counters);
    }
    let carol = told(&mut bench, "carol.u1.example");
    let [NodeEvent::AddressesChanged { before, now }] = &carol[..] else { panic!("{carol:?}") };
    assert_ne!((before.v4, before.v6), (now.v4, now.v6));
}

/// The suite would notice: a server whose session is not drawn anew repeats the nonces of its earlier life.
#[test]
fn a_server_that_begins_its_old_session_again_is_found_out() {
    let choices = Choices::default();
    let mut bench = network(3, &choices);
    let relay = "rs.u1.example";
    for _ in 0..2 {
        let machine = RelayServer::new(RelayServerConfig::new(name(relay)), &mut Dice(5));
        bench.restart(relay, machine);
        forward_packets(&mut bench, relay);
        let turn = bench.hosts().len();
        join(
            &mut bench,
            &format!("a{turn}@u1.example"),
            &choices,
            &format!("10.0.0.{turn}"),
            Some(&format!("198.51.100.{turn}")),
        );
        join(
            &mut bench,
            &format!("b{turn}@u2.example"),
            &choices,
            &format!("10.0.1.{turn}"),
            Some(&format!("198.51.101.{turn}")),
        );
        bench.run_for(Duration::from_secs(2));
        connect(&mut bench, &format!("a{turn}.u1.example"), &format!("b{turn}.u2.example"), 1);
        bench.run_for(Duration::from_secs(5));
    }
    let repeated = nonces(&bench).repeated;
    assert!(!repeated.is_empty() && repeated.iter().all(|r| r.senders == [name(relay), name(relay)]), "{repeated:?}");
}

/// A sleeping node speaks to its DC once an hour: a DC that starts again must know it until then.
#[test]
fn a_sleeping_node_can_be_called_as_soon_as_its_coordinator_has_started_again() {
    let mut choices = Choices::default();
    choices.set(Kind::Reachability, "tcp-ns");
    let mut bench = network(4, &choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", &choices, "10.0.0.3", Some("198.51.100.2"));
    bench.run_for(Duration::from_secs(30));
    for (turn, dc) in (0..).zip(["dc.u2.example", "dc.u1.example"]) {
        let machine = coordinator(&mut bench, 1 - turn, &choices);
        bench.restart(dc, machine);
        bench.run_for(Duration::from_secs(1));
        connect(&mut bench, "alice.u1.example", "bob.u2.example", turn as u64);
        bench.run_for(Duration::from_secs(3));
        let told = outcome(&mut bench, "alice.u1.example", turn as u64);
        assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{dc}: {told:?} {:?}", bench.counters);
    }
}

/// The only relay has forgotten its key with the DC: the DC makes another and goes on.
#[test]
fn a_relay_that_has_forgotten_its_key_is_asked_again_under_another() {
    let choices = Choices::default();
    let mut bench = network(5, &choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", &choices, "10.0.0.3", Some("198.51.100.2"));
    join(&mut bench, "carol@u1.example", &choices, "10.0.0.4", Some("198.51.100.3"));
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, "alice.u1.example", "bob.u2.example", 1);
    bench.run_for(Duration::from_secs(2));
    bench.lose_store("rs.u1.example");
    let machine = relay_server(&mut bench, "rs.u1.example");
    bench.restart("rs.u1.example", machine);
    forward_packets(&mut bench, "rs.u1.example");
    connect(&mut bench, "carol.u1.example", "bob.u2.example", 2);
    bench.run_for(Duration::from_secs(15));
    let told = outcome(&mut bench, "carol.u1.example", 2);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {:?}", bench.counters);
}
