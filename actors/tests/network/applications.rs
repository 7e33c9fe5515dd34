//! Several applications: on one device, towards one peer, from both ends at once, and under colliding addresses.

use crate::scene::{DOMAINS, Scene, name, run};
use crate::talking::{ask, echo};
use futures::future::join_all;
use ntmobile_actors::library::{Node, Password, VirtualUdpSocket};
use ntmobile_proto::node::NodeEvent;
use ntmobile_strategies::Choices;
use ntmobile_wire::identifier::ApplicationId;

/// The first `count` applications of a device that is in the open.
async fn applications(scene: &Scene, user: &str, domain: &str, count: u32) -> Vec<Node> {
    let device = scene.device(&format!("{user}.{domain}"), scene.open());
    let mut nodes = Vec::new();
    for application in 0..count {
        let (account, password) = (format!("{user}@{domain}"), Password::new(user));
        nodes.push(Node::join_as(&device, ApplicationId(application), &account, password).await.unwrap());
    }
    nodes
}

/// Answers datagrams with `word`.
fn answer(socket: VirtualUdpSocket, word: &'static str) {
    actix::spawn(async move {
        while let Ok(received) = socket.recv_from().await {
            socket.send_to(word.as_bytes(), received.from).unwrap();
        }
    });
}

#[test]
fn applications_of_one_device_share_its_name_and_talk_each_for_itself() {
    run(Choices::default(), |scene| async move {
        let alice = applications(&scene, "alice", DOMAINS[0], 3).await;
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        assert!(alice.iter().all(|node| node.name() == alice[0].name() && node.addresses() == alice[0].addresses()));
        let mut streams = join_all(alice.iter().map(|node| node.connect("bob.u2.example:7000"))).await;
        for round in ["one", "two"] {
            let texts: Vec<String> = (0..alice.len()).map(|number| format!("{round} {number}")).collect();
            let asked = streams.iter_mut().zip(&texts).map(|(stream, text)| ask(stream.as_mut().unwrap(), text));
            assert_eq!(join_all(asked).await, texts);
        }
    });
}

#[test]
fn each_application_of_a_peer_is_reached_by_its_number() {
    run(Choices::default(), |scene| async move {
        let bob = applications(&scene, "bob", DOMAINS[1], 3).await;
        for (node, word) in bob.iter().zip(["zero", "one", "two"]) {
            answer(node.bind_udp(9).unwrap(), word);
        }
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let socket = alice.bind_udp(0).unwrap();
        for (application, word) in [(1, "one"), (2, "two"), (1, "one")] {
            let wanted = ApplicationId(application);
            let peer = alice.lookup_application(&name("bob.u2.example"), wanted).await.unwrap();
            socket.send_to(b"who?", peer.at(9)).unwrap();
            assert_eq!(socket.recv_from().await.unwrap().bytes, word);
        }
    });
}

#[test]
fn many_connections_wait_for_one_tunnel_and_share_it() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
        echo(&bob, 7000);
        let mut events = alice.events();
        let streams = join_all((0..100).map(|_| alice.connect("bob.u2.example:7000"))).await;
        assert!(streams.iter().all(Result::is_ok));
        let mut built = 0;
        while let Ok(event) = events.try_recv() {
            built += usize::from(matches!(event, NodeEvent::TunnelBuilt { .. }));
        }
        assert_eq!(built, 1);
    });
}

#[test]
fn both_ends_may_start_at_once() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
        echo(&alice, 7000);
        echo(&bob, 7000);
        let (there, back) = futures::join!(alice.connect("bob.u2.example:7000"), bob.connect("alice.u1.example:7000"));
        let (mut there, mut back) = (there.unwrap(), back.unwrap());
        assert_eq!(ask(&mut there, "there").await, "there");
        assert_eq!(ask(&mut back, "and back").await, "and back");
    });
}

#[test]
fn peers_whose_permanent_ipv4_addresses_collide_talk_over_both_families() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        // The third domain's owner has chosen the first one's IPv4 prefix.
        let carol = scene.join("carol", DOMAINS[2], scene.open()).await.unwrap();
        assert_eq!(alice.addresses().v4, carol.addresses().v4);
        echo(&carol, 7000);
        let peer = alice.lookup("carol.u3.example").await.unwrap();
        assert_ne!(peer.addresses.v4, alice.addresses().v4, "alice calls her by another address");
        for to in [peer.at(7000), peer.at_v4(7000)] {
            let mut stream = alice.connect_to(to).await.unwrap();
            assert_eq!(ask(&mut stream, "hello").await, "hello");
        }
    });
}
