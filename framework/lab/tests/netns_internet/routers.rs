//! A router of the real kernel attached by its outer side: it does the NAT, the model does the way.

use crate::site::{Namespace, Plan, addresses, delay, hears_nothing, receive};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

#[test]
#[ignore = "needs root and network namespaces"]
fn a_kernels_nat_is_reached_over_the_models_links() {
    let mut plan = Plan::new();
    let (router, bob) = (plan.host("router", plan.core, delay(10)), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&router, &bob]);
    let lan = "2001:db8:7::/64".parse().expect("a prefix");
    living.internet.network(|network| network.delegate(router.interface, lan));

    // Behind it a cable of the kernel's own, and a host.
    let alice = Namespace::new("alice");
    router.namespace.must(&format!("ip link add lan0 type veth peer name lan0 netns {}", alice.name));
    for (namespace, number) in [(&router.namespace, 1), (&alice, 2)] {
        namespace.must("sysctl -qw net.ipv6.conf.lan0.accept_dad=0");
        namespace.must(&format!("ip addr add 192.168.9.{number}/24 dev lan0"));
        namespace.must(&format!("ip addr add 2001:db8:7::{number}/64 dev lan0 nodad"));
        namespace.must("ip link set lan0 up");
    }
    alice.must("ip route add default via 192.168.9.1");
    alice.must("ip -6 route add default via 2001:db8:7::1");
    router.namespace.must("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for rule in [
        "add table ip nat",
        "add chain ip nat post { type nat hook postrouting priority 100 ; }",
        "add rule ip nat post oifname net0 masquerade",
    ] {
        router.namespace.must(&format!("nft {rule}"));
    }

    let there = bob.udp(2_000);
    let here = alice.udp("192.168.9.2".parse().expect("an address"), 1_000);
    let asked = Instant::now();
    here.send_to(b"out", bob.at(2_000)).expect("the router takes it");
    let (_, seen) = receive(&there);
    assert_eq!(seen.ip(), router.ipv4);
    there.send_to(b"back", seen).expect("the device takes it");
    assert_eq!(receive(&here).0, b"back");
    assert!(asked.elapsed().as_millis() >= 22);

    let (_, bob_over_ipv6) = living.internet.network(|network| addresses(network, bob.node));
    let inner: IpAddr = "2001:db8:7::2".parse().expect("an address");
    let (here, there) = (alice.udp(inner, 1_000), bob.namespace.udp(bob_over_ipv6, 2_000));
    there.send_to(b"in by its prefix", SocketAddr::new(inner, 1_000)).expect("the device takes it");
    assert_eq!(receive(&here).0, b"in by its prefix");

    // What nobody has delegated to it does not come, and what bears a name from elsewhere does not leave.
    router.namespace.must("ip -6 addr add 2001:db8:8::1/128 dev lo");
    let stranger = router.namespace.udp("2001:db8:8::1".parse().expect("an address"), 1_000);
    stranger.send_to(b"x", (bob_over_ipv6, 2_000)).expect("the device takes it");
    hears_nothing(&there);
}
