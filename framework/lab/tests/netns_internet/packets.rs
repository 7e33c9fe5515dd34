//! What crosses, how long it takes, and what does not cross.

use crate::site::{Plan, delay, hears_nothing, receive};
use ntmobile_lab::netns::internet::{Edge, Overload};
use ntmobile_sim::network::{DropReason, LinkRecord};
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The round trips that `ping` tells, in milliseconds.
fn round_trips(said: &str) -> Vec<f64> {
    let times = said.lines().filter_map(|line| line.split_once("time=")?.1.split(' ').next()?.parse().ok());
    times.collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_round_trip_takes_what_the_links_say() {
    let mut plan = Plan::new();
    let (core, slow) = (plan.core, delay(20));
    let (alice, bob) = (plan.host("alice", core, slow), plan.host("bob", core, delay(5)));
    let living = plan.live(&[&alice, &bob]);
    for address in [bob.ipv4, bob.ipv6] {
        let said = alice.namespace.must(&format!("ping -n -c 5 -i 0.1 -w 20 {address}"));
        let round_trips = round_trips(&said);
        assert_eq!(round_trips.len(), 5, "{said}");
        assert!(round_trips.iter().all(|time| *time >= 50.0), "{said}");
    }
    let account = living.internet.finish().expect("it lived to its end");
    assert_eq!(account.punctuality.lost, 0);
    assert!(account.punctuality.handed_over >= 20, "{account:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_route_is_traced_hop_by_hop() {
    let mut plan = Plan::new();
    let access = plan.below_core("access", ntmobile_sim::network::NodeKind::Router, delay(1), &["198.51.100.0/24"]);
    let (alice, bob) = (plan.host("alice", access, delay(1)), plan.host("bob", plan.core, delay(1)));
    let _living = plan.live(&[&alice, &bob]);
    for (hops, reporter) in [(1, "198.51.100.1"), (2, "203.0.113.1")] {
        let (_, said) = alice.namespace.run(&format!("ping -n -c 1 -w 20 -t {hops} {}", bob.ipv4));
        assert!(said.contains(&format!("From {reporter}")) && said.contains("Time to live exceeded"), "{said}");
    }
    assert!(alice.namespace.must(&format!("ping -n -c 1 -w 20 -t 3 {}", bob.ipv4)).contains("ttl=62"));
}

/// Carries a megabyte over one connection.
fn megabyte(listener: &TcpListener, mut client: TcpStream) {
    let sent: Vec<u8> = (0..1_000_000u32).map(|number| (number % 251) as u8).collect();
    thread::scope(|scope| {
        let received = scope.spawn(|| {
            let (mut server, _) = listener.accept().expect("somebody connects");
            let mut received = Vec::new();
            server.read_to_end(&mut received).expect("it comes");
            received
        });
        client.write_all(&sent).expect("it goes");
        client.shutdown(std::net::Shutdown::Write).expect("it is open");
        assert!(received.join().expect("it does not panic") == sent, "what came is not what was sent");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn tcp_carries_a_megabyte_over_a_lossy_link() {
    let mut plan = Plan::new();
    let lossy = LinkRecord { loss: 0.01, jitter: Duration::from_millis(2), rate: Some(50_000_000), ..delay(2) };
    let (alice, bob) = (plan.host("alice", plan.core, lossy), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    for address in [bob.ipv4, bob.ipv6] {
        let listener = bob.namespace.enter(|| TcpListener::bind((address, 7_000))).expect("the address is there");
        let client = alice.namespace.enter(|| TcpStream::connect((address, 7_000))).expect("it connects");
        megabyte(&listener, client);
    }
    let account = living.internet.finish().expect("it lived to its end");
    assert!(account.totals.dropped(DropReason::LinkLoss) > 0, "{account:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_link_that_loses_everything_lets_nothing_through() {
    let mut plan = Plan::new();
    let (alice, bob) =
        (plan.host("alice", plan.core, LinkRecord { loss: 1.0, ..delay(1) }), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    let (here, there) = (alice.udp(1_000), bob.udp(2_000));
    for _ in 0..20 {
        here.send_to(b"lost", bob.at(2_000)).expect("the device takes it");
    }
    hears_nothing(&there);
    let counted = living.internet.network(|network| network.counters(alice.node).dropped(DropReason::LinkLoss));
    assert_eq!(counted, 20);
    living.internet.network(|network| network.set_link(alice.interface, delay(1))).expect("a sensible link");
    here.send_to(b"not lost", bob.at(2_000)).expect("the device takes it");
    assert_eq!(receive(&there).0, b"not lost");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_narrow_link_is_told_and_what_may_be_cut_is_cut() {
    let mut plan = Plan::new();
    let narrow = LinkRecord { mtu: 1_280, ..delay(1) };
    let access = plan.below_core(
        "access",
        ntmobile_sim::network::NodeKind::Router,
        narrow,
        &["198.51.100.0/24", "2001:db8:1::/64"],
    );
    let (alice, bob) = (plan.host("alice", access, delay(1)), plan.host("bob", plan.core, delay(1)));
    let _living = plan.live(&[&alice, &bob]);
    for (address, told) in [(bob.ipv4, "mtu = 1280"), (bob.ipv6, "mtu=1280")] {
        // The kernel remembers, so the second one does not even leave.
        let (_, said) = alice.namespace.run(&format!("ping -n -M do -s 1300 -c 2 -i 0.2 -w 20 {address}"));
        assert!(said.contains(told), "{said}");
    }
    let (here, there) = (alice.udp(1_000), bob.udp(2_000));
    let large: Vec<u8> = (0..4_000u32).map(|number| number as u8).collect();
    for (from, to) in [((&here, &there), bob.at(2_000)), ((&there, &here), alice.at(1_000))] {
        // The first ones may be answered with the news of the narrow link; then the kernel cuts.
        let arrived = (0..10).find_map(|_| {
            let _news_of_the_narrow_link = from.0.send_to(&large, to);
            from.1.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket may wait");
            let mut buffer = vec![0; 5_000];
            from.1.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec())
        });
        assert!(arrived.as_ref() == Some(&large), "it does not come through");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_the_model_does_not_know_is_counted_and_dropped() {
    let mut plan = Plan::new();
    let (alice, bob) = (plan.host("alice", plan.core, delay(1)), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    let to = bob.ipv4;
    alice.namespace.python(&format!(
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 47); [s.sendto(b'x' * 50, ('{to}', 0)) for _ in range(3)]"
    ));
    let (here, there) = (alice.udp(1_000), bob.udp(2_000));
    here.send_to(b"known", bob.at(2_000)).expect("the device takes it");
    assert_eq!(receive(&there).0, b"known");
    let Edge { refused, taken_in, .. } = living.internet.account().edge;
    assert_eq!((refused.unknown_transport, taken_in), (3, 1));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_machine_that_stands_still_is_found_out() {
    let mut plan = Plan::new();
    let (alice, bob) = (plan.host("alice", plan.core, delay(50)), plan.host("bob", plan.core, delay(1)));
    let living = plan.live(&[&alice, &bob]);
    let (here, there) = (alice.udp(1_000), bob.udp(2_000));
    here.send_to(b"late", bob.at(2_000)).expect("the device takes it");
    let deadline = Instant::now() + Duration::from_secs(20);
    while living.internet.account().edge.taken_in == 0 {
        assert!(Instant::now() < deadline, "the packet is not taken in");
        thread::sleep(Duration::from_millis(1));
    }
    // Nothing is carried meanwhile, as when the machine has no time for it.
    living.internet.network(|_| thread::sleep(Duration::from_millis(300)));
    receive(&there);
    let punctuality = living.internet.finish().expect("it lived to its end").punctuality;
    assert!(punctuality.worst > Duration::from_millis(200), "{punctuality:?}");
    assert!(matches!(punctuality.overload(), Some(Overload::Late(_) | Overload::Stalled(_))), "{punctuality:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn nothing_is_left_behind() {
    let mut plan = Plan::new();
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("the kernel lists threads").flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "internet").count()
    };
    let (alice, bob) = (plan.host("alice", plan.core, delay(1)), plan.host("bob", plan.core, delay(1)));
    assert_eq!(threads(), 0);
    let living = plan.live(&[&alice, &bob]);
    assert!(alice.namespace.devices().contains("net0"));
    assert_eq!(threads(), 1);
    // A packet on its way when it ends is just lost.
    alice.udp(1_000).send_to(b"x", (IpAddr::from([203, 0, 113, 77]), 9)).expect("the device takes it");
    drop(living.internet);
    assert_eq!(threads(), 0);
    for host in [&alice, &bob] {
        assert!(!host.namespace.devices().contains("net0"), "{}", host.namespace.devices());
    }
}
