//! Trains on the loopback, a relay of them, and what applications are told. Without privilege: no device.

use super::port::{Lane, Port};
use super::reception::Reception;
use super::socket::LONGEST_TRAIN;
use super::*;
use crate::clock::OsClock;
use crate::tun::offload::{add_bytes, fold};
use bytes::Bytes;
use ntmobile_wire::datagram::{NON_ESP_MARKER, decode_source_unknown};
use ntmobile_wire::identifier::Spi;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const SPI_MN: Spi = Spi(0x1111_1110);
const SPI_CN: Spi = Spi(0x2222_2220);

/// A socket on the loopback and where it is.
fn end() -> (Port, SocketAddr) {
    let port = Port::open(&NetOptions::default(), 0, 1).expect("a free port");
    let number = port.number();
    (port, (Ipv4Addr::LOCALHOST, number).into())
}

/// Receives until so many octets have come; each datagram by itself.
fn receive(lane: Lane<'_>, octets: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; LONGEST_TRAIN];
    let (mut datagrams, mut left) = (Vec::new(), octets);
    while left > 0 {
        let Ok(train) = lane.sockets()[0].receive(&mut buffer) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        left -= train.length;
        datagrams.extend(buffer[..train.length].chunks(train.stride).map(<[u8]>::to_vec));
    }
    datagrams
}

/// ESP packets towards CN as far as a relay can see, of `length` octets each.
fn packets(count: u8, length: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| [&SPI_CN.0.to_be_bytes()[..], &vec![number; length - 4]].concat()).collect()
}

#[test]
fn a_train_comes_apart_as_it_was_put_together() {
    let ((sender, from), (receiver, to)) = (end(), end());
    let (sender, receiver) = (sender.lane(0), receiver.lane(0));
    let mut datagrams = packets(40, 1_200);
    datagrams.push(packets(1, 77).remove(0));
    sender.send_train(to, &datagrams.concat(), 1_200).expect("the loopback takes it");
    assert_eq!(receive(receiver, 40 * 1_200 + 77), datagrams);
    let over_v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, to.port()));
    sender.send_train(over_v6, &datagrams.concat(), 1_200).expect("the loopback takes it");
    assert_eq!(receive(receiver, 40 * 1_200 + 77), datagrams);

    sender.send(to, b"one").expect("the loopback takes it");
    let mut buffer = [0; 100];
    let one = loop {
        if let Ok(one) = receiver.sockets()[0].receive(&mut buffer) {
            break one;
        }
    };
    assert_eq!((one.from, one.to, one.length), (from, to.ip(), 3), "addresses are told as they are");
}

#[test]
fn threads_share_a_port_and_a_stranger_is_refused() {
    let open = |options: &NetOptions, port, threads| Port::open(options, port, threads);
    let chosen =
        NetOptions { listen: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], ..NetOptions::server() };
    for (options, count) in [(NetOptions::default(), 1), (chosen, 2)] {
        let port = open(&options, 0, 3).expect("a free port");
        let number = port.number();
        for thread in 0..3 {
            let sockets = port.lane(thread).sockets();
            assert!(
                sockets.len() == count && sockets.iter().all(|socket| socket.port().is_ok_and(|its| its == number))
            );
        }
        assert_eq!(open(&options, number, 1).err(), Some(NetError::PortInUse(number)));
        assert_eq!(open(&options, number, 2).err(), Some(NetError::PortInUse(number)));
    }
    let foreign = NetOptions { listen: vec![Ipv4Addr::new(192, 0, 2, 1).into()], ..NetOptions::server() };
    assert_eq!(open(&foreign, 0, 1).err(), Some(NetError::NotOurAddress(foreign.listen[0])));
}

/// All that a reception passes on until so many octets have come.
fn trains(reception: &mut Reception, lane: Lane<'_>, octets: usize) -> Vec<(SocketAddr, Vec<Vec<u8>>)> {
    let (counters, mut passed, mut left) = (Counters::default(), Vec::new(), octets);
    while left > 0 {
        reception.turn(&lane.sockets()[0], &counters, |train, datagrams| {
            left -= datagrams.len();
            passed.push((train.from, datagrams.chunks(train.stride).map(<[u8]>::to_vec).collect()));
        });
    }
    passed
}

#[test]
fn datagrams_that_come_one_by_one_go_on_as_trains_in_their_order() {
    let ((one, one_address), (other, other_address), (receiver, to)) = (end(), end(), end());
    let (one, other, lane) = (one.lane(0), other.lane(0), receiver.lane(0));
    let (long, short, longer) = (packets(70, 500), packets(1, 77), packets(3, 900));
    // All is there before anything is received: a train is not waited for.
    for datagram in long.iter().chain(&short).chain(&longer[..1]) {
        one.send(to, datagram).expect("the loopback takes it");
    }
    other.send(to, &longer[1]).expect("the loopback takes it");
    other.send_train(to, &long[..9].concat(), 500).expect("the loopback takes it");
    other.send(to, &longer[2]).expect("the loopback takes it");

    let passed = trains(&mut Reception::new(), lane, 70 * 500 + 77 + 3 * 900 + 9 * 500);
    let expected = [
        (one_address, long[..64].to_vec()),
        (one_address, [&long[64..], &short[..]].concat()),
        (one_address, longer[..1].to_vec()),
        (other_address, longer[1..2].to_vec()),
        (other_address, long[..9].to_vec()),
        (other_address, longer[2..].to_vec()),
    ];
    assert_eq!(passed, expected);
}

#[tokio::test]
async fn a_relay_forwards_trains_between_proved_legs_and_hands_signalling_up() {
    let relay = PacketPath::relay(&NetOptions::server(), 0, 2, Arc::new(OsClock)).expect("a free port");
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, relay.signalling().port()).into();
    let ((mn, mn_address), (cn, cn_address)) = (end(), end());
    let (mn, cn) = (mn.lane(0), cn.lane(0));
    let table = Arc::new(RelayTable::new());
    table.install(OsClock.now(), SPI_MN, SPI_CN).expect("the table is empty");
    relay.forward_by(Arc::clone(&table), Session(7));

    let train = packets(30, 1_000);
    mn.send_train(to, &train.concat(), 1_000).expect("the loopback takes it");
    let said = loop {
        let mut buffer = [0; 1_500];
        if let Ok(answer) = mn.sockets()[0].receive(&mut buffer) {
            break buffer[..answer.length].to_vec();
        }
    };
    let (header, answer) = decode_source_unknown(&said).expect("the relay says that it does not know the sender");
    assert_eq!((header.session, answer.spi), (Session(7), SPI_CN));

    assert!(table.prove(SPI_MN, mn_address) && table.prove(SPI_CN, cn_address));
    mn.send_train(to, &train.concat(), 1_000).expect("the loopback takes it");
    assert_eq!(receive(cn, 30_000), train);
    let relayed = table.get(SPI_CN).expect("it is installed");
    assert_eq!((relayed.counters(SPI_CN).packets, relayed.counters(SPI_CN).bytes), (30, 30_000));

    let question = [&NON_ESP_MARKER[..], b"question"].concat();
    cn.send(to, &question).expect("the loopback takes it");
    let received = relay.signalling().receive().await.expect("it comes up");
    assert_eq!((received.from, &received.bytes[..]), (cn_address, &question[..]));
    relay.signalling().send(cn_address, Bytes::from_static(b"answer")).expect("the loopback takes it");
    assert_eq!(receive(cn, 6), [b"answer"]);
}

#[test]
fn a_relay_translates_between_families_and_sends_from_where_its_leg_asked() {
    let second = Ipv4Addr::new(127, 0, 0, 2);
    let addresses = [Ipv4Addr::LOCALHOST.into(), second.into(), IpAddr::from(Ipv6Addr::LOCALHOST)];
    for listen in [addresses.to_vec(), Vec::new()] {
        let options = NetOptions { listen, ..NetOptions::server() };
        let relay = PacketPath::relay(&options, 0, 2, Arc::new(OsClock)).expect("a free port");
        let port = relay.signalling().port();
        let end = |address: IpAddr| {
            let socket = UdpSocket::bind((address, 0)).expect("a free port");
            socket.set_read_timeout(Some(Duration::from_secs(30))).expect("it is open");
            socket
        };
        let (mn, cn) = (end(Ipv4Addr::LOCALHOST.into()), end(Ipv6Addr::LOCALHOST.into()));
        let table = Arc::new(RelayTable::new());
        table.install(OsClock.now(), SPI_MN, SPI_CN).expect("the table is empty");
        relay.forward_by(Arc::clone(&table), Session(7));
        let (asked, other) = (SocketAddr::from((second, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
        let mut buffer = [0; 2_000];

        // Who is told that its source is unknown hears it from where it asked, and so it is with everything after.
        mn.send_to(&packets(1, 100)[0], asked).expect("the loopback takes it");
        assert_eq!(mn.recv_from(&mut buffer).expect("it is told").1, asked);
        table.prove(SPI_MN, mn.local_addr().expect("it is bound"));
        table.prove(SPI_CN, cn.local_addr().expect("it is bound"));
        mn.send_to(&packets(1, 100)[0], asked).expect("the loopback takes it");
        assert_eq!(cn.recv_from(&mut buffer).expect("it is relayed"), (100, other));
        assert_eq!(buffer[..100], packets(1, 100)[0]);
        let back = [&SPI_MN.0.to_be_bytes()[..], &[9; 90]].concat();
        cn.send_to(&back, other).expect("the loopback takes it");
        assert_eq!(mn.recv_from(&mut buffer).expect("it is relayed"), (94, asked));
        let counters = relay.counters();
        assert_eq!((counters.received.get(), counters.source_unknown.get()), (3, 1));
        // The last is counted after it has been sent.
        while counters.sent.get() < 2 {
            std::thread::yield_now();
        }
    }
}

/// A clock that has stopped for good.
struct Broken;

impl Clock for Broken {
    fn now(&self) -> ntmobile_proto::time::Instant {
        panic!("the clock is broken")
    }

    fn wall(&self) -> ntmobile_proto::time::UnixTime {
        OsClock.wall()
    }

    fn sleep_until(&self, at: ntmobile_proto::time::Instant) -> futures::future::BoxFuture<'static, ()> {
        OsClock.sleep_until(at)
    }
}

#[tokio::test]
async fn a_thread_that_panics_is_told_of() {
    let relay = PacketPath::relay(&NetOptions::server(), 0, 2, Arc::new(Broken)).expect("a free port");
    relay.forward_by(Arc::new(RelayTable::new()), Session(7));
    let (node, _events) = PacketPath::node(0, 1, Arc::new(Broken)).expect("a free port");
    for path in [relay, node] {
        let early = futures::FutureExt::now_or_never(path.failed());
        assert_eq!(early, None, "nothing has failed yet");
        let (sender, _) = end();
        let to = (Ipv4Addr::LOCALHOST, path.signalling().port()).into();
        sender.lane(0).send(to, &packets(1, 100)[0]).expect("the loopback takes it");
        assert_eq!(path.failed().await, Failure::Panicked("the clock is broken".into()));
    }
}

#[tokio::test]
async fn what_nobody_takes_up_is_dropped_and_counted() {
    let (path, _events) = PacketPath::node(0, 1, Arc::new(OsClock)).expect("a free port");
    let (sender, _) = end();
    let sender = sender.lane(0);
    let to: SocketAddr = (Ipv4Addr::LOCALHOST, path.signalling().port()).into();
    while path.counters().signalling_overload.get() == 0 {
        sender.send(to, &[0; 12]).expect("the loopback takes it");
    }
    sender.send(to, &packets(1, 100)[0]).expect("the loopback takes it");
    sender.send(to, &[1, 2, 3]).expect("the loopback takes it");
    while path.counters().unknown_spi.get() == 0 || path.counters().malformed.get() == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..UPWARD {
        path.signalling().receive().await.expect("as many as may wait are there");
    }
}

#[test]
fn a_path_has_room_for_what_is_left_beside_the_headers() {
    let v4: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
    let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 1).into();
    assert_eq!((outbound::room(v4, 1_500), outbound::room(v6, 1_500)), (1_438, 1_418));
    assert_eq!(sealed_length(1_438) + 28, 1_500);
    assert_eq!(outbound::room(v4, 20), 0);
    let largest = largest_super_packet(1_420);
    assert!((40_000..=65_536).contains(&largest), "{largest}");
}

/// Adds up to all ones if the checksum in it is right.
fn sum(start: u64, bytes: &[u8]) -> u16 {
    fold(add_bytes(start, bytes))
}

#[test]
fn an_application_is_told_how_much_fits() {
    let mut packet = vec![0x45, 0, 5, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 100, 64, 0, 1, 100, 64, 0, 2];
    packet.resize(1_280, 9);
    let answer = too_big::packet_too_big(&packet, 1_280).expect("it may not be fragmented");
    assert_eq!(answer.len(), 576);
    assert_eq!((&answer[12..16], &answer[16..20]), (&packet[16..20], &packet[12..16]));
    assert_eq!((&answer[20..22], &answer[26..28]), (&[3, 4][..], &1_280u16.to_be_bytes()[..]));
    assert_eq!((sum(0, &answer[..20]), sum(0, &answer[20..])), (0xffff, 0xffff));
    packet[6] = 0;
    assert_eq!(too_big::packet_too_big(&packet, 1_280), None, "it may be fragmented");

    let mut packet = vec![0x60, 0, 0, 0, 5, 0, 17, 64];
    packet.extend_from_slice(&[1; 16]);
    packet.extend_from_slice(&[2; 16]);
    packet.resize(1_320, 3);
    let answer = too_big::packet_too_big(&packet, 1_300).expect("IPv6 is never fragmented on its way");
    assert_eq!(answer.len(), 1_280);
    assert_eq!((&answer[8..24], &answer[24..40]), (&packet[24..40], &packet[8..24]));
    assert_eq!((&answer[40..42], &answer[44..48]), (&[2, 0][..], &1_300u32.to_be_bytes()[..]));
    let pseudo = u64::from(1_240u16.to_be()) + u64::from(58u16.to_be());
    assert_eq!(sum(pseudo, &answer[8..]), 0xffff);
    packet[6] = 58;
    assert_eq!(too_big::packet_too_big(&packet, 1_300), None, "no error about an error");
}
