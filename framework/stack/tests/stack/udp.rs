//! UDP and ICMP: ports, queues, echoes, and that no packet whatsoever hurts.

use crate::pipe::{A4, A6, B4, B6, Path, checksum, pipe};
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::NetError;
use ntmobile_sim::Simulation;
use ntmobile_stack::StackOptions;
use ntmobile_wire::entropy::Entropy;
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn datagrams_go_there_and_back_in_both_families() {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let pipe = pipe(&world, Path::default(), StackOptions::default());
    simulation
        .run(async move {
            let server = pipe.b.bind(53).unwrap();
            let client = pipe.a.bind(0).unwrap();
            assert!(client.port() >= 49_152);
            for (near, far) in [(A4, B4), (A6, B6)] {
                client.send_to(b"question", SocketAddr::new(far, 53)).unwrap();
                let question = server.recv_from().await.unwrap();
                assert_eq!((question.from, question.to), (SocketAddr::new(near, client.port()), far));
                assert_eq!(question.bytes, "question");
                server.send_to(b"answer", question.from).unwrap();
                let answer = client.recv_from().await.unwrap();
                assert_eq!((answer.from, &answer.bytes[..]), (SocketAddr::new(far, 53), &b"answer"[..]));
            }
            assert_eq!(world.now().0, 20_000_000);
        })
        .unwrap();
}

#[test]
fn ports_are_taken_freed_and_bounded() {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let pipe = pipe(&world, Path::default(), StackOptions::default());
    simulation
        .run(async move {
            let server = pipe.b.bind(53).unwrap();
            assert_eq!(pipe.b.bind(53).unwrap_err(), NetError::PortInUse(53));
            let client = pipe.a.bind(0).unwrap();
            for _ in 0..1_000 {
                client.send_to(b"flood", SocketAddr::new(B4, 53)).unwrap();
            }
            world.clock().sleep(Duration::from_secs(1)).await;
            assert_eq!(server.dropped(), 1_000 - 512);
            drop(server);
            pipe.b.bind(53).unwrap();
            assert!(matches!(client.send_to(&[0; 1_473], SocketAddr::new(B4, 53)), Err(NetError::Other(_))));
            client.send_to(&[0; 1_472], SocketAddr::new(B4, 53)).unwrap();
            pipe.a.remove_address(A6);
            let unreachable = SocketAddr::new(B6, 53);
            assert_eq!(client.send_to(b"", unreachable), Err(NetError::Unreachable(unreachable)));
        })
        .unwrap();
}

/// The packets that a stack sends when these are injected.
fn answers(packets: Vec<Bytes>) -> Vec<Bytes> {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let pipe = pipe(&world, Path::default(), StackOptions::default());
    let sent = pipe.sent.clone();
    simulation
        .run(async move {
            let _udp = pipe.b.bind(53).unwrap();
            let _tcp = pipe.b.listen(80).unwrap();
            packets.into_iter().for_each(|packet| pipe.b.inject(packet));
        })
        .unwrap();
    std::mem::take(&mut *sent.lock().unwrap()).into_iter().map(|(_, packet)| packet).collect()
}

/// An echo request from a to b.
fn ping_v4() -> Vec<u8> {
    let mut ip = vec![0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, 7, 1, 2, 3, 4];
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    ip.extend(icmp);
    ip
}

#[test]
fn an_echo_is_answered_with_its_own_data() {
    let answer = answers(vec![ping_v4().into()]);
    assert_eq!(answer.len(), 1);
    assert_eq!((&answer[0][12..20], answer[0][20]), (&[10, 0, 0, 2, 10, 0, 0, 1][..], 0));
    assert_eq!(answer[0][24..], ping_v4()[24..]);
}

#[test]
fn a_closed_udp_port_is_reported_unreachable() {
    let mut simulation = Simulation::new(1);
    let world = simulation.world();
    let pipe = pipe(&world, Path::default(), StackOptions::default());
    let sent = pipe.sent.clone();
    simulation
        .run(async move {
            let client = pipe.a.bind(0).unwrap();
            client.send_to(b"anyone?", SocketAddr::new(B4, 9)).unwrap();
            client.send_to(b"anyone?", SocketAddr::new(B6, 9)).unwrap();
            world.clock().sleep(Duration::from_millis(6)).await;
        })
        .unwrap();
    let sent = sent.lock().unwrap();
    assert_eq!((sent[2].1[9], &sent[2].1[20..22]), (1, &[3, 3][..]), "ICMP: destination unreachable, port");
    assert_eq!((sent[3].1[6], &sent[3].1[40..42]), (58, &[1, 4][..]), "ICMPv6: destination unreachable, port");
}

#[test]
fn nothing_that_arrives_hurts() {
    let mut entropy = Simulation::new(1).world().entropy("noise");
    let mut packets = Vec::new();
    for round in 0..20_000usize {
        let mut packet = if round % 2 == 0 { ping_v4() } else { vec![0x60; 60] };
        let protocols = [1, 6, 17, 58];
        let kind = protocols[round % 4];
        packet[if round % 2 == 0 { 9 } else { 6 }] = kind;
        for _ in 0..3 {
            let at = usize::from(u16::from_be_bytes(entropy.array())) % packet.len();
            packet[at] = entropy.array::<1>()[0];
        }
        packet.truncate(usize::from(u16::from_be_bytes(entropy.array())) % (packet.len() + 1));
        packets.push(packet.into());
    }
    answers(packets);
}
