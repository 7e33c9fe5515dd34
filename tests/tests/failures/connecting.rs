//! A tunnel that cannot be had.

use super::{
    ALICE, BOB, DC_CN, DC_MN, NATS, assert_connects, assert_within, both_joined, choices, connect_failure, seconds,
};
use ntmobile_proto::direction_coordinator::DirectionCoordinator;
use ntmobile_proto::direction_coordinator::OwnServer;
use ntmobile_proto::node::{ConnectError, Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{name, server};
use ntmobile_tests::network::{connect, coordinator_config, join, join_as, network, node_config, outcome, place_relay};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::message::RefusalCode;
use std::time::Duration;

#[test]
fn unknown_names_are_told_after_the_questions_that_show_it() {
    for peer in ["nobody.u1.example", "nobody.u2.example", "www.elsewhere.test", "u2.example"] {
        let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
        let (error, took) = connect_failure(&mut bench, peer, 1);
        assert_eq!(error, ConnectError::NoSuchName(name(peer)));
        assert_within(took, Duration::ZERO, peer);
    }
}

#[test]
fn a_node_that_has_not_joined_is_told_so_at_once() {
    let choices = Choices::default();
    let mut bench = network(1, &choices);
    let machine = ntmobile_tests::network::node(&mut bench, "alice@u1.example", &choices);
    bench.place(ALICE, machine, &["10.0.0.2"], None);
    bench.run_for(seconds(1.0));
    connect(&mut bench, ALICE, BOB, 1);
    let told = outcome(&mut bench, ALICE, 1);
    assert_eq!(told, Some(NodeEvent::ConnectFailed { waiter: 1, error: ConnectError::NotJoined }));
}

/// Bob's device is off. For a minute his DC does not know, and tries to reach him; then it says so.
#[test]
fn the_peer_is_off() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.set_up(BOB, false);
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::PeerAsleep(name(BOB)));
    assert_within(took, seconds(13.5), "off, still registered");
    let (error, took) = connect_failure(&mut bench, BOB, 2);
    assert_eq!(error, ConnectError::PeerNotRegistered(name(BOB)));
    assert_within(took, Duration::ZERO, "off, registration run out");
}

/// Bob waits at his NS and his connection there is gone.
#[test]
fn the_sleeping_peer_is_not_connected_any_more() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = both_joined(&choices, [NATS[0], None]);
    bench.break_streams(BOB);
    bench.set_up(BOB, false);
    bench.run_for(seconds(1.0));
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::PeerAsleep(name(BOB)));
    assert_within(took, Duration::ZERO, "connection gone");
}

/// His connection seems to stand, but he does not answer on it.
#[test]
fn the_sleeping_peer_does_not_wake() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = both_joined(&choices, [NATS[0], None]);
    bench.set_up(BOB, false);
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::PeerAsleep(name(BOB)));
    assert_within(took, seconds(8.0), "does not wake");
}

/// He was woken and acknowledged, but what waits for him is not fetched.
#[test]
fn the_woken_peer_fetches_nothing() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = both_joined(&choices, [NATS[0], None]);
    bench.sever(BOB, DC_CN);
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::PeerAsleep(name(BOB)));
    assert_within(took, seconds(15.0), "fetches nothing");
}

#[test]
fn the_notification_server_of_the_peer_is_down() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = both_joined(&choices, [NATS[0], None]);
    bench.set_up("ns.u2.example", false);
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::PeerAsleep(name(BOB)));
    assert_within(took, seconds(15.0), "NS of CN down");
}

/// The own DC is down: a keepalive finds out long before the request itself is given up.
#[test]
fn the_own_coordinator_is_down() {
    for reachability in ["udp-keepalive", "tcp-ns"] {
        let choices = choices(&[(Kind::Reachability, reachability)]);
        let mut bench = both_joined(&choices, [NATS[0], None]);
        bench.set_up(DC_MN, false);
        let (error, took) = connect_failure(&mut bench, BOB, 1);
        assert!(
            matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains("u1.example")),
            "{error:?}"
        );
        assert_within(took, seconds(3.0 + 13.5), reachability);
    }
}

#[test]
fn the_coordinator_of_the_peer_is_down() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.set_up(DC_CN, false);
    for (waiter, what) in [(1, "DC_CN down, no key shared"), (2, "and again")] {
        let (error, took) = connect_failure(&mut bench, BOB, waiter);
        assert!(matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains(DC_CN)), "{error:?}");
        assert_within(took, seconds(10.0), what);
    }
}

/// With a key from earlier contact, the DCs speak under it first, then make a new one, then give up.
#[test]
fn the_coordinator_of_the_peer_goes_down_after_earlier_contact() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    assert_connects(&mut bench, 1);
    bench.run_for(seconds(400.0));
    bench.set_up(DC_CN, false);
    let (error, took) = connect_failure(&mut bench, BOB, 2);
    assert!(matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains(DC_CN)), "{error:?}");
    assert_within(took, seconds(12.6 + 10.0), "DC_CN down, key shared");
}

#[test]
fn dns_is_missing() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.dns_is_up = false;
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert!(matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains("DNS")), "{error:?}");
    assert_within(took, seconds(15.0), "DNS missing");
}

#[test]
fn every_relay_is_down() {
    // The own one, and the other DC's in its stead. One that is silent under a key that it may have lost is asked once more under
    // another.
    for (known, documented) in [(false, 10.0 + 10.0), (true, 12.6 + 10.0 + 10.0)] {
        let mut bench = both_joined(&Choices::default(), NATS);
        if known {
            assert_connects(&mut bench, 1);
            bench.run_for(seconds(400.0));
        }
        for relay in ["rs.u1.example", "rs.u2.example"] {
            bench.set_up(relay, false);
        }
        let (error, took) = connect_failure(&mut bench, BOB, 2);
        assert_eq!(error, ConnectError::NoRelay);
        assert_within(took, seconds(documented), "every RS down");
    }
}

/// A second relay takes over; from then on it is asked first, until the other has had time to come back.
#[test]
fn the_next_relay_is_tried() {
    let choices = Choices::default();
    let mut bench = network(1, &choices);
    let mut config = coordinator_config(0, &choices);
    let second = server("rs2.u1.example", "192.0.2.23");
    config.relays.push(OwnServer {
        name: second.name,
        signalling: second.signalling,
        tls: second.tls,
        notification: DualStack::default(),
    });
    place_relay(&mut bench, "rs2.u1.example", "192.0.2.23");
    let machine = DirectionCoordinator::new(config, bench.entropy());
    bench.place(DC_MN, machine, &["192.0.2.11"], None);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    join(&mut bench, "bob@u2.example", &choices, "10.0.0.3", NATS[1]);
    join(&mut bench, "carol@u2.example", &choices, "10.0.0.4", Some("198.51.100.3"));
    bench.run_for(seconds(2.0));
    bench.set_up("rs.u1.example", false);
    for (waiter, peer, documented) in [(1, BOB, 10.0), (2, "carol.u2.example", 0.0)] {
        let started = bench.now;
        connect(&mut bench, ALICE, peer, waiter);
        bench.run_for(seconds(14.0));
        let events = &bench.at::<Node>(ALICE).events;
        let (at, relay) = events
            .iter()
            .find_map(|(at, event)| match event {
                NodeEvent::Connected { waiter: who, connection } if *who == waiter => {
                    Some((*at, connection.relay.clone()))
                }
                _ => None,
            })
            .expect("connected through the second relay");
        assert_eq!(relay, Some(name("rs2.u1.example")));
        assert!(at.since(started) <= seconds(documented) + seconds(0.5), "{peer}: {:?}", at.since(started));
    }
}

/// The RS answers its DC, but CN cannot reach it: CN says so, and the DC takes that relay for failed.
#[test]
fn the_called_end_cannot_reach_the_relay() {
    let mut bench = both_joined(&Choices::default(), NATS);
    bench.sever(BOB, "rs.u1.example");
    let mut other = both_joined(&Choices::default(), NATS);
    other.sever(BOB, "rs.u1.example");
    other.sever(BOB, "rs.u2.example");
    // The one that its own DC lends it can reach.
    connect(&mut bench, ALICE, BOB, 1);
    bench.run_for(seconds(6.9 + 0.5));
    let told = outcome(&mut bench, ALICE, 1);
    let relay = name("rs.u2.example");
    assert!(
        matches!(&told, Some(NodeEvent::Connected { connection, .. }) if connection.relay == Some(relay)),
        "{told:?}"
    );
    let (error, took) = connect_failure(&mut other, BOB, 1);
    assert_eq!(error, ConnectError::NoRelay);
    assert_within(took, seconds(6.9 + 6.9 + 0.1), "CN cannot reach any RS");
}

/// The RS answers its DC and CN, but MN cannot reach it.
#[test]
fn the_starting_end_cannot_reach_the_relay() {
    let mut bench = both_joined(&Choices::default(), NATS);
    bench.sever(ALICE, "rs.u1.example");
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert_eq!(error, ConnectError::TimedOut { step: "Tunnel Request" });
    assert_within(took, seconds(13.5), "MN cannot reach the RS");
}

/// A direct path that does not carry anything costs its own patience before the relay is asked for, whoever sends.
#[test]
fn a_dead_direct_path_falls_back_to_the_relay() {
    for (nats, documented) in [([NATS[0], None], 4.9), ([None, NATS[1]], 5.0)] {
        let mut bench = both_joined(&Choices::default(), nats);
        bench.sever(ALICE, BOB);
        let started = bench.now;
        connect(&mut bench, ALICE, BOB, 1);
        bench.run_for(seconds(10.0));
        let events = &bench.at::<Node>(ALICE).events;
        let connected = events.iter().find_map(|(at, event)| match event {
            NodeEvent::Connected { connection, .. } => Some((*at, connection.relay.clone())),
            _ => None,
        });
        let (at, relay) = connected.expect("connected");
        assert_eq!(relay, Some(name("rs.u1.example")));
        assert!(at.since(started) < seconds(documented) + seconds(0.7), "{:?}", at.since(started));
    }
}

/// The own registration is lost while the application waits: it is told why, and not left waiting.
#[test]
fn a_node_that_moves_where_its_coordinator_is_not_tells_who_waits() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.set_up(DC_MN, false);
    bench.move_to(ALICE, &["10.7.0.1"], Some("198.51.100.71"));
    bench.run_for(seconds(1.0));
    let (error, took) = connect_failure(&mut bench, BOB, 1);
    assert!(matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains("Coordinator")), "{error:?}");
    assert_within(took, seconds(30.5), "no registration");
}

/// K_ntmdc ends while nobody can give a new one. Until then everything works; then the application is told.
#[test]
fn the_key_expires_while_no_new_one_is_to_be_had() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    bench.set_up("as.example", false);
    bench.run_for(seconds(23.9 * 3_600.0));
    assert_connects(&mut bench, 1);
    bench.run_for(seconds(0.2 * 3_600.0));
    let events = &bench.at::<Node>(ALICE).events;
    let lost = events.iter().filter(|(_, event)| matches!(event, NodeEvent::RegistrationLost(_))).count();
    assert!(lost >= 1, "the application is told that the node is out");
    let (error, took) = connect_failure(&mut bench, BOB, 2);
    assert!(
        matches!(&error, ConnectError::ServerUnreachable(detail) if detail.contains("Account Server")),
        "{error:?}"
    );
    assert!(took <= seconds(15.0), "{took:?}");
    bench.set_up("as.example", true);
    bench.run_for(seconds(30.0));
    assert_connects(&mut bench, 3);
}

/// Bob may have one tunnel, and Carol has it.
#[test]
fn the_peer_has_as_many_tunnels_as_it_may() {
    let choices = Choices::default();
    let mut bench = network(1, &choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    join(&mut bench, "carol@u1.example", &choices, "10.0.0.4", Some("198.51.100.3"));
    let mut config = node_config("bob@u2.example", &choices, "right");
    config.tunnels = 1;
    let machine = Node::new(config, bench.entropy());
    bench.passwords.insert("bob@u2.example".to_owned(), "right".to_owned());
    join_as(&mut bench, machine, "bob@u2.example", "203.0.113.5", None);
    bench.run_for(seconds(2.0));
    connect(&mut bench, "carol.u1.example", BOB, 1);
    bench.run_for(seconds(2.0));
    let told = outcome(&mut bench, "carol.u1.example", 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?}");
    let (error, took) = connect_failure(&mut bench, BOB, 2);
    let overloaded = matches!(&error, ConnectError::Refused(refusal) if refusal.code == RefusalCode::Overloaded);
    assert!(overloaded, "{error:?}");
    assert_within(took, Duration::ZERO, "the peer is full");
}

/// Alice has moved, and Bob's DC, which has a key with hers, is down: the old tunnel ends when the new one is given up.
#[test]
fn a_tunnel_ends_when_none_is_to_be_had_after_a_move() {
    let mut bench = both_joined(&Choices::default(), [NATS[0], None]);
    assert_connects(&mut bench, 1);
    bench.set_up(DC_CN, false);
    bench.move_to(ALICE, &["10.7.0.1"], Some("198.51.100.71"));
    let moved = bench.now;
    bench.run_for(seconds(60.0));
    let events = &bench.at::<Node>(ALICE).events;
    let closed: Vec<_> = events
        .iter()
        .filter_map(|(at, event)| match event {
            NodeEvent::TunnelClosed { reason, .. } => Some((*reason, at.since(moved))),
            _ => None,
        })
        .collect();
    let [("handover failed", took)] = closed[..] else { panic!("{closed:?} {:?}", bench.counters) };
    assert_within(took, seconds(22.6), "no tunnel after the move");
}
