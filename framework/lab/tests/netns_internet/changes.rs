//! What changes while it lives: hosts move, links go down and come up, and get narrower.

use crate::site::{Host, PATIENCE, Plan, addresses, delay, hears_nothing, receive};
use ntmobile_lab::netns::internet::{AttachError, AttachSettings};
use ntmobile_net::tun::TunError;
use ntmobile_sim::network::{LinkRecord, NatRecord, NodeKind};
use std::thread;
use std::time::{Duration, Instant};

#[test]
#[ignore = "needs root and network namespaces"]
fn a_host_moves_from_one_network_to_another() {
    let mut plan = Plan::new();
    let nat = || NodeKind::Nat(NatRecord::default());
    let home = plan.below_core("home", nat(), delay(2), &["192.168.1.0/24"]);
    let lte = plan.below_core("lte", nat(), delay(10), &["10.0.0.0/24"]);
    let (alice, bob) = (plan.host("alice", home, LinkRecord::default()), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    let there = bob.udp(2_000);
    alice.udp(1_000).send_to(b"from home", bob.at(2_000)).expect("the device takes it");
    let (_, seen_at_home) = receive(&there);

    living.internet.network(|network| network.detach(alice.interface));
    assert!(!alice.namespace.devices().contains("net0"), "the device is gone at once");
    there.send_to(b"too late", seen_at_home).expect("the device takes it");

    let interface = living.internet.network(|network| network.attach(alice.node, lte, LinkRecord::default()));
    let interface = interface.expect("addresses are left");
    let settings = AttachSettings::device("net1");
    living.internet.attach(interface, alice.namespace.handle(), &settings).expect("it can be attached");
    let (address, _) = living.internet.network(|network| addresses(network, alice.node));
    assert!(address.to_string().starts_with("10.0.0."), "{address}");
    let here = alice.namespace.udp(address, 1_000);
    let asked = Instant::now();
    here.send_to(b"from elsewhere", bob.at(2_000)).expect("the device takes it");
    let (words, seen) = receive(&there);
    assert_eq!(words, b"from elsewhere");
    assert_ne!(seen.ip(), seen_at_home.ip());
    there.send_to(b"answer", seen).expect("the device takes it");
    assert_eq!(receive(&here).0, b"answer");
    assert!(asked.elapsed() >= Duration::from_millis(22), "the way is longer now");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_pulled_cable_is_seen_by_the_kernel_and_an_outage_further_away_is_not() {
    let mut plan = Plan::new();
    let access = plan.below_core("access", NodeKind::Router, delay(1), &["198.51.100.0/24"]);
    let uplink = plan.network.interfaces(access)[0];
    let (alice, bob) = (plan.host("alice", access, delay(1)), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    let (here, there) = (alice.udp(1_000), bob.udp(2_000));
    for (link, is_seen) in [(alice.interface, true), (uplink, false)] {
        living.internet.network(|network| network.set_link_up(link, false));
        // Without a carrier the kernel may refuse it.
        let _refused = here.send_to(b"lost", bob.at(2_000));
        hears_nothing(&there);
        if is_seen {
            await_devices(&alice, |devices| devices.contains("NO-CARRIER"));
        } else {
            assert!(!alice.namespace.devices().contains("NO-CARRIER"));
        }
        living.internet.network(|network| network.set_link_up(link, true));
        await_devices(&alice, |devices| !devices.contains("NO-CARRIER"));
        here.send_to(b"back", bob.at(2_000)).expect("the device takes it");
        assert_eq!(receive(&there).0, b"back");
    }
}

/// The kernel tells of carriers once in a second.
fn await_devices(host: &Host, expected: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !expected(&host.namespace.devices()) {
        assert!(Instant::now() < deadline, "{}", host.namespace.devices());
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_device_is_as_narrow_as_the_link() {
    let mut plan = Plan::new();
    let alice = plan.host("alice", plan.core, LinkRecord { mtu: 1_400, ..delay(1) });
    let living = plan.live(&[&alice]);
    assert!(alice.namespace.devices().contains("mtu 1400"));
    let narrower = LinkRecord { mtu: 1_280, ..delay(1) };
    living.internet.network(|network| network.set_link(alice.interface, narrower)).expect("a sensible link");
    assert!(alice.namespace.devices().contains("mtu 1280"));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_interface_is_attached_once_and_a_name_is_used_once() {
    let mut plan = Plan::new();
    let (alice, bob) = (plan.host("alice", plan.core, delay(1)), plan.host("bob", plan.core, delay(1)));
    let (carol, core) = (plan.network.add_node("carol", NodeKind::Host).expect("a new name"), plan.core);
    let living = plan.live(&[&alice]);
    let device = AttachSettings::device;
    let again = living.internet.attach(alice.interface, bob.namespace.handle(), &device("net1"));
    assert!(matches!(again, Err(AttachError::NotFree(name)) if name == "alice>core"));
    let taken = living.internet.attach(bob.interface, alice.namespace.handle(), &device("net0"));
    assert!(matches!(taken, Err(AttachError::Device(TunError::InUse(_)))), "{taken:?}");
    let gone = living.internet.network(|network| {
        let interface = network.attach(carol, core, delay(1)).expect("addresses are left");
        network.detach(interface);
        interface
    });
    assert!(matches!(
        living.internet.attach(gone, bob.namespace.handle(), &device("net0")),
        Err(AttachError::NotFree(_))
    ));
    // Somebody removes the device: the others go on.
    alice.namespace.must("ip link del net0");
    living.internet.attach(bob.interface, bob.namespace.handle(), &device("net0")).expect("it can be attached");
    bob.namespace.must(&format!("ping -n -c 1 -w 20 {}", bob.ipv4));
    assert_eq!(living.internet.finish().expect("it lived to its end").punctuality.lost, 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_host_on_two_networks_leaves_by_the_one_with_the_smaller_metric() {
    let mut plan = Plan::new();
    let wifi = plan.below_core("wifi", NodeKind::Router, delay(1), &["198.51.100.0/25"]);
    let lte = plan.below_core("lte", NodeKind::Router, delay(1), &["198.51.100.128/25"]);
    let (alice, bob) = (plan.host("alice", wifi, delay(1)), plan.host("bob", plan.core, delay(1)));
    let second = plan.network.attach(alice.node, lte, delay(1)).expect("addresses are left");
    let living = plan.live(&[&bob]);
    for (interface, device, metric) in [(alice.interface, "wlan0", 100), (second, "wwan0", 101)] {
        let settings = AttachSettings { device: device.to_owned(), default_metric: Some(metric) };
        living.internet.attach(interface, alice.namespace.handle(), &settings).expect("it can be attached");
    }
    let there = bob.udp(2_000);
    let seen = || {
        let here = alice.namespace.udp([0, 0, 0, 0].into(), 0);
        here.send_to(b"whence", bob.at(2_000)).expect("a device takes it");
        receive(&there).1.ip()
    };
    assert_eq!(seen(), alice.ipv4);
    living.internet.network(|network| network.detach(alice.interface));
    let left = living.internet.network(|network| network.interface_addresses(second).next());
    assert_eq!(Some(seen()), left);
    assert!(living.internet.is_alive());
}
