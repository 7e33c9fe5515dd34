//! What is found, and in how many sequential round trips.

use super::world::*;
use crate::machine::{Lookup, LookupFailure};
use crate::resolver::{Families, Found, TIME_OUT, Wanted};
use std::net::IpAddr;
use std::time::Duration;

#[test]
fn a_dc_costs_three_round_trips_cold_two_with_the_tld_known_and_none_warm() {
    let mut world = two_domains(BOTH);
    let (server, cold) = world.round_trips(|world| world.dc("alice.u1.example").expect("found"));
    assert_eq!(server.name, fqdn("dc.u1.example"));
    assert_eq!(server.signalling.v4, Some("192.0.2.11:4510".parse().expect("an address")));
    assert_eq!(server.signalling.v6, Some("[2001:db8::11]:4510".parse().expect("an address")));
    assert_eq!(server.tls.v4, Some("192.0.2.11:4443".parse().expect("an address")));
    assert_eq!(cold, 3);
    let (again, warm) = world.round_trips(|world| world.dc("alice.u1.example"));
    assert_eq!((again, warm), (Ok(server.clone()), 0));
    let (neighbour, warm) = world.round_trips(|world| world.dc("bob.u1.example"));
    assert_eq!((neighbour, warm), (Ok(server), 0));
    let (other, tld_known) = world.round_trips(|world| world.dc("carol.u2.example").expect("found"));
    assert_eq!((other.name, tld_known), (fqdn("dc.u2.example"), 2));
}

#[test]
fn the_domain_itself_leads_to_its_dc() {
    let mut world = two_domains(BOTH);
    let (server, cold) = world.round_trips(|world| world.dc("u1.example").expect("found"));
    assert_eq!((server.name, cold), (fqdn("dc.u1.example"), 3));
}

#[test]
fn a_name_deep_inside_a_domain_leads_to_the_closest_zone() {
    let mut world = two_domains(BOTH);
    let (server, cold) = world.round_trips(|world| world.dc("phone.alice.u1.example").expect("found"));
    assert_eq!((server.name, cold), (fqdn("dc.u1.example"), 3));
}

#[test]
fn a_domain_below_a_dcs_domain_is_anothers_and_costs_one_more() {
    let mut world = two_domains(BOTH);
    let parent = [
        "_ntm._udp.u1.example. SRV 0 0 4510 dc.u1.example.",
        "lab.u1.example. NS dc.lab.u1.example.",
        "dc.lab.u1.example. A 192.0.2.13",
    ];
    world.serve("192.0.2.11", honest("u1.example.", &parent));
    let lab = ["dc.lab.u1.example. A 192.0.2.13", "_ntm._udp.lab.u1.example. SRV 0 0 4513 dc.lab.u1.example."];
    world.serve("192.0.2.13", honest("lab.u1.example.", &lab));
    let (server, cold) = world.round_trips(|world| world.dc("alice.lab.u1.example").expect("found"));
    assert_eq!((server.name, cold), (fqdn("dc.lab.u1.example"), 4));
}

#[test]
fn ports_are_the_default_ones_where_no_srv_record_is() {
    let mut world = two_domains(BOTH);
    world.serve("192.0.2.11", honest("u1.example.", &["dc.u1.example. A 192.0.2.11"]));
    let (server, cold) = world.round_trips(|world| world.dc("alice.u1.example").expect("found"));
    assert_eq!(server.name, fqdn("dc.u1.example"));
    assert_eq!(server.signalling.v4, Some("192.0.2.11:4500".parse().expect("an address")));
    assert_eq!(server.tls.v6, Some("[2001:db8::11]:4433".parse().expect("an address")));
    assert_eq!(cold, 3);
    let (_, new_node) = world.round_trips(|world| world.dc("bob.u1.example").expect("found"));
    assert_eq!(new_node, 1);
    let (_, known_node) = world.round_trips(|world| world.dc("bob.u1.example").expect("found"));
    assert_eq!(known_node, 0);
}

#[test]
fn a_family_that_the_glue_lacks_is_asked_for_in_the_same_round_trip() {
    let mut world = two_domains(BOTH);
    let delegation = ["u1.example. NS dc.u1.example.", "dc.u1.example. A 192.0.2.11"];
    world.serve("192.0.2.1", honest("example.", &delegation));
    let zone = ["dc.u1.example. A 192.0.2.11", "dc.u1.example. AAAA 2001:db8::11"];
    world.serve("192.0.2.11", honest("u1.example.", &zone));
    let (server, cold) = world.round_trips(|world| world.dc("alice.u1.example").expect("found"));
    assert_eq!(server.signalling.v6, Some("[2001:db8::11]:4500".parse().expect("an address")));
    assert_eq!(cold, 3);
    // A DC of one family costs no more either.
    world.serve("192.0.2.1", honest("example.", &["u3.example. NS dc.u3.example.", "dc.u3.example. A 192.0.2.13"]));
    world.serve("192.0.2.13", honest("u3.example.", &["dc.u3.example. A 192.0.2.13"]));
    let (server, tld_known) = world.round_trips(|world| world.dc("alice.u3.example").expect("found"));
    assert_eq!((server.signalling.v6, tld_known), (None, 2));
}

#[test]
fn a_host_asks_servers_of_its_own_families_alone() {
    let mut world = two_domains(Families { v4: false, v6: true });
    assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::TimedOut), "the only root hint is IPv4");
    let mut world = World::new(&["198.41.0.4", "2001:db8::1"], Families { v4: false, v6: true });
    let root = ["u1. NS dc.u1.", "dc.u1. A 192.0.2.11", "dc.u1. AAAA 2001:db8::11"];
    world.serve("2001:db8::1", honest(".", &root));
    let zone = ["_ntm._udp.u1. SRV 0 0 4510 dc.u1.", "dc.u1. A 192.0.2.11", "dc.u1. AAAA 2001:db8::11"];
    world.serve("2001:db8::11", honest("u1.", &zone));
    let server = world.dc("alice.u1").expect("found");
    assert!(world.asked.iter().all(|(to, _)| to.is_ipv6()));
    assert!(server.signalling.v4.is_some(), "the other family's address came along and is kept for a later network");
}

#[test]
fn a_server_without_glue_in_another_zone_is_looked_up() {
    let mut world = two_domains(BOTH);
    world.serve(
        "192.0.2.1",
        honest(
            "example.",
            &["u3.example. NS dc.u2.example.", "u2.example. NS dc.u2.example.", "dc.u2.example. A 192.0.2.12"],
        ),
    );
    // The same DC serves two domains; the first one's delegation brings no usable glue of its own.
    world.serve("192.0.2.12", honest("example.", &["dc.u2.example. A 192.0.2.12"]));
    let server = world.dc("alice.u3.example").expect("found");
    assert_eq!(server.name, fqdn("dc.u2.example"));
}

#[test]
fn names_that_lead_nowhere_fail_typed() {
    let mut world = two_domains(BOTH);
    assert_eq!(world.dc("alice.nowhere.example"), Err(LookupFailure::NoSuchName));
    assert_eq!(world.dc("alice.u1.nowhere"), Err(LookupFailure::NoSuchName));
    assert_eq!(world.dc("example"), Err(LookupFailure::NoSuchName));
    let ((), again) = world.round_trips(|world| assert!(world.dc("alice.nowhere.example").is_err()));
    assert_eq!(again, 0, "absence is remembered");
}

#[test]
fn an_srv_record_whose_target_is_the_root_means_no() {
    let mut world = two_domains(BOTH);
    world.serve("192.0.2.11", honest("u1.example.", &["_ntm._udp.u1.example. SRV 0 0 0 ."]));
    assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::NoSuchName));
}

#[test]
fn an_as_is_found_by_its_srv_record() {
    let mut world = two_domains(BOTH);
    let wanted = Wanted::Server(Lookup::AccountServer(fqdn("u1.example")));
    let Ok(Found::Server(server)) = world.look_up(wanted) else { panic!("not found") };
    assert_eq!(server.name, fqdn("as.u1.example"));
    assert_eq!(server.tls.v4, Some("192.0.2.99:4433".parse().expect("an address")));
}

#[test]
fn a_plain_host_is_found_through_aliases() {
    let mut world = two_domains(BOTH);
    let zone =
        ["www.u1.example. CNAME web.u1.example.", "web.u1.example. A 203.0.113.1", "web.u1.example. AAAA 2001:db8::80"];
    world.serve("192.0.2.11", honest("u1.example.", &zone));
    let found = world.look_up(Wanted::Host(fqdn("www.u1.example")));
    let expected: [IpAddr; 2] = ["203.0.113.1".parse().expect("v4"), "2001:db8::80".parse().expect("v6")];
    assert_eq!(found, Ok(Found::Host(expected.to_vec())));
    let missing = world.look_up(Wanted::Host(fqdn("missing.u1.example")));
    assert_eq!(missing, Err(LookupFailure::NoSuchName));
}

#[test]
fn look_ups_of_the_same_thing_share_their_queries() {
    let mut world = two_domains(BOTH);
    let wanted = |node: &str| Wanted::Server(Lookup::DirectionCoordinator(fqdn(node)));
    let first = world.resolver.start(world.now, &mut world.chance, wanted("alice.u1.example"));
    let second = world.resolver.start(world.now, &mut world.chance, wanted("alice.u1.example"));
    assert!(world.run(first).is_ok());
    let after_first = world.queries;
    assert_eq!(world.resolver.poll_finished().map(|(id, result)| (id, result.is_ok())), Some((second, true)));
    assert_eq!(world.queries, after_first);
    assert_eq!(world.resolver.deadline(), None, "nothing is left under way");
}

#[test]
fn a_silent_server_is_passed_over_and_asked_last_afterwards() {
    let mut world = two_domains(V4);
    let tld =
        ["example. NS a.example.", "a.example. A 192.0.2.250", "example. NS b.example.", "b.example. A 192.0.2.1"];
    world.serve("198.41.0.4", honest(".", &tld));
    assert!(world.dc("alice.u1.example").is_ok());
    assert_eq!(world.asked.iter().filter(|(to, _)| *to == address("192.0.2.250")).count(), 1);
    let (_, trips) = world.round_trips(|world| world.dc("carol.u2.example").expect("found"));
    assert_eq!(trips, 2, "the silent server is not waited for again");
}

#[test]
fn queries_are_repeated_until_the_time_is_over() {
    let mut world = two_domains(BOTH);
    world.silence("192.0.2.11");
    world.silence("2001:db8::11");
    let start = world.now;
    assert_eq!(world.dc("alice.u1.example"), Err(LookupFailure::TimedOut));
    assert_eq!(world.now.since(start), TIME_OUT);
    let tries = world.asked.iter().filter(|(_, what)| what == "SRV _ntm._udp.u1.example.").count();
    assert!((16..=24).contains(&tries), "{tries} tries");
    assert_eq!(world.resolver.deadline(), None, "nothing is left under way");
}

#[test]
fn every_look_up_succeeds_where_three_of_ten_datagrams_are_lost() {
    const LOOK_UPS: u32 = 500;
    let mut total = Duration::ZERO;
    for seed in 1..=u64::from(LOOK_UPS) {
        let mut world = two_domains(BOTH);
        world.chance = Chance(seed * 0x9E37_79B9);
        world.loss = 77;
        let found = world.dc("alice.u1.example").map(|server| server.name);
        total += world.now.since(crate::time::Instant::ORIGIN);
        assert_eq!(found, Ok(fqdn("dc.u1.example")), "seed {seed}");
        assert_eq!(world.resolver.deadline(), None, "nothing is left under way");
    }
    let mean = total / LOOK_UPS;
    assert!(mean < Duration::from_secs(3), "{mean:?} on average");
}

#[test]
fn a_server_that_has_answered_quickly_is_asked_again_sooner() {
    let waited = |known: bool| {
        let mut world = two_domains(V4);
        if known {
            assert!(world.dc("bob.u1.example").is_ok());
            world.now += Duration::from_secs(301);
            assert!(world.dc("bob.u1.example").is_ok());
        }
        world.silence("198.41.0.4");
        world.now += Duration::from_secs(301);
        let wanted = Wanted::Server(Lookup::DirectionCoordinator(fqdn("alice.u1.example")));
        let start = world.now;
        world.resolver.start(start, &mut world.chance, wanted);
        world.resolver.deadline().expect("an answer is waited for").since(start)
    };
    assert_eq!(waited(false), Duration::from_millis(400));
    assert_eq!(waited(true), Duration::from_millis(100));
}

/// Cuts an answer as a server does that has too little room.
fn cut(answer: &[u8]) -> Vec<u8> {
    let mut message = hickory_proto::op::Message::from_vec(answer).expect("an answer");
    message.metadata.truncation = true;
    message.authorities.clear();
    message.additionals.clear();
    message.to_vec().expect("an answer")
}

#[test]
fn an_answer_that_was_cut_is_asked_for_over_tcp_of_the_same_server() {
    for takes_streams in [true, false] {
        let mut world = two_domains(V4);
        let tld = honest("example.", &["u1.example. NS dc.u1.example.", "dc.u1.example. A 192.0.2.11"]);
        let asked = std::cell::Cell::new(0);
        // The first time by datagram, and cut; the second on a connection, and whole.
        let script = move |query: &hickory_proto::op::Message| {
            asked.set(asked.get() + 1);
            let whole = tld(query)?;
            Some(if asked.get() % 2 == 1 { cut(&whole) } else { whole })
        };
        world.serve("192.0.2.1", Box::new(script));
        world.takes_streams = takes_streams;
        let (found, trips) = world.round_trips(|world| world.dc("alice.u1.example").map(|server| server.name));
        if takes_streams {
            assert_eq!((found, trips), (Ok(fqdn("dc.u1.example")), 4));
        } else {
            assert_eq!((found, trips), (Err(LookupFailure::Broken), 3));
        }
        assert_eq!(world.streams, 1);
    }
}

#[test]
fn what_is_known_ends_with_its_ttl() {
    let mut world = two_domains(BOTH);
    assert!(world.dc("alice.u1.example").is_ok());
    world.now += Duration::from_secs(301);
    let (_, trips) = world.round_trips(|world| world.dc("alice.u1.example").expect("found"));
    assert_eq!(trips, 3);
}

#[test]
fn a_move_to_another_family_sends_open_queries_anew_at_once() {
    let mut world = two_domains(V4);
    let root = ["example. NS ns.example.", "ns.example. A 192.0.2.1", "ns.example. AAAA 2001:db8::2"];
    world.serve("198.41.0.4", honest(".", &root));
    let tld = ["u1.example. NS dc.u1.example.", "dc.u1.example. A 192.0.2.11", "dc.u1.example. AAAA 2001:db8::11"];
    world.serve("2001:db8::2", honest("example.", &tld));
    world.silence("192.0.2.1");
    let wanted = Wanted::Server(Lookup::DirectionCoordinator(fqdn("alice.u1.example")));
    let id = world.resolver.start(world.now, &mut world.chance, wanted);
    world.now += Duration::from_millis(1);
    let query = world.resolver.poll_transmit().expect("the root is asked");
    let reply =
        honest(".", &root)(&hickory_proto::op::Message::from_vec(&query.bytes).expect("a query")).expect("a reply");
    assert!(world.resolver.is_open(query.query));
    assert!(world.deliver(query.to, &reply));
    assert!(!world.resolver.is_open(query.query));
    world.resolver.set_families(world.now, &mut world.chance, Families { v4: false, v6: true });
    let start = world.now;
    assert!(world.run(id).is_ok());
    assert_eq!(world.now.since(start), ROUND_TRIP * 2);
}
