//! Movement, [000] figure 2: the mover registers first, so that it stays reachable, then the full signalling of a start runs
//! again, on the mover's behalf by its own DC and through its RS.

use super::{CN, MN, NATS, Spans, assert_figure, both_joined, choices, conversation, figure};
use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_tests::arrows::flaws;
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{heard, say};
use std::time::Duration;

/// A tunnel through the RS of MN's domain stands and has carried a packet.
fn relayed() -> Bench {
    let mut bench = both_joined(&choices(&[]), NATS);
    conversation(&mut bench);
    assert!(say(&mut bench, MN, CN, b"before"));
    bench.run_for(Duration::from_secs(1));
    assert_eq!(heard(&bench, CN, b"before"), 1);
    bench
}

/// The spans since `from`, and those of them that belong to the conversation.
fn since(bench: &Bench, from: usize) -> (Spans, Spans) {
    assert_eq!(flaws(&bench.spans), Vec::<String>::new());
    let conversation = bench.spans.iter().find(|(_, span)| span.name == "Conversation").expect("a conversation");
    let trace = conversation.1.context.trace;
    let all = bench.spans[from..].to_vec();
    let own = all.iter().filter(|(_, span)| span.context.trace == trace).cloned().collect();
    (all, own)
}

fn handed_over(bench: &mut Bench, who: &str) -> usize {
    let events = &bench.at::<Node>(who).events;
    events.iter().filter(|(_, event)| matches!(event, NodeEvent::TunnelBuilt { handover: true, .. })).count()
}

/// Whatever moved, packets go both ways and virtual addresses are what they were.
fn assert_packets_pass(bench: &mut Bench) {
    assert!(say(bench, MN, CN, b"after") && say(bench, CN, MN, b"after too"));
    bench.run_for(Duration::from_secs(1));
    assert_eq!((heard(bench, CN, b"after"), heard(bench, MN, b"after too")), (1, 1), "{:?}", bench.counters);
}

#[test]
fn mn_moves() {
    let mut bench = relayed();
    let from = bench.spans.len();
    bench.move_to(MN, &["10.7.0.1"], Some("198.51.100.71"));
    bench.run_for(Duration::from_secs(5));
    let (all, own) = since(&bench, from);
    let registration = ["MN → DC_MN: Registration Request", "DC_MN → MN: Registration Response"];
    let handover = [
        "MN → DC_MN: Direction Request",
        "DC_MN → DC_CN: Node Information Request",
        "DC_CN → DC_MN: Node Information Response",
        "DC_MN → RS: Relay Direction",
        "RS → DC_MN: NTM ACK",
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
    assert_figure(&all, &[&registration[..], &handover].concat());
    assert_figure(&own, &handover);
    assert!(own.iter().any(|(who, span)| who.as_str() == MN && span.name == "Handover"));
    assert_eq!((handed_over(&mut bench, MN), handed_over(&mut bench, CN)), (1, 1));
    assert_packets_pass(&mut bench);
}

/// As in the figure itself: CN moves, so CN asks its own DC, which directs through its own RS.
#[test]
fn cn_moves() {
    let mut bench = relayed();
    let from = bench.spans.len();
    bench.move_to(CN, &["10.7.0.2"], Some("198.51.100.72"));
    bench.run_for(Duration::from_secs(5));
    let (all, own) = since(&bench, from);
    let registration = ["CN → DC_CN: Registration Request", "DC_CN → CN: Registration Response"];
    let handover = [
        "CN → DC_CN: Direction Request",
        "DC_CN → DC_MN: Node Information Request",
        "DC_MN → DC_CN: Node Information Response",
        "DC_CN → RS_CN: Key Sharing Request",
        "RS_CN → DC_CN: Key Sharing Response",
        "DC_CN → RS_CN: Relay Direction",
        "RS_CN → DC_CN: NTM ACK",
        "DC_CN → DC_MN: Route Direction",
        "DC_MN → MN: Route Direction",
        "MN → RS_CN: Hole Punching",
        "RS_CN → MN: NTM ACK",
        "MN → DC_MN: Route Direction Acknowledge",
        "DC_MN → DC_CN: Route Direction Acknowledge",
        "DC_CN → CN: Route Direction",
        "CN → RS_CN: Tunnel Request",
        "CN → DC_CN: Route Direction Acknowledge",
        "CN → MN: Tunnel Request",
        "MN → CN: Tunnel Response",
    ];
    assert_figure(&all, &[&registration[..], &handover].concat());
    assert_figure(&own, &handover);
    assert!(own.iter().any(|(who, span)| who.as_str() == CN && span.name == "Handover"));
    assert_eq!((handed_over(&mut bench, MN), handed_over(&mut bench, CN)), (1, 1));
    assert_packets_pass(&mut bench);
}

/// Both move at the same moment: both register and ask. The end with the smaller name, here MN, refuses to be called, so its
/// own negotiation goes on, and one tunnel results.
#[test]
fn both_move_at_once() {
    let mut bench = relayed();
    let from = bench.spans.len();
    bench.move_to(MN, &["10.7.0.1"], Some("198.51.100.71"));
    bench.move_to(CN, &["10.7.0.2"], Some("198.51.100.72"));
    bench.run_for(Duration::from_secs(5));
    let (all, own) = since(&bench, from);
    let registrations = [
        "MN → DC_MN: Registration Request",
        "CN → DC_CN: Registration Request",
        "DC_MN → MN: Registration Response",
        "DC_CN → CN: Registration Response",
    ];
    assert_eq!(figure(&all)[..4], registrations);
    let handover = [
        "MN → DC_MN: Direction Request",
        "CN → DC_CN: Direction Request",
        "DC_MN → DC_CN: Node Information Request",
        "DC_CN → DC_MN: Node Information Response",
        "DC_CN → DC_MN: Node Information Request",
        "DC_MN → RS: Relay Direction",
        "RS → DC_MN: NTM ACK",
        "DC_MN → DC_CN: Route Direction",
        "DC_MN → DC_CN: Node Information Response",
        "DC_CN → CN: Route Direction",
        "DC_CN → RS_CN: Key Sharing Request",
        "CN → RS: Hole Punching",
        "RS_CN → DC_CN: Key Sharing Response",
        "DC_CN → RS_CN: Relay Direction",
        "RS_CN → DC_CN: NTM ACK",
        "DC_CN → DC_MN: Route Direction",
        "RS → CN: NTM ACK",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Refusal",
        "CN → DC_CN: Route Direction Acknowledge",
        "DC_MN → DC_CN: Refusal",
        "DC_CN → DC_MN: Route Direction Acknowledge",
        "DC_CN → CN: Refusal",
        "DC_MN → MN: Route Direction",
        "MN → DC_MN: Route Direction Acknowledge",
        "MN → RS: Tunnel Request",
        "MN → CN: Tunnel Request",
        "CN → MN: Tunnel Response",
    ];
    assert_figure(&own, &handover);
    assert_eq!((handed_over(&mut bench, MN), handed_over(&mut bench, CN)), (1, 1));
    assert_packets_pass(&mut bench);
    bench.run_for(Duration::from_secs(60));
    for who in [MN, CN] {
        assert_eq!(bench.at::<Node>(who).machine.tunnels().tunnels().len(), 1, "{who}: the old tunnel is retired");
    }
}
