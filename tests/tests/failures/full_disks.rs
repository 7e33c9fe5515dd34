//! A server whose disk is full: whoever needs something new of it is told so, whoever has what it needs goes on.

use super::{
    ALICE, BOB, DC_CN, DC_MN, NATS, assert_connects, assert_within, both_joined, choices, connect_failure,
    join_failure, seconds,
};
use ntmobile_proto::direction_coordinator::DirectionCoordinator;
use ntmobile_proto::node::{ConnectError, JoinError, Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{connect, coordinator_config, join, joined, network, outcome};
use std::time::Duration;

const CAROL: &str = "carol.u1.example";

/// Carol tries to join and is told that somebody has no room.
fn carol_finds_no_room(bench: &mut Bench, choices: &Choices) {
    join(bench, "carol@u1.example", choices, "10.0.0.9", Some("198.51.100.9"));
    let (error, took) = join_failure(bench, CAROL);
    let told = matches!(&error, JoinError::StorageFailed(detail) if detail.contains(DC_MN) && detail.contains("full"));
    assert!(told, "{error:?}");
    assert_within(took, Duration::ZERO, "disk full");
}

/// The DC has no room for a key: the login is refused, and nothing of it is left that a restart would not leave.
#[test]
fn nobody_new_joins_a_coordinator_without_room() {
    for login in ["via-as", "via-dc"] {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = both_joined(&choices, [NATS[0], None]);
        let stored = bench.stored(DC_MN);
        bench.set_disk_full(DC_MN, true);
        carol_finds_no_room(&mut bench, &choices);
        assert_eq!(bench.stored(DC_MN), stored);
        // She is no node yet, not one that happens to be off.
        let (error, _) = connect_failure(&mut bench, CAROL, 1);
        assert_eq!(error, ConnectError::NoSuchName(name(CAROL)));
        assert_connects(&mut bench, 2);

        bench.set_disk_full(DC_MN, false);
        bench.command::<Node>(CAROL, NodeCommand::Join);
        bench.run_for(seconds(2.0));
        assert!(joined(&mut bench, CAROL), "{login}: {:?}", bench.counters);
    }
}

/// The key was stored, then the disk filled up: there is no room for the address.
#[test]
fn an_address_that_cannot_be_stored_is_not_given_out() {
    let choices = Choices::default();
    let mut bench = network(1, &choices);
    bench.run_for(Duration::ZERO);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    bench.run_for(Duration::from_millis(120));
    assert_eq!(bench.count("account.logged_in"), 1);
    bench.set_disk_full(DC_MN, true);
    let (error, took) = join_failure(&mut bench, ALICE);
    assert!(matches!(&error, JoinError::StorageFailed(detail) if detail.contains("full")), "{error:?}");
    assert_within(took, Duration::ZERO, "disk full at registration");
    bench.set_disk_full(DC_MN, false);
    bench.command::<Node>(ALICE, NodeCommand::Join);
    bench.run_for(seconds(2.0));
    assert!(joined(&mut bench, ALICE), "{:?}", bench.counters);
}

/// What a DC shares itself it may share again after a restart; so its own full disk keeps it from nothing.
#[test]
fn a_coordinator_without_room_directs_its_nodes_all_the_same() {
    let mut bench = both_joined(&Choices::default(), NATS);
    bench.set_disk_full(DC_MN, true);
    assert_connects(&mut bench, 1);
}

#[test]
fn a_peers_coordinator_without_room_shares_no_new_key_and_keeps_the_old_ones() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.set_disk_full(DC_CN, true);
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert!(matches!(&error, ConnectError::StorageFailed(detail) if detail.contains(DC_CN)), "{error:?}");
    assert_within(took, Duration::ZERO, "DC_CN full, no key shared");
    bench.set_disk_full(DC_CN, false);
    assert_connects(&mut bench, 2);
    bench.run_for(seconds(400.0));
    bench.set_disk_full(DC_CN, true);
    assert_connects(&mut bench, 3);
}

/// What was refused is used by neither end: the DC that refused makes a key of its own when it needs one.
#[test]
fn a_key_that_was_refused_for_want_of_room_is_not_spoken_under() {
    let mut bench = both_joined(&Choices::default(), [None, NATS[1]]);
    bench.set_disk_full(DC_CN, true);
    connect_failure(&mut bench, BOB, 1);
    connect(&mut bench, BOB, ALICE, 1);
    bench.run_for(seconds(3.0));
    let told = outcome(&mut bench, BOB, 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?}");
}

#[test]
fn a_relay_without_room_takes_no_new_tunnel() {
    let mut bench = both_joined(&Choices::default(), NATS);
    assert_connects(&mut bench, 1);
    for relay in ["rs.u1.example", "rs.u2.example"] {
        bench.set_disk_full(relay, true);
    }
    join(&mut bench, "carol@u2.example", &Choices::default(), "10.0.0.4", Some("198.51.100.3"));
    bench.run_for(seconds(2.0));
    let (error, took) = connect_failure(&mut bench, "carol.u2.example", 2);
    assert_eq!(error, ConnectError::NoRelay);
    assert_within(took, Duration::ZERO, "RS full");
    bench.set_disk_full("rs.u1.example", false);
    connect(&mut bench, ALICE, "carol.u2.example", 3);
    bench.run_for(seconds(3.0));
    let told = outcome(&mut bench, ALICE, 3);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?}");
}

#[test]
fn a_notification_server_without_room_takes_no_new_node() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = both_joined(&choices, [NATS[0], None]);
    bench.set_disk_full("ns.u1.example", true);
    join(&mut bench, "carol@u1.example", &choices, "10.0.0.9", Some("198.51.100.9"));
    let (error, took) = join_failure(&mut bench, CAROL);
    assert!(matches!(error, JoinError::NotificationServerUnreachable(_)), "{error:?}");
    assert_within(took, Duration::ZERO, "NS full");
    assert_connects(&mut bench, 1);
}

/// Started again while the disk is still full, the DC knows its nodes by what it had acknowledged.
#[test]
fn a_coordinator_that_starts_again_without_room_knows_its_nodes() {
    let choices = Choices::default();
    let mut bench = both_joined(&choices, [NATS[0], None]);
    let before = bench.at::<Node>(ALICE).events.clone();
    bench.set_disk_full(DC_MN, true);
    let machine = DirectionCoordinator::new(coordinator_config(0, &choices), bench.entropy());
    bench.restart(DC_MN, machine);
    bench.run_for(seconds(60.0));
    assert_connects(&mut bench, 1);
    let told = &bench.at::<Node>(ALICE).events[before.len()..];
    let lost = told.iter().any(|(_, event)| matches!(event, NodeEvent::RegistrationLost(_)));
    assert!(!lost, "{told:?}");
}
