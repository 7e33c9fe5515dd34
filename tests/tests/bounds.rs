//! The time that setting a tunnel up takes in the simulator is the critical path of one-way delays in the sequence, to the
//! nanosecond. The bound is computed from topology and sequence alone, and every delay is another, so that a step too many
//! or too few, or one in the wrong place, cannot hide.
//!
//! Here every state of knowledge is brought about on purpose, {DNS cold, warm} × {Key Sharing needed, done}, for every way. That
//! the bound beside each conversation of an ordinary run is right, with nodes that sleep, domains that are one and records that
//! have partly ended, is held beside the code that computes it (`framework/lab/tests/bounds.rs`).

use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builder::Builder;
use ntmobile_lab::scenario::event::TrafficKind;
use ntmobile_lab::scenario::network::{Family, Nat};
use ntmobile_lab::scenario::units::{TimeSpan, ms, secs};
use ntmobile_lab::world::bound::{DnsKnowledge, Negotiation, OtherCoordinator, Sender, Way};
use ntmobile_lab::world::topology::{ROOT_SERVER, Topology, top_level_server};
use ntmobile_sim::network::Network;
use ntmobile_tests::simulated::simulate;
use std::time::Duration;

/// The first conversation before the measured one.
const FIRST: TimeSpan = secs(3);
/// The measured one.
const MEASURED: TimeSpan = secs(70);

const RELAY: &str = "rs1.u1.example";

/// Two domains; in each a node in the open and two behind a NAT. No two links have the same delay.
fn world(handshake: &str) -> Builder {
    let us = |micros: u64| TimeSpan::from_nanos(micros * 1_000);
    let mut builder = Scenario::builder()
        .duration(secs(60))
        .plugins(|plugins| plugins.relay_handshake(handshake))
        .account_server(|server| server.delay(us(4_701)))
        .domain("u1.example", |domain| domain.relays(1).delay(us(5_203)))
        .domain("u2.example", |domain| domain.relays(1).delay(us(7_411)));
    let places = [
        ("alice", "u1.example", true, 3_109),
        ("anne", "u1.example", true, 9_013),
        ("dave", "u1.example", false, 2_017),
        ("bob", "u2.example", true, 11_027),
        ("carol", "u2.example", true, 6_029),
        ("erin", "u2.example", false, 13_033),
    ];
    for (node, domain, translated, delay) in places {
        builder = builder
            .network(format!("{node}-net"), |network| {
                network.nat(translated.then(Nat::home)).families([Family::Ipv4]).delay(us(delay))
            })
            .node(node, |table| table.domain(domain).network(format!("{node}-net")));
    }
    builder
}

/// What has happened before.
#[derive(Clone, Copy)]
enum Before {
    /// These pairs have talked, one every second from the third on.
    Talked(&'static [(&'static str, &'static str)]),
    /// MN's DC has found CN's in DNS, which failed then, before they could share a key, and came back.
    FoundOnly,
}

const NOTHING: Before = Before::Talked(&[]);

/// One case: who calls whom, what went before, and what follows from that about who knows what.
struct Case {
    what: &'static str,
    from: &'static str,
    to: &'static str,
    before: Before,
    dns: DnsKnowledge,
    shares_key: bool,
    relay_shares_key: bool,
    way: Way<'static>,
}

fn domain_of(node: &str) -> &'static str {
    if ["alice", "anne", "dave"].contains(&node) { "u1.example" } else { "u2.example" }
}

fn topology(scenario: &Scenario) -> Topology {
    Topology::build(scenario, &mut Network::new(1)).expect("it can be built")
}

/// The bound of a case, from the scenario's topology and the sequence.
fn bound(scenario: &Scenario, case: &Case) -> Duration {
    let topology = topology(scenario);
    let full = |node: &str| format!("{node}.{}", domain_of(node));
    let dc = |node: &str| format!("dc.{}", domain_of(node));
    let (mn, cn, coordinator, other) = (full(case.from), full(case.to), dc(case.from), dc(case.to));
    let top_level = top_level_server("example");
    let negotiation = Negotiation {
        mn: &mn,
        coordinator: &coordinator,
        cn: &cn,
        other: Some(OtherCoordinator {
            name: &other,
            root: ROOT_SERVER,
            top_level: &top_level,
            dns: case.dns,
            shares_key: case.shares_key,
        }),
        notification: None,
        way: case.way,
        relay_is_lent: false,
        relay_shares_key: case.relay_shares_key,
    };
    negotiation.bound(|from, to| topology.one_way(from, to)).expect("all of them are there")
}

fn set_up(scenario: &Scenario) -> Duration {
    let run = simulate(scenario).unwrap_or_else(|error| panic!("{error}"));
    let row = run.conversations.last().expect("there is a conversation");
    row.set_up.unwrap_or_else(|| panic!("{row:?}"))
}

/// What is known at the beginning, and what has to happen for that: nothing; the other DC has come to us; we have looked for the
/// other DC and come no further; we have been at the other DC.
fn knowledge() -> [(&'static str, Before, DnsKnowledge, bool); 4] {
    [
        ("DNS cold, Key Sharing needed", NOTHING, DnsKnowledge::Cold, false),
        ("DNS cold, Key Sharing done", Before::Talked(&[("erin", "dave")]), DnsKnowledge::Cold, true),
        ("DNS warm, Key Sharing needed", Before::FoundOnly, DnsKnowledge::Warm, false),
        ("DNS warm, Key Sharing done", Before::Talked(&[("dave", "erin")]), DnsKnowledge::Warm, true),
    ]
}

/// When the DC of dave, who asks for erin first of all, has just heard from hers where it is, and its first datagram for a key
/// is on its way.
fn found(scenario: &Scenario) -> TimeSpan {
    let topology = topology(scenario);
    let one_way = |to: &str| topology.one_way("dc.u1.example", to).expect("both are there");
    let dns: Duration =
        [ROOT_SERVER, &top_level_server("example"), "dc.u2.example"].map(|server| one_way(server) * 2).iter().sum();
    let at = FIRST.duration() + one_way("dave.u1.example") + dns + one_way("dc.u2.example") / 2;
    TimeSpan::from_nanos(u64::try_from(at.as_nanos()).expect("some seconds"))
}

fn check(handshake: &str, case: &Case) -> Option<String> {
    let mut builder = world(handshake);
    builder = match case.before {
        Before::Talked(pairs) => (3..).zip(pairs).fold(builder, |builder, (second, (from, to))| {
            builder.traffic_at(secs(second), *from, *to, TrafficKind::udp(ms(5_000)))
        }),
        Before::FoundOnly => {
            let failure = found(&builder.clone().build().expect("a sound scenario"));
            let builder = builder.traffic_at(FIRST, "dave", "erin", TrafficKind::udp(ms(5_000)));
            // Its nodes have spoken to it again before the measured conversation begins.
            builder.fails(failure, "dc.u2.example").restarts(secs(20), "dc.u2.example")
        }
    };
    builder = builder.traffic_at(MEASURED, case.from, case.to, TrafficKind::udp(ms(5_000))).duration(secs(75));
    let scenario = builder.build().expect("a sound scenario");
    let (expected, taken) = (bound(&scenario, case), set_up(&scenario));
    (taken != expected).then(|| {
        let excess = taken.as_nanos() as i128 - expected.as_nanos() as i128;
        format!("{}: bound {expected:?}, taken {taken:?}, {excess} ns more", case.what)
    })
}

#[test]
fn a_direct_tunnel_takes_its_critical_path_and_nothing_more() {
    let ways = [("alice", "erin", Sender::Mn), ("dave", "bob", Sender::Cn)];
    let mut wrong = Vec::new();
    for (from, to, sender) in ways {
        for (what, before, dns, shares_key) in knowledge() {
            let way = Way::Direct(sender);
            let case = Case { what, from, to, before, dns, shares_key, relay_shares_key: true, way };
            wrong.extend(check("forwarded", &case).map(|wrong| format!("{from} to {to}, {wrong}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_relayed_tunnel_takes_its_critical_path_and_nothing_more() {
    let mut wrong = Vec::new();
    for (handshake, way) in [("forwarded", Way::Forwarded(RELAY)), ("rendezvous", Way::Rendezvous(RELAY))] {
        // The relay's key is made at the first relayed tunnel: another pair behind NATs has had one, or not.
        for (what, before, dns, shares_key) in knowledge() {
            let case = Case { what, from: "alice", to: "bob", before, dns, shares_key, relay_shares_key: false, way };
            wrong.extend(check(handshake, &case).map(|wrong| format!("{handshake}, {wrong}, no key with the RS")));
        }
        let case = Case {
            what: "DNS warm, Key Sharing done",
            from: "alice",
            to: "bob",
            before: Before::Talked(&[("anne", "carol")]),
            dns: DnsKnowledge::Warm,
            shares_key: true,
            relay_shares_key: true,
            way,
        };
        wrong.extend(check(handshake, &case).map(|wrong| format!("{handshake}, {wrong}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
