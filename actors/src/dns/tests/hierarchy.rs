//! The resolver against root, top-level domain and two DCs, all served by this server, at one round trip per exchange.

use super::*;
use ntmobile_proto::machine::{Lookup, LookupFailure, ServerAddresses};
use ntmobile_proto::resolver::{Families, Found, Resolver, Wanted};
use ntmobile_proto::time::Instant;
use ntmobile_wire::entropy::Entropy;
use std::collections::BTreeMap;
use std::time::Duration;

const ROUND_TRIP: Duration = Duration::from_millis(30);

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

struct Internet {
    servers: BTreeMap<SocketAddr, AuthoritativeDns>,
    resolver: Resolver,
    entropy: Counter,
    now: Instant,
}

fn internet() -> Internet {
    let root = ZoneRecords::new(None, vec![fqdn("a.root")])
        .with_host(&fqdn("a.root"), &[ip("198.41.0.4")])
        .with_delegation(&fqdn("example"), &fqdn("ns.example"), &[ip("192.0.2.1"), ip("2001:db8::1")]);
    let top = ZoneRecords::new(Some(fqdn("example")), vec![fqdn("ns.example")])
        .with_host(&fqdn("ns.example"), &[ip("192.0.2.1"), ip("2001:db8::1")])
        .with_delegation(&fqdn("u1.example"), &fqdn("dc.u1.example"), &[ip("192.0.2.11"), ip("2001:db8::11")])
        .with_delegation(&fqdn("u2.example"), &fqdn("dc.u2.example"), &[ip("192.0.2.12")]);
    let first = domain("u1.example", &["192.0.2.11", "2001:db8::11"]).with_account_server(
        &fqdn("as.u1.example"),
        &[ip("192.0.2.99")],
        4433,
    );
    let second = domain("u2.example", &["192.0.2.12"]);
    let zones = [("198.41.0.4:53", root), ("192.0.2.1:53", top), ("192.0.2.11:53", first), ("192.0.2.12:53", second)];
    let servers = zones
        .into_iter()
        .map(|(at, zone)| {
            let server = AuthoritativeDns::new(vec![zone]).expect("a sound zone");
            (at.parse().expect("an address"), server)
        })
        .collect();
    let hints = vec!["198.41.0.4:53".parse().expect("an address")];
    let resolver = Resolver::new(hints, Families { v4: true, v6: true });
    Internet { servers, resolver, entropy: Counter(0), now: Instant::ORIGIN }
}

impl Internet {
    /// Looks up, and counts the sequential round trips.
    fn look_up(&mut self, lookup: Lookup) -> (Result<ServerAddresses, LookupFailure>, u32) {
        self.resolver.start(self.now, &mut self.entropy, Wanted::Server(lookup));
        for round_trips in 0..20 {
            if let Some((_, result)) = self.resolver.poll_finished() {
                let result = result.map(|found| match found {
                    Found::Server(server) => server,
                    Found::Host(_) => panic!("no host was wanted"),
                });
                return (result, round_trips);
            }
            let mut answers = Vec::new();
            while let Some(transmit) = self.resolver.poll_transmit() {
                let server = self.servers.get(&transmit.to).expect("only known servers are asked");
                answers.push((transmit.to, raw(server, &transmit.bytes, Transport::Udp).expect("an answer")));
            }
            self.now += ROUND_TRIP;
            for (from, answer) in answers {
                self.resolver.handle_response(self.now, &mut self.entropy, from, &answer);
            }
        }
        panic!("the look-up does not end");
    }

    fn dc(&mut self, node: &str) -> (Result<ServerAddresses, LookupFailure>, u32) {
        self.look_up(Lookup::DirectionCoordinator(fqdn(node)))
    }
}

#[test]
fn a_dc_is_found_in_three_round_trips_cold_and_none_warm() {
    let mut internet = internet();
    let (server, round_trips) = internet.dc("alice.u1.example");
    let server = server.expect("found");
    assert_eq!(server.name, fqdn("dc.u1.example"));
    assert_eq!(server.signalling.v4, Some("192.0.2.11:4510".parse().expect("an address")));
    assert_eq!(server.signalling.v6, Some("[2001:db8::11]:4510".parse().expect("an address")));
    assert_eq!(server.tls.v4, Some("192.0.2.11:4443".parse().expect("an address")));
    assert_eq!(round_trips, 3);
    assert_eq!(internet.dc("alice.u1.example"), (Ok(server.clone()), 0));
    assert_eq!(internet.dc("bob.u1.example"), (Ok(server), 0));
}

#[test]
fn the_second_domain_below_a_known_one_costs_two() {
    let mut internet = internet();
    assert!(internet.dc("alice.u1.example").0.is_ok());
    let (server, round_trips) = internet.dc("carol.u2.example");
    assert_eq!(server.expect("found").signalling.v6, None, "this DC has IPv4 alone, and that costs nothing");
    assert_eq!(round_trips, 2);
}

#[test]
fn an_as_is_found_by_its_domain() {
    let mut internet = internet();
    let (server, round_trips) = internet.look_up(Lookup::AccountServer(fqdn("u1.example")));
    let server = server.expect("found");
    assert_eq!(server.tls.v4, Some("192.0.2.99:4433".parse().expect("an address")));
    assert_eq!(round_trips, 3, "the answer that names it brings its address along");
}

#[test]
fn a_domain_that_does_not_exist_fails_typed() {
    let mut internet = internet();
    assert_eq!(internet.dc("alice.nowhere.example").0, Err(LookupFailure::NoSuchName));
    assert_eq!(internet.dc("alice.u1.nowhere").0, Err(LookupFailure::NoSuchName));
}

#[test]
fn a_dc_that_moved_is_found_again_once_its_records_have_ended() {
    let mut internet = internet();
    assert!(internet.dc("alice.u2.example").0.is_ok());
    let moved = ip("198.51.100.2");
    let top = ZoneRecords::new(Some(fqdn("example")), vec![fqdn("ns.example")])
        .with_host(&fqdn("ns.example"), &[ip("192.0.2.1")])
        .with_delegation(&fqdn("u2.example"), &fqdn("dc.u2.example"), &[moved]);
    let at = "192.0.2.1:53".parse().expect("an address");
    internet.servers[&at].replace(top).expect("a sound zone");
    let zone = AuthoritativeDns::new(vec![domain("u2.example", &["198.51.100.2"])]).expect("a sound zone");
    internet.servers.insert(SocketAddr::new(moved, 53), zone);
    internet.now += Duration::from_secs(301);
    let (server, _) = internet.dc("alice.u2.example");
    assert_eq!(server.expect("found").signalling.v4.map(|v4| IpAddr::from(*v4.ip())), Some(moved));
}
