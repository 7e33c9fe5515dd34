//! Applications of two domains join, find each other and talk.

use crate::scene::{DOMAINS, run};
use ntmobile_actors::library::{ConnectError, JoinError, LookupError, Node, Password};
use ntmobile_proto::node;
use ntmobile_strategies::Choices;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends every connection's bytes back.
pub(crate) fn echo(node: &Node, port: u16) {
    let listener = node.listen(port).unwrap();
    actix::spawn(async move {
        while let Ok(mut stream) = listener.accept().await {
            actix::spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(&mut stream);
                // The other end may go away in the middle.
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
}

pub(crate) async fn ask(stream: &mut ntmobile_actors::library::VirtualTcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn a_node_in_the_open_and_one_behind_a_nat_talk_directly() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        echo(&bob, 7000);
        let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
        assert_eq!(ask(&mut stream, "hello").await, "hello");
        assert_eq!(alice.lookup("bob.u2.example").await.unwrap().relay, None);
    });
}

#[test]
fn nodes_behind_different_nats_talk_through_a_relay() {
    run(Choices::default(), |scene| async move {
        let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
        let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
        let (to, from) = (bob.bind_udp(9).unwrap(), alice.bind_udp(0).unwrap());
        let peer = alice.lookup("bob.u2.example").await.unwrap();
        assert_eq!(peer.relay.as_ref().map(|relay| relay.as_str()), Some("rs.u1.example"));
        from.send_to(b"ping", peer.at(9)).unwrap();
        let ping = to.recv_from().await.unwrap();
        to.send_to(&ping.bytes, ping.from).unwrap();
        assert_eq!(from.recv_from().await.unwrap().bytes, "ping");
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = || {
        let trace = Rc::new(RefCell::new(String::new()));
        let out = Rc::clone(&trace);
        run(Choices::default(), |scene| async move {
            let alice = scene.join("alice", DOMAINS[0], scene.nat("home")).await.unwrap();
            let bob = scene.join("bob", DOMAINS[1], scene.nat("office")).await.unwrap();
            echo(&bob, 7000);
            let mut stream = alice.connect("bob.u2.example:7000").await.unwrap();
            ask(&mut stream, "hello").await;
            out.replace(scene.recorded());
        });
        trace.take()
    };
    let first = trace();
    assert!(first.contains("Tunnel Request") && first.contains("DNS Lookup") && first.contains("DNS Query"));
    assert_eq!(first, trace());
}

#[test]
fn what_cannot_be_is_a_typed_error_where_the_application_meets_it() {
    run(Choices::default(), |scene| async move {
        let device = scene.device("carol.u1.example", scene.open());
        let wrong = Node::join(&device, "carol@u1.example", Password::new("guess")).await;
        assert_eq!(wrong.unwrap_err(), JoinError::Refused(node::JoinError::WrongCredentials));
        let alice = scene.join("alice", DOMAINS[0], scene.open()).await.unwrap();
        let error = alice.connect("nobody.u2.example:1").await.unwrap_err();
        assert!(
            matches!(&error, ConnectError::Lookup(LookupError::Tunnel(node::ConnectError::NoSuchName(_)))),
            "{error:?}"
        );
        let bob = scene.join("bob", DOMAINS[1], scene.open()).await.unwrap();
        let error = alice.connect("bob.u2.example:1").await.unwrap_err();
        assert!(matches!(&error, ConnectError::Refused(_)), "nobody listens there: {error:?}");
        drop(bob);
    });
}
