//! Name resolution and tunnels.

use super::{
    CN, Change, MN, NATS, assert_figure, both_joined, both_joined_and_one_relay, choices, conversation, trace_of,
};
use ntmobile_proto::trace::SpanKind;
use ntmobile_strategies::registry::Kind;
use ntmobile_tests::bench::name;
use ntmobile_tests::network::{heard, say};
use std::time::Duration;

/// [003] figure 5: from the application's look-up to the decision.
const NAME_RESOLUTION: [&str; 5] = [
    "MN → DC_MN: Direction Request",
    "DC_MN → DC_CN: Key Sharing Request",
    "DC_CN → DC_MN: Key Sharing Response",
    "DC_MN → DC_CN: Node Information Request",
    "DC_CN → DC_MN: Node Information Response",
];

/// [003] figure 7, in its middle: the RS is told of the tunnel.
const RELAY_DIRECTION: [&str; 4] = [
    "DC_MN → RS: Key Sharing Request",
    "RS → DC_MN: Key Sharing Response",
    "DC_MN → RS: Relay Direction",
    "RS → DC_MN: NTM ACK",
];

/// What follows name resolution when MN sends, because CN can be reached.
const MN_SENDS: [&str; 8] = [
    "DC_MN → DC_CN: Route Direction",
    "DC_CN → CN: Route Direction",
    "CN → DC_CN: Route Direction Acknowledge",
    "DC_CN → DC_MN: Route Direction Acknowledge",
    "DC_MN → MN: Route Direction",
    "MN → DC_MN: Route Direction Acknowledge",
    "MN → CN: Tunnel Request",
    "CN → MN: Tunnel Response",
];

fn concat(parts: &[&[&'static str]]) -> Vec<&'static str> {
    parts.concat()
}

/// [003] figure 5: the decision is the DC's own step, between the answer of the other DC and the first direction.
#[test]
fn name_resolution_ends_with_the_decision_at_the_coordinator_of_mn() {
    let mut bench = both_joined(&choices(&[]), [NATS[0], None]);
    let spans = conversation(&mut bench);
    let decisions: Vec<_> = spans.iter().filter(|(_, span)| span.name == "Path Decision").collect();
    assert_eq!(decisions.len(), 1);
    let (who, decision) = decisions[0];
    assert_eq!((who, decision.kind), (&name("dc.u1.example"), SpanKind::Internal));
    let before: Vec<_> = spans.iter().filter(|(_, span)| span.end <= decision.start).cloned().collect();
    let whole: Vec<_> = spans.iter().filter(|(_, s)| before.iter().any(|(_, b)| b.name == s.name)).cloned().collect();
    assert_figure(&whole, &NAME_RESOLUTION[1..]);
}

/// [003] figure 6, MN behind a NAT.
#[test]
fn tunnel_with_mn_behind_a_nat() {
    let mut bench = both_joined(&choices(&[]), [NATS[0], None]);
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &MN_SENDS]));
}

/// [003] figure 6, CN behind a NAT: CN sends Tunnel Request, as soon as it is directed.
#[test]
fn tunnel_with_cn_behind_a_nat() {
    let mut bench = both_joined(&choices(&[]), [None, NATS[1]]);
    let tunnel = [
        "DC_MN → DC_CN: Route Direction",
        "DC_CN → CN: Route Direction",
        "CN → DC_CN: Route Direction Acknowledge",
        "CN → MN: Tunnel Request",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → CN: Tunnel Response",
    ];
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &tunnel]));
}

/// Not in the papers: with both ends reachable MN sends, as if it alone were behind a NAT.
#[test]
fn tunnel_with_both_ends_reachable() {
    let mut bench = both_joined(&choices(&[]), [None, None]);
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &MN_SENDS]));
}

/// [003] figure 7. Tunnel Request is seen twice, at the RS, which authenticates it, and at CN, where it comes as it was. The
/// response is sealed for MN alone: the RS passes it on without being able to say what it is.
#[test]
fn tunnel_through_a_relay_forwarded() {
    let mut bench = both_joined(&choices(&[(Kind::RelayHandshake, "forwarded")]), NATS);
    let tunnel = [
        "DC_MN → DC_CN: Route Direction",
        "DC_CN → CN: Route Direction",
        "CN → RS: Hole Punching",
        "RS → CN: NTM ACK",
        "CN → DC_CN: Route Direction Acknowledge",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → RS: Tunnel Request",
        "MN → CN: Tunnel Request",
        "CN → MN: Tunnel Response",
    ];
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &RELAY_DIRECTION, &tunnel]));
}

/// [003] figure 7 where the domain of MN has no RS: DC_CN lends one of its own, and the rest is as ever.
#[test]
fn tunnel_through_a_relay_that_the_other_domain_lends() {
    let mut bench = both_joined_and_one_relay(&choices(&[]));
    let tunnel = [
        "DC_MN → DC_CN: Relay Direction",
        "DC_CN → RS_CN: Key Sharing Request",
        "RS_CN → DC_CN: Key Sharing Response",
        "DC_CN → RS_CN: Relay Direction",
        "RS_CN → DC_CN: NTM ACK",
        "DC_CN → DC_MN: Relay Assignment",
        "DC_MN → DC_CN: Route Direction",
        "DC_CN → CN: Route Direction",
        "CN → RS_CN: Hole Punching",
        "RS_CN → CN: NTM ACK",
        "CN → DC_CN: Route Direction Acknowledge",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → RS_CN: Tunnel Request",
        "MN → CN: Tunnel Request",
        "CN → MN: Tunnel Response",
    ];
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &tunnel]));
}

/// [004] figure 3.
#[test]
fn tunnel_through_a_relay_rendezvous() {
    let mut bench = both_joined(&choices(&[(Kind::RelayHandshake, "rendezvous")]), NATS);
    let tunnel = [
        "RS → DC_MN: Relay Response",
        "DC_MN → DC_CN: Route Direction",
        "DC_CN → CN: Route Direction",
        "CN → DC_CN: Route Direction Acknowledge",
        "CN → RS: Tunnel Request",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → RS: Tunnel Request",
        "RS → MN: Tunnel Response",
        "RS → CN: Tunnel Response",
    ];
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &RELAY_DIRECTION[..3], &tunnel]));
}

/// [004] figure 2, with an NS in the place of the push service: CN sleeps, is woken, and pulls what waits.
#[test]
fn tunnel_to_a_sleeping_node_that_is_woken_and_pulls() {
    let mut bench = both_joined(&choices(&[(Kind::Reachability, "tcp-ns")]), [None, NATS[1]]);
    let tunnel = [
        "DC_MN → DC_CN: Route Direction",
        "DC_CN → NS_CN: Notification",
        "NS_CN → CN: Notification",
        "CN → NS_CN: NTM ACK",
        "CN → DC_CN: Route Direction Request",
        "NS_CN → DC_CN: NTM ACK",
        "DC_CN → CN: Route Direction Response",
        "CN → DC_CN: Route Direction Acknowledge",
        "CN → MN: Tunnel Request",
        "DC_CN → CN: NTM ACK",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → CN: Tunnel Response",
    ];
    assert_figure(&conversation(&mut bench), &concat(&[&NAME_RESOLUTION, &tunnel]));
}

/// With both keys shared at an earlier contact, Key Sharing is not in the figures any more.
#[test]
fn later_tunnels_need_no_key_sharing() {
    let mut bench = both_joined(&choices(&[]), NATS);
    conversation(&mut bench);
    bench.run_for(Duration::from_secs(400));
    bench.spans.clear();
    let again = conversation(&mut bench);
    let is_sharing = |span: &ntmobile_proto::trace::Span| span.name.starts_with("Key Sharing");
    assert!(!again.iter().any(|(_, span)| is_sharing(span)));
    assert_eq!(ntmobile_tests::arrows::arrows(&again).len(), 5 + 4 + 11 - 4);
}

/// Each way, one conversation is one trace of all that had a part in it, from MN's question to the first application packet
/// at either end.
#[test]
fn one_conversation_is_one_trace_over_all_its_entities() {
    let direct = ["alice.u1.example", "bob.u2.example", "dc.u1.example", "dc.u2.example"];
    let relayed = [&direct[..], &["rs.u1.example"]].concat();
    let woken = [&direct[..], &["ns.u2.example"]].concat();
    let none: &[Change] = &[];
    let cases = [
        (none, [NATS[0], None], direct.to_vec()),
        (none, [None, NATS[1]], direct.to_vec()),
        (none, [None, None], direct.to_vec()),
        (&[(Kind::RelayHandshake, "forwarded")], NATS, relayed.clone()),
        (&[(Kind::RelayHandshake, "rendezvous")], NATS, relayed),
        (&[(Kind::Reachability, "tcp-ns")], [None, NATS[1]], woken),
    ];
    for (changes, nats, expected) in cases {
        let mut bench = both_joined(&choices(changes), nats);
        bench.spans.clear();
        conversation(&mut bench);
        assert!(say(&mut bench, MN, CN, b"there") && say(&mut bench, CN, MN, b"and back"));
        bench.run_for(Duration::from_secs(1));
        assert_eq!((heard(&bench, CN, b"there"), heard(&bench, MN, b"and back")), (1, 1), "{changes:?}");
        let spans = trace_of(&bench, "Conversation");
        assert_eq!(spans.len(), bench.spans.len(), "nothing happened outside the conversation with {changes:?}");
        let entities: std::collections::BTreeSet<_> = spans.iter().map(|(who, _)| who.as_str()).collect();
        assert_eq!(entities.into_iter().collect::<Vec<_>>(), expected, "{changes:?}");
        for end in [MN, CN] {
            let first = spans.iter().filter(|(who, s)| who.as_str() == end && s.name == "First application packet");
            assert_eq!(first.count(), 1, "{end} with {changes:?}");
        }
    }
}
