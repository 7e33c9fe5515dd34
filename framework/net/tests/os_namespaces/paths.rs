//! Ports on paths that are not like loopback: narrow ones, several of them, one family, an interface of choice.

use crate::namespace::Namespace;
use bytes::Bytes;
use ntmobile_net::net::{NetOptions, OsNet};
use ntmobile_net::udp::Outgoing;
use ntmobile_ports::net::{Net, NetError, Received, UdpPort};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::timeout;

/// The server's port.
const SERVER: u16 = 4_500;

/// A host and a server with a router between them, whose second link is narrow.
struct Narrow {
    host: Namespace,
    _router: Namespace,
    server: Namespace,
}

impl Narrow {
    fn new(mtu: u32) -> Self {
        let (host, router, server) = (Namespace::new("host"), Namespace::new("router"), Namespace::new("server"));
        host.cable("wired", &router, "near");
        router.cable("far", &server, "wired");
        router.run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        for (namespace, link, network, number) in
            [(&router, "near", 1, 1), (&host, "wired", 1, 10), (&router, "far", 2, 1), (&server, "wired", 2, 10)]
        {
            namespace.ip(&format!("addr add 10.0.{network}.{number}/24 dev {link}"));
            namespace.ip(&format!("addr add 2001:db8:{network}::{number}/64 dev {link}"));
        }
        for (namespace, network) in [(&host, 1), (&server, 2)] {
            namespace.ip(&format!("route add default via 10.0.{network}.1"));
            namespace.ip(&format!("-6 route add default via 2001:db8:{network}::1"));
        }
        router.ip(&format!("link set far mtu {mtu}"));
        server.ip(&format!("link set wired mtu {mtu}"));
        Self { host, _router: router, server }
    }
}

async fn next(port: &dyn UdpPort) -> Option<Received> {
    next_within(port, Duration::from_millis(500)).await
}

async fn next_within(port: &dyn UdpPort, limit: Duration) -> Option<Received> {
    let received = poll_fn(|context| port.poll_receive(context));
    timeout(limit, received).await.ok().map(|received| received.expect("the port is open"))
}

#[test]
#[ignore = "needs root"]
fn a_narrow_path_carries_long_datagrams_in_fragments_and_super_packets_one_by_one() {
    for mtu in [1_124, 1_280] {
        let path = Narrow::new(mtu);
        let server = std::thread::scope(|scope| {
            let (sender, receiver) = std::sync::mpsc::channel();
            let path = &path;
            let counting = scope.spawn(move || {
                path.server.enter(|| async move {
                    let at = OsNet::new(NetOptions::server()).unwrap().bind_udp(SERVER).unwrap();
                    sender.send(()).unwrap();
                    let mut lengths = Vec::new();
                    while let Ok(received) = timeout(Duration::from_secs(4), at.receive()).await {
                        let received = received.unwrap();
                        at.send(received.from, received.bytes.slice(..received.bytes.len().min(8))).unwrap();
                        lengths.push(received.bytes.len());
                    }
                    lengths
                })
            });
            receiver.recv().unwrap();
            path.host.enter(|| async {
                let net = OsNet::new(NetOptions::default()).unwrap();
                let from = net.open_udp(0).unwrap();
                // Linux carries no IPv6 on a link below 1,280.
                let families: &[&str] = if mtu < 1_280 { &["10.0.2.10"] } else { &["10.0.2.10", "2001:db8:2::10"] };
                for address in families {
                    let to = SocketAddr::new(address.parse().unwrap(), SERVER);
                    let mut answered = false;
                    for _ in 0..5 {
                        from.send(to, vec![1; 1_400].into()).unwrap();
                        answered |= next(&*from).await.is_some();
                    }
                    assert!(answered, "1,400 bytes reach {to} over {mtu}");
                    let bytes = vec![2; 13_500];
                    from.send_outgoing(&Outgoing { to, from: None, bytes: &bytes, segment: Some(1_350) }).unwrap();
                    for _ in 0..10 {
                        assert!(next(&*from).await.is_some(), "every datagram of the super-packet arrives");
                    }
                }
            });
            counting.join().unwrap()
        });
        assert!(server.iter().filter(|&&length| length == 1_350).count() >= 10, "{server:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_host_without_a_family_opens_the_other_and_says_what_it_cannot_reach() {
    let (host, router) = (Namespace::new("host"), Namespace::new("router"));
    host.cable("wired", &router, "lan");
    host.ip("addr add 2001:db8::10/64 dev wired");
    host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        let port = net.bind_udp(0).unwrap();
        let v4: SocketAddr = "198.51.100.1:7".parse().unwrap();
        assert_eq!(port.send(v4, Bytes::from_static(b"?")), Err(NetError::Unreachable(v4)));
        assert_eq!(net.connect_tcp(v4).await.err(), Some(NetError::Unreachable(v4)));
        assert_eq!(port.send("[2001:db8::1]:7".parse().unwrap(), Bytes::from_static(b"?")), Ok(()));
    });
}

#[test]
#[ignore = "needs root"]
fn an_interface_of_choice_is_used_whatever_the_routes_say() {
    let (host, one, two) = (Namespace::new("host"), Namespace::new("one"), Namespace::new("two"));
    host.cable("wired", &one, "lan");
    host.cable("mobile", &two, "lan");
    for (namespace, link, number) in [(&host, "wired", 10), (&one, "lan", 1)] {
        namespace.ip(&format!("addr add 10.0.1.{number}/24 dev {link}"));
    }
    for (namespace, link, number) in [(&host, "mobile", 10), (&two, "lan", 1)] {
        namespace.ip(&format!("addr add 10.0.2.{number}/24 dev {link}"));
    }
    for router in [&one, &two] {
        router.ip("addr add 192.0.2.1/32 dev lo");
    }
    host.ip("route add default via 10.0.1.1");
    host.ip("route add default via 10.0.2.1 metric 100");
    let server: SocketAddr = "192.0.2.1:7".parse().unwrap();
    std::thread::scope(|scope| {
        let serve = |router: &'static str, namespace: &Namespace, ready: std::sync::mpsc::Sender<()>| {
            namespace.enter(|| async move {
                let at = OsNet::new(NetOptions::server()).unwrap().bind_udp(7).unwrap();
                ready.send(()).unwrap();
                let received = next_within(&*at, Duration::from_secs(5)).await.expect("somebody asks");
                at.send(received.from, Bytes::from_static(router.as_bytes())).unwrap();
                received.from.ip()
            })
        };
        let (ready, is_ready) = std::sync::mpsc::channel();
        let other = ready.clone();
        let (one, two) = (&one, &two);
        let first = scope.spawn(move || serve("one", one, ready));
        let second = scope.spawn(move || serve("two", two, other));
        is_ready.recv().unwrap();
        is_ready.recv().unwrap();
        host.enter(|| async {
            for (device, expected) in [(None, "one"), (Some("mobile"), "two")] {
                let options = NetOptions { device: device.map(str::to_owned), ..NetOptions::default() };
                let net = OsNet::new(options).unwrap();
                let port = net.bind_udp(0).unwrap();
                port.send(server, Bytes::from_static(b"who?")).unwrap();
                assert_eq!(next(&*port).await.expect("an answer").bytes, expected);
            }
            let net = OsNet::new(NetOptions { device: Some("mobile".to_owned()), ..NetOptions::default() }).unwrap();
            assert_eq!(net.addresses(), ["10.0.2.10".parse::<IpAddr>().unwrap()]);
        });
        assert_eq!(first.join().unwrap(), "10.0.1.10".parse::<IpAddr>().unwrap());
        assert_eq!(second.join().unwrap(), "10.0.2.10".parse::<IpAddr>().unwrap());
    });
}
