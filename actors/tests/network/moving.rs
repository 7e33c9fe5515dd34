//! Devices that move, and machines that start anew, while their applications' connections go on.

use crate::scene::{DOMAINS, run};
use crate::talking::{ask, echo};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::node::NodeEvent;
use ntmobile_strategies::{Choices, Kind};
use std::time::Duration;

#[test]
fn a_connection_survives_the_moves_of_both_ends() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "at home").await, "at home");
        scene.move_host("alice.u1.example", scene.nat("train"));
        assert_eq!(ask(&mut stream, "on the train").await, "on the train");
        scene.move_host("bob.u2.example", scene.nat("office"));
        assert_eq!(ask(&mut stream, "both behind NATs now").await, "both behind NATs now");
        assert!(alice.lookup("bob.u2.example").await.unwrap().relay.is_some());
    });
}

#[test]
fn a_machine_that_starts_anew_joins_again_and_its_applications_go_on() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "before").await, "before");
        let mut events = alice.events();
        alice.restart();
        while !matches!(events.recv().await.unwrap(), NodeEvent::Joined { .. }) {}
        assert_eq!(ask(&mut stream, "after").await, "after", "packets have the tunnel built again");
    });
}

#[test]
fn an_idle_node_with_a_notification_server_is_woken() {
    let mut choices = Choices::default();
    choices.set(Kind::Reachability, "tcp-ns");
    run(choices, |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
        echo(&bob, 7000);
        // The NATs have long forgotten both nodes' UDP mappings.
        scene.world.clock().sleep(Duration::from_secs(600)).await;
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "wake up").await, "wake up");
    });
}
