//! Servers that lose their power and start again from their stores.

use crate::scene::{DOMAINS, run, run_on};
use crate::talking::{ask, echo};
use ntmobile_actors::library::{LookupError, Node};
use ntmobile_ports::clock::Clock;
use ntmobile_proto::node::ConnectError;
use ntmobile_strategies::Choices;
use std::time::Duration;

/// Whether a node gets a tunnel to a node it has none to yet, within a minute.
async fn reaches(node: &Node, peer: &str) -> Result<(), LookupError> {
    node.lookup(peer).await.map(drop)
}

const SERVERS: [&str; 5] = ["as.example", "dc.u1.example", "dc.u2.example", "rs.u1.example", "ns.u1.example"];

#[test]
fn every_server_goes_on_from_its_store_in_memory() {
    every_server_goes_on(|| None);
}

#[test]
fn every_server_goes_on_from_its_store_on_disk() {
    every_server_goes_on(|| Some(tempfile::tempdir().unwrap()));
}

fn every_server_goes_on(disk: impl Fn() -> Option<tempfile::TempDir>) {
    for server in SERVERS {
        run_on(disk(), Choices::default(), move |scene| async move {
            let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
            let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
            echo(&bob, 7000);
            let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
            assert_eq!(ask(&mut stream, "before").await, "before");
            let addresses = (alice.addresses(), bob.addresses());

            scene.crash(server);
            scene.world.clock().sleep(Duration::from_secs(3)).await;
            scene.restart(server).await;
            // Keepalives bring the registrations back, which are not stored.
            scene.world.clock().sleep(Duration::from_secs(60)).await;

            assert_eq!(ask(&mut stream, "after").await, "after", "{server}");
            let carol = scene.join("carol", DOMAINS[0], scene.open()).await.unwrap();
            reaches(&carol, "bob.u2.example").await.unwrap_or_else(|error| panic!("{server}: {error}"));
            reaches(&carol, "alice.u1.example").await.unwrap_or_else(|error| panic!("{server}: {error}"));
            assert_eq!((alice.addresses(), bob.addresses()), addresses);
            assert_ne!(carol.addresses(), alice.addresses(), "{server}: an address was given twice");
        });
    }
}

#[test]
fn a_name_server_whose_ports_are_gone_says_so() {
    run(Choices::default(), |scene| async move {
        let while_it_runs = scene.world.clock().sleep(Duration::from_secs(60));
        tokio::select! {
            () = scene.name_server_ended("root") => panic!("it answers"),
            () = while_it_runs => {}
        }
        scene.sim_host("root").crash();
        scene.name_server_ended("root").await;
    });
}

#[test]
fn a_server_that_stays_down_is_a_typed_error_in_time() {
    for server in ["dc.u1.example", "dc.u2.example", "rs.u1.example"] {
        run(Choices::default(), move |scene| async move {
            let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
            let _bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
            scene.crash(server);
            if server == "rs.u1.example" {
                // The other domain would lend its own.
                scene.crash("rs.u2.example");
            }
            let began = scene.world.now();
            let error = alice.lookup("bob.u2.example").await.unwrap_err();
            let LookupError::Tunnel(error) = error else { panic!("{server}: {error:?}") };
            let expected = match server {
                "rs.u1.example" => matches!(error, ConnectError::NoRelay),
                _ => matches!(error, ConnectError::TimedOut { .. } | ConnectError::ServerUnreachable(_)),
            };
            assert!(expected, "{server}: {error:?}");
            assert!(scene.world.now() - began <= Duration::from_secs(60), "{server} took {:?}", scene.world.now());
        });
    }
}
