//! A peer whose machine starts anew in the middle of a conversation, or whose device is gone.

use crate::scene::{DOMAINS, Scene, run};
use crate::talking::{ask, echo};
use ntmobile_actors::library::{LookupError, Node};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::node::{ConnectError, NodeEvent};
use ntmobile_strategies::Choices;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(200);

/// Datagrams leave five times a second until one arrives; how long that takes.
async fn heard_after(scene: &Scene, alice: &Node, bob: &Node) -> Duration {
    let (to, from) = (bob.bind_udp(9).unwrap(), alice.bind_udp(0).unwrap());
    let heard = actix::spawn(async move { to.recv_from().await.map(drop).unwrap() });
    let began = scene.world.now();
    while !heard.is_finished() {
        from.send_to(b"ping", (bob.addresses().v6, 9).into()).unwrap();
        scene.world.clock().sleep(TICK).await;
    }
    scene.world.now() - began
}

/// In the open its new process says that it does not have the tunnel; behind a relay only silence does.
#[test]
fn a_peer_that_started_anew_is_heard_within_its_time_and_connections_go_on() {
    for (is_relayed, limit) in [(false, 12), (true, 22)] {
        run(Choices::default(), move |scene| async move {
            let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
            let place = if is_relayed { scene.nat("office") } else { scene.open() };
            let bob = scene.join("bob", DOMAINS[1], place).await.unwrap();
            echo(&bob, 7000);
            let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
            assert_eq!(ask(&mut stream, "before").await, "before");
            let mut events = bob.events();
            bob.restart();
            while !matches!(events.recv().await.unwrap(), NodeEvent::Joined { .. }) {}
            let took = heard_after(&scene, &alice, &bob).await;
            assert!(took <= Duration::from_secs(limit), "{took:?}, relayed: {is_relayed}");
            assert_eq!(ask(&mut stream, "after").await, "after");
        });
    }
}

#[test]
fn a_device_that_is_gone_ends_the_tunnel_and_whoever_looks_for_it_is_told() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "hello").await, "hello");
        let mut events = alice.events();
        scene.sim_host("bob.u2.example").crash();
        let from = alice.bind_udp(0).unwrap();
        let began = scene.world.now();
        let closed = actix::spawn(async move {
            loop {
                if let NodeEvent::TunnelClosed { reason, .. } = events.recv().await.unwrap() {
                    return reason;
                }
            }
        });
        while !closed.is_finished() {
            from.send_to(b"ping", (bob.addresses().v6, 9).into()).unwrap();
            scene.world.clock().sleep(TICK).await;
        }
        assert_eq!(closed.await.unwrap(), "peer silent");
        let took = scene.world.now() - began;
        assert!(took <= Duration::from_secs(21), "{took:?}");
        let error = alice.lookup("bob.u2.example").await.unwrap_err();
        let is_told =
            matches!(error, LookupError::Tunnel(ConnectError::PeerAsleep(_) | ConnectError::PeerNotRegistered(_)));
        assert!(is_told, "{error:?}");
    });
}
