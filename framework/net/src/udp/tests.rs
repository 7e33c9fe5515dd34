use crate::net::{NetOptions, OsNet};
use crate::udp::{OsUdpPort, Outgoing};
use bytes::Bytes;
use ntmobile_ports::net::{NetError, Received, UdpPort};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

fn open(options: NetOptions) -> OsUdpPort {
    OsUdpPort::bind(&options, 0).unwrap()
}

fn listening_on(addresses: &[&str]) -> NetOptions {
    NetOptions { listen: addresses.iter().map(|address| address.parse().unwrap()).collect(), ..NetOptions::server() }
}

async fn next(port: &OsUdpPort) -> Received {
    timeout(Duration::from_secs(10), poll_fn(|context| port.poll_receive(context))).await.expect("it arrives").unwrap()
}

#[tokio::test]
async fn one_port_serves_both_families_and_tells_which_address_was_meant() {
    let (server, client) = (open(NetOptions::server()), open(NetOptions::default()));
    for loopback in LOOPBACKS {
        client.send((loopback, server.port()).into(), Bytes::from_static(b"hello")).unwrap();
        let received = next(&server).await;
        assert_eq!((received.from, received.to), ((loopback, client.port()).into(), loopback));
        assert_eq!(received.bytes, "hello");
        server.send(received.from, received.bytes).unwrap();
        assert_eq!(next(&client).await.from, SocketAddr::new(loopback, server.port()));
    }
}

#[tokio::test]
async fn a_mapped_address_is_the_address_it_maps() {
    let (server, client) = (open(NetOptions::server()), open(NetOptions::default()));
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    client.send((mapped, server.port()).into(), Bytes::from_static(b"hello")).unwrap();
    assert_eq!(next(&server).await.from.ip(), LOOPBACKS[0]);
}

#[tokio::test]
async fn a_server_answers_from_the_address_that_was_asked_and_a_node_from_the_kernel_s_choice() {
    let client = open(NetOptions::default());
    let asked: IpAddr = "127.0.0.9".parse().unwrap();
    for (options, expected) in [(NetOptions::server(), asked), (NetOptions::default(), LOOPBACKS[0])] {
        let server = open(options);
        client.send((asked, server.port()).into(), Bytes::from_static(b"?")).unwrap();
        let received = next(&server).await;
        assert_eq!(received.to, asked);
        server.send(received.from, Bytes::from_static(b"!")).unwrap();
        assert_eq!(next(&client).await.from, SocketAddr::new(expected, server.port()));
    }
}

#[tokio::test]
async fn a_port_on_chosen_addresses_takes_nothing_on_others() {
    let server = open(listening_on(&["127.0.0.2", "127.0.0.3"]));
    let client = open(NetOptions::default());
    for (at, word) in [("127.0.0.1", "not here"), ("127.0.0.2", "here"), ("127.0.0.3", "and here")] {
        client.send(SocketAddr::new(at.parse().unwrap(), server.port()), Bytes::from_static(word.as_bytes())).unwrap();
    }
    let mut taken =
        [next(&server).await, next(&server).await].map(|received| (received.bytes, received.to.to_string()));
    taken.sort();
    assert_eq!(taken, [("and here".into(), "127.0.0.3".to_owned()), ("here".into(), "127.0.0.2".to_owned())]);
    let v6 = SocketAddr::new(LOOPBACKS[1], 9);
    assert_eq!(server.send(v6, Bytes::from_static(b"no way")), Err(NetError::Unreachable(v6)));
}

#[tokio::test]
async fn super_packets_come_out_as_the_datagrams_that_went_in() {
    let (server, client) = (open(NetOptions::server()), open(NetOptions::default()));
    let bytes: Vec<u8> = (0..10_500u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    for loopback in LOOPBACKS {
        let to = (loopback, server.port()).into();
        client.send_outgoing(&Outgoing { to, from: Some(loopback), bytes: &bytes, segment: Some(1_000) }).unwrap();
        for chunk in bytes.chunks(1_000) {
            let received = next(&server).await;
            assert_eq!(received.bytes, chunk);
            assert_eq!((received.from.ip(), received.to), (loopback, loopback));
        }
    }
}

#[tokio::test]
async fn many_datagrams_of_all_lengths_keep_their_boundaries_and_their_order() {
    let (server, client) = (open(NetOptions::server()), open(NetOptions::default()));
    let to = (Ipv4Addr::LOCALHOST, server.port()).into();
    for length in (0..1_500usize).chain([9_000, 65_507]) {
        client.send(to, vec![length.to_le_bytes()[0]; length].into()).unwrap();
        // In step with the receiver every other hundred, so that single datagrams and batches both occur.
        if length % 200 == 199 {
            for expected in length - 199..=length {
                assert_eq!(next(&server).await.bytes, vec![expected.to_le_bytes()[0]; expected]);
            }
        }
    }
    for expected in (1_400..1_500).chain([9_000, 65_507]) {
        assert_eq!(next(&server).await.bytes.len(), expected);
    }
    assert_eq!(client.lost(), 0);
    assert!(matches!(client.send(to, vec![0; 65_508].into()), Err(NetError::Other(_))), "no such datagram exists");
}

#[tokio::test]
async fn a_taken_port_is_refused_by_its_number_and_free_again_afterwards() {
    let net = OsNet::new(NetOptions::default()).unwrap();
    let first = net.open_udp(0).unwrap();
    let port = first.port();
    assert_eq!(net.open_udp(port).unwrap_err(), NetError::PortInUse(port));
    // In one family only: the port is not half opened.
    let v6_only = NetOptions { listen: vec![LOOPBACKS[1]], ..NetOptions::default() };
    drop(first);
    let half = OsUdpPort::bind(&v6_only, port).unwrap();
    assert_eq!(net.open_udp(port).unwrap_err(), NetError::PortInUse(port));
    drop(half);
    assert_eq!(net.open_udp(port).unwrap().port(), port);
}

#[tokio::test]
async fn an_address_of_another_host_is_refused_by_name() {
    let elsewhere: IpAddr = "192.0.2.77".parse().unwrap();
    let options = NetOptions { listen: vec![elsewhere], ..NetOptions::default() };
    assert_eq!(OsUdpPort::bind(&options, 0).unwrap_err(), NetError::NotOurAddress(elsewhere));
    let options = NetOptions { device: Some("no-such-link".to_owned()), ..NetOptions::default() };
    let refusal = OsUdpPort::bind(&options, 0).unwrap_err().to_string();
    assert!(refusal.contains("no-such-link") || refusal.contains("CAP_NET_ADMIN"), "{refusal}");
}

/// Sends all of these in one turn of this task.
fn send_all(port: &OsUdpPort, datagrams: &[(SocketAddr, Vec<u8>)]) {
    for (to, bytes) in datagrams {
        port.send(*to, bytes.clone().into()).unwrap();
    }
}

#[tokio::test]
async fn what_is_sent_in_one_turn_arrives_in_order_whole_and_unmixed() {
    let (one, two, client) = (open(NetOptions::server()), open(NetOptions::server()), open(NetOptions::default()));
    let to = |port: &OsUdpPort| SocketAddr::new(LOOPBACKS[0], port.port());
    let mut datagrams = Vec::new();
    // Runs that end by a shorter one, a longer one, another destination, their number, their length; empty ones, long ones.
    for (number, length) in [100, 100, 100, 40, 100, 100, 120, 0, 0, 1_452, 1_453, 9_000, 7, 7, 7]
        .into_iter()
        .chain([1_200; 150])
        .enumerate()
    {
        let port = if number % 11 == 5 { &two } else { &one };
        datagrams.push((to(port), vec![u8::try_from(number).unwrap(); length]));
    }
    send_all(&client, &datagrams);
    for port in [&one, &two] {
        for (_, bytes) in datagrams.iter().filter(|(at, _)| *at == to(port)) {
            assert_eq!(next(port).await.bytes, *bytes);
        }
    }
}

#[tokio::test]
async fn the_last_words_of_a_port_leave_before_it_closes() {
    let (server, client) = (open(NetOptions::server()), open(NetOptions::default()));
    let to = SocketAddr::new(LOOPBACKS[1], server.port());
    send_all(&client, &[(to, b"one".to_vec()), (to, b"two".to_vec()), (to, b"end".to_vec())]);
    let port = client.port();
    drop(client);
    for expected in ["one", "two", "end"] {
        assert_eq!(next(&server).await.bytes, expected);
    }
    tokio::task::yield_now().await;
    let again = OsUdpPort::bind(&NetOptions::default(), port).unwrap();
    assert_eq!(again.port(), port);
}

#[tokio::test]
async fn the_first_of_a_turn_says_that_there_is_no_way_and_the_next_turn_says_so_again() {
    let port = open(listening_on(&["127.0.0.1"]));
    let nowhere = SocketAddr::new(LOOPBACKS[1], 9);
    for _ in 0..2 {
        assert_eq!(port.send(nowhere, Bytes::from_static(b"?")), Err(NetError::Unreachable(nowhere)));
        assert_eq!(port.send(nowhere, Bytes::from_static(b"?")), Ok(()), "this one waits for the end of the turn");
        tokio::task::yield_now().await;
    }
}
