//! Hosts of a simulated world: datagrams, streams, movement, crashes.

use super::*;
use crate::network::{InterfaceId, LinkRecord, NodeKind};
use crate::runtime::Simulation;
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::{Net, NetError, UdpPort};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two access networks on one core, a host in each: 10 ms from one to the other.
struct Internet {
    world: World,
    access: [NodeId; 2],
    near: SimHost,
    far: SimHost,
    near_interface: InterfaceId,
}

fn internet(world: World) -> Internet {
    let link = |milliseconds| LinkRecord::with_delay(Duration::from_millis(milliseconds));
    let (access, nodes, near_interface) = world.network(|network| {
        let core = network.add_node("core", NodeKind::Router).unwrap();
        network.serve(core, "203.0.113.0/24".parse().unwrap()).unwrap();
        network.serve(core, "2001:db8::/64".parse().unwrap()).unwrap();
        let mut attached = Vec::new();
        for (name, v4, v6) in
            [("left", "198.51.100.0/25", "2001:db8:a::/64"), ("right", "198.51.100.128/25", "2001:db8:b::/64")]
        {
            let access = network.add_node(name, NodeKind::Router).unwrap();
            network.serve(access, v4.parse().unwrap()).unwrap();
            network.serve(access, v6.parse().unwrap()).unwrap();
            network.attach(access, core, link(4)).unwrap();
            let host = network.add_node(&format!("host {name}"), NodeKind::Host).unwrap();
            attached.push((access, host, network.attach(host, access, link(1)).unwrap()));
        }
        let [(left, near, interface), (right, far, _)] = attached[..] else { unreachable!() };
        ([left, right], [near, far], interface)
    });
    Internet { near: world.host(nodes[0]), far: world.host(nodes[1]), world, access, near_interface }
}

fn run<F: Future<Output = ()> + 'static>(run: impl FnOnce(Internet) -> F) {
    let mut simulation = Simulation::new(5).with_time_limit(Duration::from_secs(3_600));
    let internet = internet(simulation.world());
    simulation.run(run(internet)).unwrap();
}

fn address(host: &SimHost, ipv4: bool, port: u16) -> SocketAddr {
    let address = host.addresses().into_iter().find(|address| address.is_ipv4() == ipv4).unwrap();
    SocketAddr::new(address, port)
}

async fn receive(port: &Arc<dyn UdpPort>) -> (SocketAddr, Bytes) {
    let received = port.receive().await.unwrap();
    (received.from, received.bytes)
}

#[test]
fn datagrams_take_the_path_s_time_in_both_families() {
    run(|internet| async move {
        let server = internet.far.bind_udp(53).unwrap();
        let client = internet.near.bind_udp(0).unwrap();
        for ipv4 in [true, false] {
            let began = internet.world.now();
            client.send(address(&internet.far, ipv4, 53), Bytes::from_static(b"question")).unwrap();
            let (from, question) = receive(&server).await;
            assert_eq!((from, &question[..]), (address(&internet.near, ipv4, client.port()), &b"question"[..]));
            server.send(from, Bytes::from_static(b"answer")).unwrap();
            let (from, _) = receive(&client).await;
            assert_eq!(from, address(&internet.far, ipv4, 53));
            assert_eq!(internet.world.now() - began, Duration::from_millis(20));
        }
    });
}

#[test]
fn ports_are_exclusive_bounded_and_drawn_from_the_seed() {
    run(|internet| async move {
        let server = internet.far.bind_udp(53).unwrap();
        assert_eq!(internet.far.bind_udp(53).unwrap_err(), NetError::PortInUse(53));
        let client = internet.near.bind_udp(0).unwrap();
        assert!(client.port() >= 49_152);
        for _ in 0..600 {
            client.send(address(&internet.far, true, 53), Bytes::from_static(b"flood")).unwrap();
        }
        internet.world.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(internet.far.counters().queue_full, 600 - 512);
        drop(server);
        client.send(address(&internet.far, true, 53), Bytes::from_static(b"anyone?")).unwrap();
        internet.world.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!((internet.far.counters().closed_port, internet.near.counters().unreachable), (1, 1));
        internet.far.bind_udp(53).unwrap();
        let nowhere = "[2001:db8::1]:1".parse().unwrap();
        internet.world.network(|network| network.detach(internet.near_interface));
        assert_eq!(client.send(nowhere, Bytes::new()), Err(NetError::Unreachable(nowhere)));
    });
}

#[test]
fn the_same_seed_draws_the_same_ports_and_another_seed_others() {
    let port = |seed| {
        let simulation = Simulation::new(seed);
        internet(simulation.world()).near.bind_udp(0).unwrap().port()
    };
    assert_eq!(port(1), port(1));
    assert_ne!(port(1), port(2));
}

#[test]
fn a_stream_crosses_the_network() {
    run(|internet| async move {
        let listener = internet.far.listen_tcp(80).unwrap();
        let to = address(&internet.far, true, 80);
        let serving = tokio::spawn(async move {
            let mut stream = listener.accept().await.unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            stream.write_all(&request).await.unwrap();
        });
        let mut stream = internet.near.connect_tcp(to).await.unwrap();
        assert_eq!(internet.world.now().0, 20_000_000, "one round trip");
        let sent = vec![7; 100_000];
        stream.write_all(&sent).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut echo = Vec::new();
        stream.read_to_end(&mut echo).await.unwrap();
        assert_eq!(echo, sent);
        serving.await.unwrap();

        let closed = address(&internet.far, false, 81);
        assert_eq!(internet.near.connect_tcp(closed).await.err(), Some(NetError::Refused(closed)));
    });
}

#[test]
fn a_narrow_link_makes_streams_send_smaller_segments() {
    run(|internet| async move {
        internet.world.network(|network| {
            let uplink = network.interfaces(internet.access[0])[0];
            network.set_link(uplink, LinkRecord { mtu: 1_300, ..LinkRecord::default() }).unwrap();
        });
        let listener = internet.far.listen_tcp(80).unwrap();
        let mut stream = internet.near.connect_tcp(address(&internet.far, true, 80)).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        stream.write_all(&[1; 50_000]).await.unwrap();
        let mut received = vec![0; 50_000];
        accepted.read_exact(&mut received).await.unwrap();
        assert_eq!(received, [1; 50_000]);
    });
}

#[test]
fn a_mover_learns_its_new_addresses_and_keeps_its_ports() {
    run(|internet| async move {
        let server = internet.far.bind_udp(4500).unwrap();
        let client = internet.near.bind_udp(0).unwrap();
        let before = internet.near.addresses();
        assert_eq!(before.len(), 2);
        let change = tokio::spawn(internet.near.address_change(0));
        internet.world.clock().sleep(Duration::from_secs(1)).await;
        assert!(!change.is_finished());
        internet.world.network(|network| {
            network.detach(internet.near_interface);
            let link = LinkRecord::with_delay(Duration::from_millis(3));
            network.attach(internet.near.node(), internet.access[1], link).unwrap();
        });
        let count = change.await.unwrap();
        let after = internet.near.addresses();
        assert!(after.iter().all(|address| !before.contains(address)) && after.len() == 2);
        let next = tokio::spawn(internet.near.address_change(count));
        client.send(address(&internet.far, false, 4500), Bytes::from_static(b"moved")).unwrap();
        assert_eq!(receive(&server).await.0, address(&internet.near, false, client.port()));
        assert!(!next.is_finished(), "nothing has changed since");
    });
}

#[test]
fn a_crash_kills_sockets_in_silence_and_a_restart_begins_anew() {
    run(|internet| async move {
        let server = internet.far.bind_udp(53).unwrap();
        let listener = internet.far.listen_tcp(80).unwrap();
        let mut stream = internet.near.connect_tcp(address(&internet.far, true, 80)).await.unwrap();
        let mut accepted = listener.accept().await.unwrap();
        let reading = tokio::spawn(async move { server.receive().await });
        internet.world.clock().sleep(Duration::from_secs(1)).await;
        let sent_before = internet.world.network(|network| network.counters(internet.far.node()).originated);

        internet.far.crash();
        assert_eq!(reading.await.unwrap(), Err(NetError::Closed));
        assert!(accepted.read(&mut [0; 1]).await.is_err());
        assert_eq!(listener.accept().await.err(), Some(NetError::Closed));
        assert_eq!(internet.far.bind_udp(53).err(), Some(NetError::Closed));
        stream.write_all(b"anyone?").await.unwrap();
        internet.world.clock().sleep(Duration::from_secs(10)).await;
        let sent_after = internet.world.network(|network| network.counters(internet.far.node()).originated);
        assert_eq!(sent_before, sent_after);

        internet.far.restart();
        internet.far.bind_udp(53).unwrap();
        let broken = stream.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(broken.kind(), std::io::ErrorKind::ConnectionReset, "the restarted host knows no such connection");
    });
}

#[test]
fn a_host_reaches_itself_without_the_network() {
    run(|internet| async move {
        let server = internet.near.bind_udp(53).unwrap();
        server.send(address(&internet.near, true, 53), Bytes::from_static(b"me")).unwrap();
        assert_eq!(&receive(&server).await.1[..], b"me");
        let listener = internet.near.listen_tcp(80).unwrap();
        internet.near.connect_tcp(address(&internet.near, false, 80)).await.unwrap();
        listener.accept().await.unwrap();
        assert_eq!(internet.world.now().0, 0);
    });
}

#[test]
fn a_deadlock_names_the_sockets_that_are_read() {
    let mut simulation = Simulation::new(5);
    let internet = internet(simulation.world());
    let server = internet.far.bind_udp(53).unwrap();
    let failure = simulation.run(async move { drop(server.receive().await) });
    let Err(SimulationFailure::Deadlock { waiting, .. }) = failure else { panic!("{failure:?}") };
    assert_eq!(waiting, ["host right reads UDP port 53"]);
}
