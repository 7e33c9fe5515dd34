//! Addresses come and go, links lose their carrier, the way out moves: it is told in time, once, and rightly.

use crate::namespace::Namespace;
use ntmobile_net::net::{NetOptions, OsNet};
use ntmobile_ports::net::Net;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// Within this time a change is told.
const SOON: Duration = Duration::from_secs(1);
/// The kernel itself tells of carriers once in a second.
const CARRIER: Duration = Duration::from_millis(2_200);
/// What is not told within this time is not told.
const LONG: Duration = Duration::from_millis(700);

/// A host on two networks, each with a router; the first leads out.
struct TwoUplinks {
    host: Namespace,
    _routers: [Namespace; 2],
}

impl TwoUplinks {
    fn new() -> Self {
        let (host, one, two) = (Namespace::new("host"), Namespace::new("one"), Namespace::new("two"));
        host.cable("wired", &one, "lan");
        host.cable("mobile", &two, "lan");
        for (router, number) in [(&one, 1), (&two, 2)] {
            router.ip(&format!("addr add 192.0.2.{number}/32 dev lo"));
            router.ip(&format!("addr add 10.0.{number}.1/24 dev lan"));
            router.ip(&format!("addr add 2001:db8:{number}::1/64 dev lan"));
        }
        host.ip("addr add 10.0.1.10/24 dev wired");
        host.ip("addr add 2001:db8:1::10/64 dev wired");
        host.ip("addr add 10.0.2.10/24 dev mobile");
        host.ip("addr add 2001:db8:2::10/64 dev mobile");
        host.ip("route add default via 10.0.1.1");
        host.ip("-6 route add default via 2001:db8:1::1");
        Self { host, _routers: [one, two] }
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

async fn change(net: &OsNet, seen: u64) -> u64 {
    change_within(SOON, net, seen).await
}

async fn change_within(limit: Duration, net: &OsNet, seen: u64) -> u64 {
    timeout(limit, net.address_change(seen)).await.expect("the change is told in time")
}

async fn no_change(net: &OsNet, seen: u64) {
    assert!(timeout(LONG, net.address_change(seen)).await.is_err(), "nothing that matters has changed");
}

#[test]
#[ignore = "needs root"]
fn the_way_out_decides_which_address_is_preferred() {
    let site = TwoUplinks::new();
    site.host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        assert_eq!(net.addresses(), addresses(&["2001:db8:1::10", "10.0.1.10", "10.0.2.10", "2001:db8:2::10"]));
        // As when another host of this machine makes its own interface: none of ours.
        site.host.ip("route replace default via 10.0.2.1");
        let seen = change(&net, 0).await;
        assert_eq!(net.addresses(), addresses(&["2001:db8:1::10", "10.0.2.10", "10.0.1.10", "2001:db8:2::10"]));
        site.host.ip("-6 route del default");
        let seen = change(&net, seen).await;
        assert_eq!(net.addresses()[0], "10.0.2.10".parse::<IpAddr>().unwrap());
        no_change(&net, seen).await;
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_is_told_when_it_comes_and_when_it_goes() {
    let site = TwoUplinks::new();
    site.host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        let before = net.addresses();
        site.host.ip("addr add 10.0.1.11/24 dev wired");
        let seen = change(&net, 0).await;
        let mut with = before.clone();
        with.insert(2, "10.0.1.11".parse().unwrap());
        assert_eq!(net.addresses(), with);
        site.host.ip("addr del 10.0.1.11/24 dev wired");
        let seen = change(&net, seen).await;
        assert_eq!(net.addresses(), before);
        // Renumbered in one go: told once.
        site.host.ip("addr flush dev mobile scope global");
        site.host.ip("addr add 10.0.2.20/24 dev mobile");
        let seen = change(&net, seen).await;
        assert!(net.addresses().contains(&"10.0.2.20".parse().unwrap()));
        no_change(&net, seen).await;
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_without_a_carrier_is_of_no_use() {
    let site = TwoUplinks::new();
    site.host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        let [router, _] = &site._routers;
        let before = net.addresses();
        let mobile = addresses(&["10.0.2.10", "2001:db8:2::10"]);
        router.ip("link set lan down");
        let seen = change_within(CARRIER, &net, 0).await;
        assert_eq!(net.addresses(), mobile);
        router.ip("link set lan up");
        let seen = change_within(CARRIER, &net, seen).await;
        assert_eq!(net.addresses(), before);
        site.host.ip("link set wired down");
        change(&net, seen).await;
        assert_eq!(net.addresses(), mobile);
    });
}

#[test]
#[ignore = "needs root"]
fn what_is_of_no_use_to_others_is_neither_listed_nor_told() {
    let site = TwoUplinks::new();
    site.host.ip("tuntap add dev ntm0 mode tun");
    site.host.enter(|| async {
        let options = NetOptions { own_interfaces: vec!["ntm0".to_owned()], ..NetOptions::default() };
        let net = OsNet::new(options).unwrap();
        let before = net.addresses();
        site.host.ip("addr add 100.64.0.9/32 dev ntm0");
        site.host.ip("link set ntm0 up");
        site.host.ip("addr add 169.254.7.7/16 dev wired");
        site.host.ip("addr add fe80::7/64 dev wired");
        site.host.ip("addr add 127.0.0.7/8 dev lo");
        site.host.ip("route add 192.0.2.2 via 10.0.2.1");
        no_change(&net, 0).await;
        assert_eq!(net.addresses(), before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_host_whose_ports_are_on_chosen_addresses_has_no_others() {
    let site = TwoUplinks::new();
    site.host.enter(|| async {
        for (listen, expected) in [
            (&["10.0.2.10"][..], &["10.0.2.10"][..]),
            (&["10.0.2.10", "2001:db8:1::10"], &["2001:db8:1::10", "10.0.2.10"]),
            (&["0.0.0.0"], &["10.0.1.10", "10.0.2.10"]),
            (&["127.0.0.1"], &["127.0.0.1"]),
            (&["127.0.0.5"], &["127.0.0.5"]),
            (&["10.0.9.9"], &[]),
        ] {
            let net = OsNet::new(NetOptions { listen: addresses(listen), ..NetOptions::server() }).unwrap();
            assert_eq!(net.addresses(), addresses(expected), "{listen:?}");
        }
    });
}

#[test]
#[ignore = "needs root"]
fn an_address_is_not_used_before_it_is_verified() {
    let site = TwoUplinks::new();
    site.host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        site.host.run("sysctl -qw net.ipv6.conf.wired.accept_dad=1");
        let new: IpAddr = "2001:db8:1::11".parse().unwrap();
        site.host.ip("addr add 2001:db8:1::11/64 dev wired");
        assert!(!net.addresses().contains(&new), "it might be another's");
        timeout(Duration::from_secs(5), net.address_change(0)).await.expect("it is told when it is verified");
        assert!(net.addresses().contains(&new));
    });
}

#[test]
#[ignore = "needs root"]
fn a_host_with_one_family_has_addresses_of_that_family() {
    let (host, router) = (Namespace::new("host"), Namespace::new("router"));
    host.cable("wired", &router, "lan");
    router.ip("addr add 2001:db8::1/64 dev lan");
    host.ip("addr add 2001:db8::10/64 dev wired");
    host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        assert_eq!(net.addresses(), addresses(&["2001:db8::10"]));
        host.ip("addr del 2001:db8::10/64 dev wired");
        let seen = change(&net, 0).await;
        assert!(net.addresses().is_empty());
        host.ip("addr add 10.0.0.10/24 dev wired");
        change(&net, seen).await;
        assert_eq!(net.addresses(), addresses(&["10.0.0.10"]));
    });
}

#[test]
#[ignore = "needs root"]
fn a_storm_of_routes_is_borne_in_silence() {
    let site = TwoUplinks::new();
    let batch: String =
        (0..20_000u32).map(|n| format!("route add 172.16.{}.{}/32 via 10.0.2.1\n", n / 250, n % 250)).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), batch).unwrap();
    site.host.enter(|| async {
        let net = OsNet::new(NetOptions::default()).unwrap();
        let waiting = net.address_change(0);
        site.host.ip(&format!("-batch {}", file.path().display()));
        assert!(timeout(LONG, waiting).await.is_err(), "the way out is the same");
        // More was told than there was room for; what comes afterwards is told all the same.
        site.host.ip("addr add 10.0.1.11/24 dev wired");
        change(&net, 0).await;
    });
}
