//! Garbage at every port of every entity: counted, dropped, and nothing breaks.

use crate::scene::{DOMAINS, run};
use crate::talking::{ask, echo};
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_proto::node::NodeEvent;
use ntmobile_sim::entropy::SimEntropy;
use ntmobile_strategies::Choices;
use ntmobile_wire::entropy::Entropy;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Something of 0 to 255 octets; often what a receiver takes for more than it is.
fn garbage(entropy: &mut SimEntropy) -> Bytes {
    let [length, disguise] = entropy.array();
    let mut bytes = vec![0; usize::from(length)];
    entropy.fill(&mut bytes);
    let front: &[u8] = match disguise % 4 {
        0 => &[0, 0, 0, 0, 1],
        1 => &[0xff],
        2 => &[0, 0, 0, 0, 1, disguise],
        _ => &[],
    };
    let front = &front[..front.len().min(bytes.len())];
    bytes[..front.len()].copy_from_slice(front);
    bytes.into()
}

#[test]
fn a_minute_of_garbage_at_every_port_is_counted_and_changes_nothing() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        let mut events = alice.events();
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "before").await, "before");

        let mallory = scene.stranger("mallory");
        let port = mallory.bind_udp(0).unwrap();
        let mut entropy = scene.world.entropy("garbage");
        let mut targets = Vec::new();
        for host in ["as.example", "dc.u1.example", "rs.u1.example", "ns.u1.example", "dc.u2.example", "root"] {
            for address in scene.sim_host(host).addresses() {
                targets.extend([53, 4433, 4500].map(|port| SocketAddr::new(address, port)));
            }
        }
        let connection = loop {
            if let NodeEvent::TunnelBuilt { connection, .. } = events.recv().await.unwrap() {
                break connection;
            }
        };
        assert_eq!(connection.relay, None, "bob is where packets to him go");
        targets.push(connection.remote);
        for _ in 0..600 {
            for target in &targets {
                port.send(*target, garbage(&mut entropy)).unwrap();
            }
            for address in scene.sim_host("ns.u1.example").addresses() {
                if let Ok(mut connection) = mallory.connect_tcp(SocketAddr::new(address, 4500)).await {
                    // The NS may have hung up already.
                    let _ = connection.write_all(&garbage(&mut entropy)).await;
                }
            }
            scene.world.clock().sleep(Duration::from_millis(100)).await;
        }

        assert_eq!(ask(&mut stream, "after").await, "after");
        let carol = scene.join("carol", DOMAINS[0], scene.nat("cafe")).await.unwrap();
        assert_eq!(ask(&mut carol.connect("bob.u2.example:7000").await.unwrap(), "hello").await, "hello");
        let recorded = scene.recorded();
        for counter in ["datagram.malformed", "esp.unknown_spi", "esp.unexpected", "dns.unanswered"] {
            assert!(recorded.contains(counter), "{counter} was not counted");
        }
    });
}
