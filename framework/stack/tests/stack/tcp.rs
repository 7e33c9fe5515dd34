//! TCP over a path that loses, doubles and reorders: what arrives is what was sent, and every end comes to its end.

use crate::pipe::{A4, B4, B6, Path, Pipe, checksum, pipe};
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Net, NetError};
use ntmobile_sim::{Simulation, World};
use ntmobile_stack::{StackOptions, TcpStream};
use ntmobile_wire::entropy::Entropy;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 80;

fn simulate<F: Future<Output = ()> + 'static>(seed: u64, path: Path, run: impl FnOnce(World, Pipe) -> F + 'static) {
    simulate_with(seed, path, StackOptions::default(), run);
}

fn simulate_with<F: Future<Output = ()> + 'static>(
    seed: u64,
    path: Path,
    options: StackOptions,
    run: impl FnOnce(World, Pipe) -> F + 'static,
) {
    let mut simulation = Simulation::new(seed).with_time_limit(Duration::from_secs(7_200));
    let world = simulation.world();
    let pipe = pipe(&world, path, options);
    simulation.run(run(world, pipe)).unwrap();
}

/// A connection from a to b, both ends.
async fn connected(pipe: &Pipe, to: std::net::IpAddr) -> (TcpStream, TcpStream) {
    let listener = pipe.b.listen(PORT).unwrap();
    let accepted = tokio::spawn(async move { listener.accept().await.unwrap() });
    let stream = pipe.a.connect(SocketAddr::new(to, PORT)).await.unwrap();
    (stream, accepted.await.unwrap())
}

fn data(world: &World, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    world.entropy("data").fill(&mut data);
    data
}

/// Both ends send `length` bytes, half-close and read to the end.
async fn exchange(world: World, pipe: Pipe, to: std::net::IpAddr, length: usize) {
    let (near, far) = connected(&pipe, to).await;
    let (there, back) = (data(&world, length), data(&world, length));
    assert_ne!(there, back);
    let end = |mut stream: TcpStream, to_send: Vec<u8>| {
        tokio::spawn(async move {
            let mut received = Vec::new();
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let sending = async {
                writer.write_all(&to_send).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let reading = async { reader.read_to_end(&mut received).await.unwrap() };
            futures::join!(sending, reading);
            received
        })
    };
    let (near, far) = (end(near, there.clone()), end(far, back.clone()));
    assert_eq!(far.await.unwrap(), there);
    assert_eq!(near.await.unwrap(), back);
}

#[test]
fn a_clean_path_carries_both_directions_in_both_families() {
    for to in [B4, B6] {
        simulate(1, Path::default(), move |world, pipe| exchange(world, pipe, to, 1_000_000));
    }
}

#[test]
fn a_handshake_takes_one_round_trip() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (_near, _far) = connected(&pipe, B4).await;
        assert_eq!(world.now().0, 15_000_000, "SYN, SYN+ACK, ACK: three flights of 5 ms");
    });
}

#[test]
fn loss_duplication_and_reordering_are_survived() {
    let path = Path { jitter: Duration::from_millis(20), loss_percent: 30, double_percent: 10, ..Path::default() };
    for seed in 0..5 {
        simulate(seed, path, |world, pipe| exchange(world, pipe, B4, 50_000));
    }
}

#[test]
fn a_reader_that_rests_closes_the_window_and_loses_nothing() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        let sent = data(&world, 300_000);
        let to_send = sent.clone();
        let sending = tokio::spawn(async move {
            near.write_all(&to_send).await.unwrap();
            near.shutdown().await.unwrap();
        });
        world.clock().sleep(Duration::from_secs(300)).await;
        assert!(!sending.is_finished(), "the buffers of both ends hold less");
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    });
}

#[test]
fn a_half_closed_connection_still_carries_the_other_direction() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        near.shutdown().await.unwrap();
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        world.clock().sleep(Duration::from_secs(600)).await;
        far.write_all(b"late").await.unwrap();
        drop(far);
        let mut received = Vec::new();
        near.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"late");
        assert_eq!(near.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_was_written_before_the_drop_arrives() {
    let path = Path { loss_percent: 20, ..Path::default() };
    simulate(3, path, |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        let sent = data(&world, 40_000);
        near.write_all(&sent).await.unwrap();
        drop(near);
        let mut received = Vec::new();
        far.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, sent);
    });
}

#[test]
fn dropping_with_unread_bytes_resets_the_other_end() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (near, mut far) = connected(&pipe, B4).await;
        far.write_all(b"nobody reads this").await.unwrap();
        world.clock().sleep(Duration::from_millis(50)).await;
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn bytes_for_a_dropped_stream_reset_the_sender() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (near, mut far) = connected(&pipe, B4).await;
        drop(near);
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        far.write_all(b"too late").await.unwrap();
        world.clock().sleep(Duration::from_secs(1)).await;
        assert!(far.write(b"more").await.is_err());
    });
}

#[test]
fn a_port_where_nobody_listens_refuses() {
    simulate(1, Path::default(), |world, pipe| async move {
        let to = SocketAddr::new(B4, PORT);
        assert_eq!(pipe.a.connect(to).await.unwrap_err(), NetError::Refused(to));
        assert_eq!(world.now().0, 10_000_000);
    });
}

#[test]
fn silence_times_out_the_handshake_and_a_connection_that_waits_for_an_answer() {
    let (connect_timeout, timeout) = (Duration::from_secs(30), Duration::from_secs(30));
    let options = StackOptions { connect_timeout, timeout, ..StackOptions::default() };
    simulate_with(1, Path::default(), options, |world, pipe| async move {
        let (mut near, _far) = connected(&pipe, B4).await;
        *pipe.open.lock().unwrap() = false;
        let began = world.now();
        let to = SocketAddr::new(B4, PORT);
        assert_eq!(pipe.a.connect(to).await.unwrap_err(), NetError::TimedOut(to));
        assert_eq!(world.now() - began, Duration::from_secs(30));

        near.write_all(b"hello?").await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(world.now() - began, Duration::from_secs(60));
    });
}

#[test]
fn an_idle_connection_lives_on_without_a_packet_unless_keepalive_is_on() {
    let options = StackOptions { timeout: Duration::from_secs(30), ..StackOptions::default() };
    simulate_with(1, Path::default(), options, |world, pipe| async move {
        let (mut near, far) = connected(&pipe, B4).await;
        world.clock().sleep(Duration::from_secs(1)).await;
        let before = pipe.sent.lock().unwrap().len();
        world.clock().sleep(Duration::from_secs(3_600)).await;
        assert_eq!(pipe.sent.lock().unwrap().len(), before);

        near.set_keepalive(Some(Duration::from_secs(20)));
        world.clock().sleep(Duration::from_secs(600)).await;
        let probes = pipe.sent.lock().unwrap().len() - before;
        assert!((58..=64).contains(&probes), "{probes} packets in 30 intervals");
        *pipe.open.lock().unwrap() = false;
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(far);
    });
}

#[test]
fn a_full_backlog_makes_others_wait_and_loses_none() {
    let options = StackOptions { backlog: 2, ..StackOptions::default() };
    simulate_with(1, Path::default(), options, |world, pipe| async move {
        let listener = pipe.b.listen(PORT).unwrap();
        let to = SocketAddr::new(B4, PORT);
        let connecting: Vec<_> = (0..5)
            .map(|_| {
                let a = pipe.a.clone();
                tokio::spawn(async move { a.connect(to).await })
            })
            .collect();
        world.clock().sleep(Duration::from_millis(500)).await;
        assert_eq!(connecting.iter().filter(|task| task.is_finished()).count(), 2);
        let mut accepted = Vec::new();
        for _ in 0..5 {
            accepted.push(listener.accept().await.unwrap());
        }
        for task in connecting {
            task.await.unwrap().unwrap();
        }
    });
}

#[test]
fn a_dropped_listener_resets_what_it_did_not_accept() {
    simulate(1, Path::default(), |world, pipe| async move {
        let listener = pipe.b.listen(PORT).unwrap();
        let mut stream = pipe.a.connect(SocketAddr::new(B4, PORT)).await.unwrap();
        world.clock().sleep(Duration::from_millis(50)).await;
        drop(listener);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert!(pipe.b.listen(PORT).is_ok());
    });
}

#[test]
fn a_segment_of_a_forgotten_connection_is_reset() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (mut near, far) = connected(&pipe, B4).await;
        *pipe.open.lock().unwrap() = false;
        // The far end gives up in silence, as a host does that loses its power.
        pipe.b.remove_address(B4);
        drop(far);
        world.clock().sleep(Duration::from_secs(1_000)).await;
        pipe.b.add_address(B4);
        *pipe.open.lock().unwrap() = true;
        near.write_all(b"are you there?").await.unwrap();
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_connection_outlives_a_short_absence_of_its_address() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        pipe.a.remove_address(A4);
        near.write_all(b"held back").await.unwrap();
        world.clock().sleep(Duration::from_secs(5)).await;
        pipe.a.add_address(A4);
        let mut received = [0; 9];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"held back");
        assert_eq!(pipe.a.address_change(0).await, 2);
    });
}

#[test]
fn a_lost_fin_is_sent_again_even_after_duplicate_acknowledgements() {
    simulate(1, Path::default(), |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        near.write_all(b"x").await.unwrap();
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 1);
        world.clock().sleep(Duration::from_secs(1)).await;
        let acknowledgement = pipe.sent.lock().unwrap().last().unwrap().1.clone();
        assert_eq!(acknowledgement[15], 2, "the last packet is the far end's");
        *pipe.open.lock().unwrap() = false;
        near.shutdown().await.unwrap();
        for _ in 0..5 {
            pipe.a.inject(acknowledgement.clone());
        }
        *pipe.open.lock().unwrap() = true;
        assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
        assert!(world.now().0 < 10_000_000_000);
    });
}

#[test]
fn a_fin_counts_behind_content_that_has_been_received_before() {
    for address in [B4, B6] {
        simulate(1, Path::default(), move |world, pipe| async move {
            let (mut near, mut far) = connected(&pipe, address).await;
            near.write_all(b"content").await.unwrap();
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 7);
            world.clock().sleep(Duration::from_secs(1)).await;
            let sent = pipe.sent.lock().unwrap().clone();
            let (_, content) = sent.iter().find(|(_, packet)| packet.ends_with(b"content")).unwrap();
            pipe.b.inject(with_fin(content));
            assert_eq!(far.read(&mut [0; 8]).await.unwrap(), 0);
            assert!(world.now().0 < 2_000_000_000);
        });
    }
}

/// The same packet, as the last of its sender.
fn with_fin(packet: &[u8]) -> bytes::Bytes {
    let mut last = packet.to_vec();
    let (header, source, destination) = if packet[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(packet).unwrap();
        (20, ip.src_addr().into(), ip.dst_addr().into())
    } else {
        let ip = Ipv6Packet::new_checked(packet).unwrap();
        (40, ip.src_addr().into(), ip.dst_addr().into())
    };
    let mut segment = TcpPacket::new_checked(&mut last[header..]).unwrap();
    segment.set_fin(true);
    segment.fill_checksum(&source, &destination);
    last.into()
}

#[test]
fn a_stack_reaches_itself() {
    simulate(1, Path::default(), |_, pipe| async move {
        let listener = pipe.a.listen(PORT).unwrap();
        let mut near = pipe.a.connect(SocketAddr::new(A4, PORT)).await.unwrap();
        let mut far = listener.accept().await.unwrap();
        near.write_all(b"me").await.unwrap();
        let mut received = [0; 2];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!((&received, pipe.sent.lock().unwrap().len()), (b"me", 0));
    });
}

#[test]
fn too_big_makes_a_connection_send_smaller_packets() {
    let path = Path { mtu: 900, ..Path::default() };
    simulate(1, path, |world, pipe| async move {
        let (mut near, mut far) = connected(&pipe, B4).await;
        let sent = data(&world, 20_000);
        let to_send = sent.clone();
        let sending = tokio::spawn(async move {
            near.write_all(&to_send).await.unwrap();
            near
        });
        let large = sending.await.unwrap();
        let packet =
            pipe.sent.lock().unwrap().iter().map(|(_, packet)| packet.clone()).find(|p| p.len() > 900).unwrap();
        pipe.a.inject(fragmentation_needed(&packet, 900));
        let mut received = vec![0; 20_000];
        far.read_exact(&mut received).await.unwrap();
        assert_eq!(received, sent);
        drop(large);
    });
}

/// What a router with a narrow next link answers (RFC 1191).
fn fragmentation_needed(packet: &[u8], mtu: u16) -> bytes::Bytes {
    let mut icmp = vec![3, 4, 0, 0, 0, 0];
    icmp.extend(mtu.to_be_bytes());
    icmp.extend(&packet[..28]);
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 9];
    ip.extend(&packet[12..16]);
    let length = u16::try_from(ip.len() + icmp.len()).unwrap();
    ip[2..4].copy_from_slice(&length.to_be_bytes());
    let sum = checksum(&ip);
    ip[10..12].copy_from_slice(&sum);
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum);
    ip.extend(icmp);
    ip.into()
}

#[test]
fn the_same_seed_gives_the_same_packets_at_the_same_times() {
    let run = |seed| {
        let path = Path { jitter: Duration::from_millis(3), loss_percent: 10, ..Path::default() };
        let mut simulation = Simulation::new(seed).with_time_limit(Duration::from_secs(7_200));
        let world = simulation.world();
        let pipe = pipe(&world, path, StackOptions::default());
        let sent = pipe.sent.clone();
        simulation.run(exchange(world, pipe, B4, 30_000)).unwrap();
        std::mem::take(&mut *sent.lock().unwrap())
    };
    let first = run(1);
    assert!(first.len() > 40);
    assert_eq!(first, run(1));
    assert_ne!(first, run(2));
}
