//! The name service of a domain over TCP: what is answered there, when connections end, and who asks that way.

use crate::scene::{DOMAINS, Scene, name, run};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{ByteStream, Net};
use ntmobile_sim::ports::host::SimHost;
use ntmobile_strategies::Choices;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

type Stream = Box<dyn ByteStream>;

/// The name server of the first domain.
fn server(scene: &Scene) -> SocketAddr {
    let addresses = scene.sim_host(&format!("dc.{}", DOMAINS[0])).addresses();
    SocketAddr::new(addresses[0], 53)
}

async fn connect(scene: &Scene, host: &SimHost) -> Stream {
    host.connect_tcp(server(scene)).await.expect("the server takes connections")
}

fn query(id: u16, asked: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(asked).expect("a name"), kind));
    message.set_edns(Edns::new());
    message.to_vec().expect("a query")
}

async fn send(stream: &mut Stream, message: &[u8]) {
    stream.write_u16(u16::try_from(message.len()).expect("a short message")).await.expect("it stands");
    stream.write_all(message).await.expect("it stands");
}

async fn receive(stream: &mut Stream) -> Message {
    let length = usize::from(stream.read_u16().await.expect("an answer"));
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).await.expect("all of the answer");
    Message::from_vec(&answer).expect("a sound answer")
}

/// Waits until the other end closes.
async fn is_closed(stream: &mut Stream) -> bool {
    matches!(stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
}

#[test]
fn many_queries_on_one_connection_are_answered_in_their_order() {
    run(Choices::default(), |scene| async move {
        let mut stream = connect(&scene, &scene.stranger("asker")).await;
        let asked = [
            ("u1.example.", RecordType::SOA),
            ("u1.example.", RecordType::NS),
            ("dc.u1.example.", RecordType::A),
            ("dc.u1.example.", RecordType::AAAA),
            ("dc.u1.example.", RecordType::TXT),
            ("nobody.u1.example.", RecordType::A),
            ("u2.example.", RecordType::A),
        ];
        for (id, (name, kind)) in (1..).zip(asked) {
            send(&mut stream, &query(id, name, kind)).await;
        }
        let mut answers = Vec::new();
        for id in (1..).take(asked.len()) {
            let answer = receive(&mut stream).await;
            assert_eq!(answer.metadata.id, id);
            assert!(answer.edns.is_some() && !answer.metadata.truncation);
            answers.push(answer);
        }
        let data = |answer: &Message| answer.answers.iter().map(|record| record.data.clone()).collect::<Vec<_>>();
        assert!(matches!(&data(&answers[0])[..], [RData::SOA(_)]));
        assert!(matches!(&data(&answers[1])[..], [RData::NS(dc)] if dc.0.to_ascii() == "dc.u1.example."));
        assert!(matches!(&data(&answers[2])[..], [RData::A(_)]));
        assert!(matches!(&data(&answers[3])[..], [RData::AAAA(_)]));
        // No such record, no such name: the zone's SOA says for how long that holds.
        for (answer, code) in answers[4..6].iter().zip([ResponseCode::NoError, ResponseCode::NXDomain]) {
            assert_eq!(answer.metadata.response_code, code);
            assert!(answer.answers.is_empty() && answer.metadata.authoritative);
            assert!(matches!(&answer.authorities[..], [soa] if matches!(soa.data, RData::SOA(_))));
        }
        assert_eq!(answers[6].metadata.response_code, ResponseCode::Refused);
    });
}

#[test]
fn a_connection_ends_that_asks_nothing_or_too_much() {
    run(Choices::default(), |scene| async move {
        let host = scene.stranger("asker");
        let clock = scene.world.clock();
        let mut idle = connect(&scene, &host).await;
        clock.sleep(Duration::from_secs(6)).await;
        send(&mut idle, &query(1, "u1.example.", RecordType::NS)).await;
        receive(&mut idle).await;
        let answered = clock.now();
        assert!(is_closed(&mut idle).await);
        let waited = clock.now().since(answered);
        assert!(waited >= Duration::from_secs(10) && waited < Duration::from_secs(11), "{waited:?}");
        // Half a query is none.
        let mut half = connect(&scene, &host).await;
        half.write_all(&[0, 30, 1]).await.expect("it stands");
        assert!(is_closed(&mut half).await);
        let mut long = connect(&scene, &host).await;
        let began = clock.now();
        send(&mut long, &[0; 1_025]).await;
        assert!(is_closed(&mut long).await);
        // A response is no query: two servers must never talk to each other.
        let mut answering = connect(&scene, &host).await;
        let mut response = query(1, "u1.example.", RecordType::NS);
        response[2] |= 0x80;
        send(&mut answering, &response).await;
        assert!(is_closed(&mut answering).await);
        assert!(clock.now().since(began) < Duration::from_secs(1));
    });
}

#[test]
fn one_address_holds_few_connections_and_others_are_served_all_the_same() {
    run(Choices::default(), |scene| async move {
        let greedy = scene.stranger("greedy");
        let mut held = Vec::new();
        for _ in 0..8 {
            let mut stream = connect(&scene, &greedy).await;
            send(&mut stream, &query(1, "u1.example.", RecordType::NS)).await;
            receive(&mut stream).await;
            held.push(stream);
        }
        let mut ninth = connect(&scene, &greedy).await;
        assert!(is_closed(&mut ninth).await);
        let mut other = connect(&scene, &scene.stranger("modest")).await;
        send(&mut other, &query(2, "u1.example.", RecordType::NS)).await;
        assert_eq!(receive(&mut other).await.metadata.id, 2);
        // A place that is given back can be taken again.
        drop(held.pop());
        scene.world.clock().sleep(Duration::from_secs(1)).await;
        let mut again = connect(&scene, &greedy).await;
        send(&mut again, &query(3, "u1.example.", RecordType::NS)).await;
        assert_eq!(receive(&mut again).await.metadata.id, 3);
    });
}

#[test]
fn a_resolver_asks_over_tcp_for_what_was_cut() {
    run(Choices::default(), |scene| async move {
        scene.stranger("asker");
        let host = scene.host("asker");
        let clock = scene.world.clock();
        let began = clock.now();
        let found = host.resolution().host(name("many.example"), None).await.expect("it exists");
        assert_eq!(found.len(), 16, "no longer set is read");
        // Root, top-level domain, and there once more: the connection and the query on it.
        assert_eq!(clock.now().since(began), 4 * Duration::from_millis(20));
        assert_eq!(host.resolution().host(name("many.example"), None).await, Ok(found), "and is known then");
        assert_eq!(clock.now().since(began), 4 * Duration::from_millis(20));
    });
}
