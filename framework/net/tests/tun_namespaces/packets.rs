//! What applications see of the packet path.

use crate::pair::{End, MTU, addresses, pair};
use ntmobile_net::packet_path::Event;
use ntmobile_proto::machine::PacketNotice;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Octets of a transfer: many super-packets.
const TRANSFER: usize = 30_000_000;

/// What is transferred: every position is told from its neighbours.
fn content() -> Vec<u8> {
    (0..TRANSFER).map(|position| (position ^ position >> 8 ^ position >> 16) as u8).collect()
}

/// Sends `content` by TCP from the first end to the second at this address.
fn transfer([from, to]: [&End; 2], address: IpAddr, content: &[u8]) {
    let listener = to.namespace.enter(async || TcpListener::bind((address, 0)).expect("the address is ours"));
    let at = listener.local_addr().expect("it is bound");
    std::thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut received = Vec::new();
            stream.read_to_end(&mut received).expect("it ends in order");
            received
        });
        let mut stream = from.namespace.enter(async || TcpStream::connect(at).expect("it is reached"));
        stream.write_all(content).expect("it is taken");
        drop(stream);
        assert!(received.join().expect("no panic") == content, "something was changed on the way to {address}");
    });
}

fn v4(end: u8) -> IpAddr {
    addresses(end).v4.into()
}

fn v6(end: u8) -> IpAddr {
    addresses(end).v6.into()
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn tcp_crosses_by_the_train_in_both_families_and_directions() {
    let [near, far] = &mut pair(2);
    let content = content();
    transfer([near, far], v4(2), &content);
    transfer([far, near], v6(1), &content);
    let counters = near.path.counters();
    assert!(counters.sent.get() > 10 * counters.trains_sent.get(), "datagrams do not go by the train");
    assert!(far.path.counters().received.get() > 10 * far.path.counters().written.get(), "packets are not joined");
    for end in [near, far] {
        assert_eq!(end.path.counters().refused.get(), 0);
        assert!(matches!(end.events.try_recv(), Ok(Event::Notice(PacketNotice::Proved { .. }))));
    }
}

/// Sends datagrams of these sizes from the first end to the second, and expects what arrives to be what was sent.
fn datagrams([from, to]: [&End; 2], to_address: IpAddr, from_address: IpAddr, sizes: &[usize]) {
    let bind = |end: &End, address: IpAddr| end.namespace.enter(async || UdpSocket::bind((address, 0)).expect("ours"));
    let (sender, receiver) = (bind(from, from_address), bind(to, to_address));
    receiver.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
    let at: SocketAddr = receiver.local_addr().expect("it is bound");
    let mut buffer = vec![0; 65_536];
    for (number, size) in sizes.iter().enumerate() {
        let datagram = vec![number as u8; *size];
        sender.send_to(&datagram, at).expect("it is taken");
        let length = receiver.recv(&mut buffer).expect("it arrives");
        assert!(buffer[..length] == datagram, "datagram {number} of {size} octets");
    }
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn datagrams_of_every_size_arrive_as_they_were_sent() {
    let [near, far] = &pair(1);
    let sizes = [0, 1, 2, 3, 100, 1_391, 1_392, 1_393, 4_000, 20_000, 60_000];
    datagrams([near, far], v4(2), v4(1), &sizes);
    datagrams([far, near], v6(1), v6(2), &sizes);
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_narrow_path_is_told_to_applications_and_carries_what_they_may_count_on() {
    let [near, far] = &pair(1);
    let content = &content()[..5_000_000];
    for outer in [1_400, 1_124] {
        // The first path has room for a smaller inner packet, the second has less than 1,280: outer packets are fragmented.
        near.namespace.ip("route flush cache");
        near.namespace.ip(&format!("route replace 10.9.0.2/32 dev cable mtu {outer}"));
        transfer([near, far], v4(2), content);
        transfer([near, far], v6(2), content);
        datagrams([near, far], v4(2), v4(1), &[1_200, 1_252]);
    }
    let counters = near.path.counters();
    assert!(counters.too_big.get() > 0);
    // What is too long all the time is cut all the time, and the kernel is not asked each time.
    let (asked, sent) = (counters.path_asked.get(), counters.trains_sent.get());
    assert!((1..20).contains(&asked) && sent > 100, "asked {asked} times in {sent} trains");
    let shown = near.namespace.ip(&format!("route get {}", v4(2)));
    assert!(shown.contains(" mtu 1") && !shown.contains(&format!("mtu {MTU}")), "no application was told: {shown}");
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_peer_that_has_moved_is_reported_and_followed() {
    let [near, far] = &mut pair(1);
    datagrams([near, far], v4(2), v4(1), &[100]);
    while far.events.try_recv().is_ok() {}
    near.namespace.ip("address add 10.9.0.7/24 dev cable");
    near.namespace.ip("route replace 10.9.0.2/32 dev cable src 10.9.0.7");
    // What goes back still goes to the old place, which is still there.
    datagrams([near, far], v4(2), v4(1), &[100, 100]);
    datagrams([far, near], v4(1), v4(2), &[100]);
    let from = SocketAddr::from(([10, 9, 0, 7], 4_500));
    assert!(
        matches!(far.events.try_recv(), Ok(Event::Notice(PacketNotice::Roamed { from: told, .. })) if told == from)
    );
    far.tunnel.move_to(from);
    near.namespace.ip("address del 10.9.0.1/24 dev cable");
    near.namespace.ip("address add 10.9.0.7/24 dev cable noprefixroute");
    near.namespace.ip("route replace 10.9.0.0/24 dev cable src 10.9.0.7");
    datagrams([far, near], v4(1), v4(2), &[100]);
    datagrams([near, far], v4(2), v4(1), &[100]);
}

#[test]
#[ignore = "needs root: makes network namespaces and devices"]
fn a_packet_without_a_tunnel_goes_up_and_can_be_sent_later() {
    let [near, _far] = &mut pair(1);
    let sender = near.namespace.enter(async || UdpSocket::bind((v4(1), 0)).expect("ours"));
    sender.send_to(b"anybody?", (std::net::Ipv4Addr::new(100, 64, 0, 9), 7)).expect("the device takes it");
    let told = loop {
        match near.events.blocking_recv().expect("the path runs") {
            Event::NoTunnel { destination: IpAddr::V4(destination), packet } => break (destination, packet),
            _ => continue,
        }
    };
    assert_eq!(told.0.octets(), [100, 64, 0, 9]);
    let packet = told.1.expect("it was a single packet");
    assert!(packet.ends_with(b"anybody?"));
    assert!(near.path.send(&packet).is_err(), "there is no tunnel yet");
}
