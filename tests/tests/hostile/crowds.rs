//! Crowds: one DC, or one node, asks for more than there is room for, and the others have their share all the same.

use super::BOB;
use ntmobile_proto::direction_coordinator::{DirectionCoordinator, DirectionCoordinatorConfig};
use ntmobile_proto::node::{ConnectError, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{connect, coordinator_config, join, network, outcome};
use ntmobile_wire::message::{Refusal, RefusalCode};
use std::time::Duration;

/// The DC of the second domain with these bounds; it reaches its nodes by `reachability`. Alice and many more of the first domain
/// ask for Bob, who is there no more, one after the other. Then Carol of the second asks for Bob's neighbour, or for him.
fn crowd_asks_for_bob(reachability: &str, limits: impl Fn(&mut DirectionCoordinatorConfig)) -> Bench {
    let mut choices = Choices::default();
    choices.set(Kind::Reachability, reachability);
    let mut bench = network(53, &choices);
    let mut config = coordinator_config(1, &choices);
    limits(&mut config);
    let machine = DirectionCoordinator::new(config, bench.entropy());
    bench.place("dc.u2.example", machine, &["192.0.2.12"], None);
    for (number, who) in ["bob", "carol", "dave"].into_iter().enumerate() {
        join(&mut bench, &format!("{who}@u2.example"), &choices, &format!("203.0.113.{}", 5 + number), None);
    }
    for number in 0..12 {
        join(&mut bench, &format!("a{number}@u1.example"), &choices, &format!("203.0.114.{number}"), None);
    }
    bench.run_for(Duration::from_secs(2));
    bench.set_up(BOB, false);
    for number in 0..12 {
        connect(&mut bench, &format!("a{number}.u1.example"), BOB, 1);
        bench.run_for(Duration::from_millis(100));
    }
    bench
}

/// How many of the crowd have been told that there is no room.
fn refused_as_overloaded(bench: &mut Bench) -> usize {
    let told: Vec<_> = (0..12).map(|number| outcome(bench, &format!("a{number}.u1.example"), 1)).collect();
    let overloaded =
        |error: &ConnectError| matches!(error, ConnectError::Refused(Refusal { code: RefusalCode::Overloaded, .. }));
    told.iter()
        .flatten()
        .filter(|told| matches!(told, NodeEvent::ConnectFailed { error, .. } if overloaded(error)))
        .count()
}

#[test]
fn one_coordinator_cannot_take_the_places_of_all_others_on_the_way_to_nodes() {
    let mut bench = crowd_asks_for_bob("udp-keepalive", |config| config.deliveries = 8);
    assert_eq!((bench.sizes("dc.u2.example").of("deliveries"), refused_as_overloaded(&mut bench)), (8, 4));
    connect(&mut bench, "carol.u2.example", "dave.u2.example", 1);
    bench.run_for(Duration::from_secs(1));
    let told = outcome(&mut bench, "carol.u2.example", 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?}");
    assert_eq!(refused_as_overloaded(&mut bench), 5, "the newest of those who had the most gave way");
    bench.run_for(Duration::from_secs(30));
    assert_eq!(bench.sizes("dc.u2.example").of("deliveries"), 0);
}

#[test]
fn one_coordinator_cannot_take_the_places_of_all_others_at_a_node_that_sleeps() {
    let mut bench = crowd_asks_for_bob("tcp-ns", |config| config.waiting = 4);
    assert_eq!((bench.sizes("dc.u2.example").of("deliveries"), refused_as_overloaded(&mut bench)), (4, 8));
    connect(&mut bench, "carol.u2.example", BOB, 1);
    bench.run_for(Duration::from_secs(1));
    assert_eq!(outcome(&mut bench, "carol.u2.example", 1), None, "she waits for him to wake");
    assert_eq!(refused_as_overloaded(&mut bench), 9);
    bench.run_for(Duration::from_secs(30));
    let told = outcome(&mut bench, "carol.u2.example", 1);
    assert!(matches!(told, Some(NodeEvent::ConnectFailed { error: ConnectError::PeerAsleep(_), .. })), "{told:?}");
    assert_eq!(bench.sizes("dc.u2.example").of("deliveries"), 0);
}

/// Carol asks for many nodes of a domain whose DC is gone. Dave still gets his tunnel.
#[test]
fn one_node_cannot_take_the_places_of_all_others_at_its_coordinator() {
    let mut bench = crowd_asks_for_bob("udp-keepalive", |config| config.directions = 6);
    bench.set_up("dc.u1.example", false);
    for number in 0..12 {
        connect(&mut bench, "carol.u2.example", &format!("x{number}.u1.example"), number);
    }
    bench.run_for(Duration::from_secs(1));
    assert_eq!(bench.sizes("dc.u2.example").of("directions"), 6);
    bench.set_up(BOB, true);
    connect(&mut bench, "dave.u2.example", "carol.u2.example", 1);
    bench.run_for(Duration::from_secs(1));
    let told = outcome(&mut bench, "dave.u2.example", 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?}");
    bench.run_for(Duration::from_secs(60));
    assert_eq!(bench.sizes("dc.u2.example").of("directions"), 0);
}
