//! How long a sequence takes: exactly its critical path, and nothing besides. The bound is computed from the sequence as the book
//! has it and from the delays of the links, never from the trace; every link has a delay of its own, so that no term can stand
//! in for another.

use super::{CN, MN, NATS, both_joined, both_joined_and_one_relay, choices};
use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_strategies::registry::Kind;
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{connect, distinct_delays, join, network};
use std::time::Duration;

const DC_MN: &str = "dc.u1.example";
const DC_CN: &str = "dc.u2.example";
const RS: &str = "rs.u1.example";
const RS_CN: &str = "rs.u2.example";
const NS_CN: &str = "ns.u2.example";

/// Where the two ends are and how they meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    BothReachable,
    MnTranslated,
    CnTranslated,
    SameNat,
    Forwarded,
    Rendezvous,
    /// `forwarded`, through the RS that DC_CN lends.
    Lent,
}

impl Case {
    const ALL: [Self; 7] = [
        Self::BothReachable,
        Self::MnTranslated,
        Self::CnTranslated,
        Self::SameNat,
        Self::Forwarded,
        Self::Rendezvous,
        Self::Lent,
    ];

    fn nats(self) -> [Option<&'static str>; 2] {
        match self {
            Self::BothReachable => [None, None],
            Self::MnTranslated => [NATS[0], None],
            Self::CnTranslated => [None, NATS[1]],
            Self::SameNat => [Some("198.51.100.9:4501"), Some("198.51.100.9:4502")],
            Self::Forwarded | Self::Rendezvous | Self::Lent => NATS,
        }
    }

    /// The RS, and the DC that directs it.
    fn relay(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Forwarded | Self::Rendezvous => Some((RS, DC_MN)),
            Self::Lent => Some((RS_CN, DC_CN)),
            _ => None,
        }
    }
}

/// What is known before MN asks.
#[derive(Clone, Copy, Debug)]
struct Before {
    dns_is_warm: bool,
    keys_are_shared: bool,
    /// CN is reached through its NS.
    cn_sleeps: bool,
}

/// The critical path from Direction Request to the moment at which MN has its tunnel.
fn bound(bench: &Bench, case: Case, before: Before) -> Duration {
    let d = |one, other| bench.link(one, other);
    // A handshake of one round trip, then request and answer.
    let key_sharing = |one, other| if before.keys_are_shared { Duration::ZERO } else { 4 * d(one, other) };
    let look_up = if before.dns_is_warm { Duration::ZERO } else { bench.dns };
    let information = d(MN, DC_MN) + look_up + key_sharing(DC_MN, DC_CN) + 2 * d(DC_MN, DC_CN);
    let relay = case.relay().map_or(Duration::ZERO, |(relay, director)| {
        let asked = if director == DC_CN { 2 * d(DC_MN, DC_CN) } else { Duration::ZERO };
        asked + key_sharing(director, relay) + 2 * d(director, relay)
    });
    let through = |relay| 2 * d(CN, relay) + 2 * (d(MN, relay) + d(relay, CN));
    // A sleeping CN is woken and asks before it is told.
    let wake = if before.cn_sleeps { d(DC_CN, NS_CN) + d(NS_CN, CN) + d(CN, DC_CN) } else { Duration::ZERO };
    let cn_is_directed = information + relay + d(DC_MN, DC_CN) + wake + d(DC_CN, CN);
    // From CN's acknowledgement to MN's Route Direction.
    let back_to_mn = d(CN, DC_CN) + d(DC_CN, DC_MN) + d(DC_MN, MN);
    match case {
        Case::BothReachable | Case::MnTranslated | Case::SameNat => cn_is_directed + back_to_mn + 2 * d(MN, CN),
        // Tunnel Request and Route Direction race to MN; it needs both.
        Case::CnTranslated => cn_is_directed + back_to_mn.max(d(CN, MN)),
        Case::Forwarded => cn_is_directed + back_to_mn + through(RS),
        Case::Lent => cn_is_directed + back_to_mn + through(RS_CN),
        // Both Tunnel Requests race to the RS; it needs both.
        Case::Rendezvous => cn_is_directed + d(CN, RS).max(back_to_mn + d(MN, RS)) + d(RS, MN),
    }
}

/// From MN's wish to its tunnel.
fn measured(bench: &mut Bench, waiter: u64) -> Duration {
    let started = bench.now;
    connect(bench, MN, CN, waiter);
    bench.run_for(Duration::from_secs(3));
    let events = &bench.at::<Node>(MN).events;
    let connected = events.iter().find_map(|(at, event)| match event {
        NodeEvent::Connected { waiter: told, .. } if *told == waiter => Some(at.since(started)),
        _ => None,
    });
    connected.unwrap_or_else(|| panic!("not connected: {:?}", bench.counters))
}

/// Lets the case's world come about up to the moment before MN asks.
fn prepared(case: Case, before: Before, slow: bool) -> Bench {
    let mut changes = Vec::new();
    if case == Case::Rendezvous {
        changes.push((Kind::RelayHandshake, "rendezvous"));
    }
    if before.cn_sleeps {
        changes.push((Kind::Reachability, "tcp-ns"));
    }
    let choices = choices(&changes);
    let mut bench =
        if case == Case::Lent { both_joined_and_one_relay(&choices) } else { both_joined(&choices, case.nats()) };
    if slow {
        bench.set_delay(CN, MN, Duration::from_micros(104_729));
        bench.set_delay(CN, RS, Duration::from_micros(98_689));
    }
    if before.keys_are_shared {
        measured(&mut bench, 1);
        // The tunnel falls idle; the keys live on.
        bench.run_for(Duration::from_secs(400));
        assert!(bench.at::<Node>(MN).machine.tunnels().tunnels().is_empty());
    }
    if before.dns_is_warm {
        bench.remember_look_up(DC_MN, "u2.example");
    } else {
        bench.forget_look_ups(DC_MN);
    }
    bench
}

#[test]
fn a_tunnel_takes_its_critical_path_and_nothing_besides() {
    let yes_and_no = [false, true];
    for case in Case::ALL {
        for (dns_is_warm, keys_are_shared) in yes_and_no.into_iter().flat_map(|a| yes_and_no.map(|b| (a, b))) {
            for (cn_sleeps, slow) in yes_and_no.into_iter().flat_map(|a| yes_and_no.map(|b| (a, b))) {
                let before = Before { dns_is_warm, keys_are_shared, cn_sleeps };
                let mut bench = prepared(case, before, slow);
                let expected = bound(&bench, case, before);
                assert_eq!(measured(&mut bench, 2), expected, "{case:?}, {before:?}, slow {slow}");
                assert_eq!(bench.count("signalling.retransmitted"), 0, "{case:?}, {before:?}, slow {slow}");
            }
        }
    }
}

/// The slow links turn both races the other way round: otherwise half of the formulas would be untested.
#[test]
fn either_side_of_each_race_is_tried() {
    let before = Before { dns_is_warm: true, keys_are_shared: true, cn_sleeps: false };
    for case in [Case::CnTranslated, Case::Rendezvous] {
        let back = |bench: &Bench| bench.link(CN, DC_CN) + bench.link(DC_CN, DC_MN) + bench.link(DC_MN, MN);
        let [quick, slow] = [false, true].map(|slow| prepared(case, before, slow));
        let race = |bench: &Bench| match case {
            Case::CnTranslated => (bench.link(CN, MN), back(bench)),
            _ => (bench.link(CN, RS), back(bench) + bench.link(MN, RS)),
        };
        assert!(race(&quick).0 < race(&quick).1);
        assert!(race(&slow).0 > race(&slow).1);
    }
}

/// With both ends in one domain nobody needs DNS, another DC or its key.
#[test]
fn within_one_domain_only_the_own_coordinator_is_asked() {
    let choices = choices(&[]);
    let mut bench = network(1, &choices);
    distinct_delays(&mut bench);
    let other = "carol.u1.example";
    bench.set_delay(other, DC_MN, Duration::from_micros(13_007));
    bench.set_delay(other, MN, Duration::from_micros(3_499));
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    join(&mut bench, "carol@u1.example", &choices, "203.0.113.9", None);
    bench.run_for(Duration::from_secs(2));
    let started = bench.now;
    connect(&mut bench, MN, other, 1);
    bench.run_for(Duration::from_secs(2));
    let d = |one, other| bench.link(one, other);
    let expected = 2 * d(MN, DC_MN) + 2 * d(DC_MN, other) + 2 * d(MN, other);
    let events = &bench.at::<Node>(MN).events;
    let connected = events.iter().find(|(_, event)| matches!(event, NodeEvent::Connected { .. }));
    assert_eq!(connected.map(|(at, _)| at.since(started)), Some(expected));
}

/// From the wish to join to having joined, by both logins and both ways of staying reachable.
#[test]
fn joining_takes_its_critical_path_and_nothing_besides() {
    const AS: &str = "as.example";
    const NS: &str = "ns.u1.example";
    for (login, reachability) in
        ["via-as", "via-dc"].into_iter().flat_map(|login| ["udp-keepalive", "tcp-ns"].map(|reach| (login, reach)))
    {
        let choices = choices(&[(Kind::Login, login), (Kind::Reachability, reachability)]);
        let mut bench = network(1, &choices);
        distinct_delays(&mut bench);
        join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
        bench.run_for(Duration::from_secs(2));
        let d = |one, other| bench.link(one, other);
        // The AS looks the DC up to give it the key, or to see that it is the DC who asks; the node to register there.
        let login_takes = match login {
            "via-as" => 4 * d(MN, AS) + bench.dns + 4 * d(AS, DC_MN) + bench.dns,
            _ => 4 * d(MN, AS) + bench.dns + 4 * d(MN, DC_MN) + 4 * d(DC_MN, AS) + bench.dns,
        };
        let registration = 2 * d(MN, DC_MN);
        let notification = match reachability {
            // Key Sharing and Notification Direction; then a TCP connection and Notification Registration.
            "tcp-ns" => 6 * d(DC_MN, NS) + 4 * d(MN, NS),
            _ => Duration::ZERO,
        };
        let expected = login_takes + registration + notification;
        let events = &bench.at::<Node>(MN).events;
        let joined = events.iter().find(|(_, event)| matches!(event, NodeEvent::Joined { .. }));
        assert_eq!(joined.map(|(at, _)| at.0), Some(u64::try_from(expected.as_nanos()).expect("short")), "{choices:?}");
    }
}
