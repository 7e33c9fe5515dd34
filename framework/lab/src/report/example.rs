//! A made-up run with something of everything, for the tests of the page.

use super::data::{
    Conversation, Counter, Diagram, Distribution, Failure, Move, Network, Node, Path, Plugin, Report, RoundTrip, Run,
    Site, Topology,
};
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_proto::trace::{Span, SpanEvent, SpanKind};
use ntmobile_telemetry::read::Recording;
use ntmobile_telemetry::sequence::Sequence;
use ntmobile_telemetry::{Recorder, Timeline};
use ntmobile_wire::trace_context::TraceContext;
use std::time::Duration;

const MS: u64 = 1_000_000;

/// A trace as the machines would record it.
struct Story {
    recorder: Recorder,
    bytes: ntmobile_telemetry::MemoryFile,
    spans: u8,
}

impl Story {
    fn new(root: &str, node: &str, until: u64) -> Self {
        let timeline = Timeline::new(UnixTime(1_700_000_000), Duration::from_secs(60)).expect("a small run");
        let (recorder, bytes) = Recorder::in_memory(timeline);
        let mut story = Self { recorder, bytes, spans: 0 };
        story.span(node, SpanKind::Internal, root, 0, (0, until), |_| {});
        story
    }

    fn span(
        &mut self,
        entity: &str,
        kind: SpanKind,
        name: &str,
        parent: u8,
        (from, to): (u64, u64),
        change: impl FnOnce(&mut Span),
    ) -> u8 {
        self.spans += 1;
        let context = TraceContext { trace: [1; 16], span: [self.spans; 8] };
        let parent = (parent > 0).then_some([parent; 8]);
        let times = (Instant(from * MS), Instant(to * MS));
        let mut span = Span::new(context, parent, name.to_owned(), kind, times);
        change(&mut span);
        self.recorder.record(entity, span);
        self.spans
    }

    /// One message; the answer is the number of the span that received it.
    fn send(&mut self, name: &str, (from, to): (&str, &str), cause: u8, (sent, received): (u64, u64)) -> u8 {
        let sender = self.span(from, SpanKind::Producer, name, cause, (sent, sent), |_| {});
        self.span(to, SpanKind::Consumer, name, sender, (received, received), |_| {})
    }

    /// A request that is sent again once before it arrives.
    fn send_again(
        &mut self,
        name: &str,
        (from, to): (&str, &str),
        cause: u8,
        (sent, again, received): (u64, u64, u64),
    ) -> u8 {
        let sender = self.span(from, SpanKind::Client, name, cause, (sent, received), |span| {
            span.events.push(SpanEvent { at: Instant(again * MS), name: "retransmitted".into() });
        });
        self.span(to, SpanKind::Server, name, sender, (received, received), |_| {})
    }

    fn sequence(self) -> Sequence {
        self.recorder.finish(Instant(60_000 * MS)).expect("a whole recording");
        let recording = Recording::read(self.bytes.bytes().as_slice()).expect("just written");
        Sequence::of(&recording.traces()[0])
    }
}

const ALICE: &str = "alice.u1.example";
const BOB: &str = "bob.u2.example";
const DAVE: &str = "dave.u2.example";
const DC1: &str = "dc.u1.example";
const DC2: &str = "dc.u2.example";
const RS1: &str = "rs1.u1.example";
const AS: &str = "as.example";

fn direct() -> Sequence {
    let mut story = Story::new("Conversation", ALICE, 86);
    let asked = story.send("Direction Request", (ALICE, DC1), 1, (0, 12));
    story.span(DC1, SpanKind::Client, "DNS Query", asked, (12, 24), |span| {
        span.attributes.push(("ntm.server", "root.dns".into()));
    });
    let told = story.send("Node Information Request", (DC1, DC2), asked, (24, 34));
    let known = story.send("Node Information Response", (DC2, DC1), told, (34, 44));
    let called = story.send("Route Direction", (DC1, DC2), known, (44, 54));
    let awaits = story.send("Route Direction", (DC2, DAVE), called, (54, 62));
    let ready = story.send("Route Direction Acknowledge", (DAVE, DC2), awaits, (62, 70));
    story.send("NTM ACK", (DC2, DC1), ready, (70, 80));
    let sends = story.send("Route Direction", (DC1, ALICE), known, (44, 56));
    let offered = story.send("Tunnel Request", (ALICE, DAVE), sends, (56, 66));
    let answered = story.send("Tunnel Response", (DAVE, ALICE), offered, (66, 76));
    story.send("First application packet", (ALICE, DAVE), answered, (76, 86));
    story.sequence()
}

fn relayed() -> Sequence {
    let mut story = Story::new("Conversation", ALICE, 283);
    let asked = story.send("Direction Request", (ALICE, DC1), 1, (0, 12));
    let told = story.send("Node Information Request", (DC1, DC2), asked, (12, 22));
    let known = story.send("Node Information Response", (DC2, DC1), told, (22, 32));
    story.span(DC1, SpanKind::Internal, "Choose the relay", known, (32, 32), |_| {});
    let directed = story.send("Relay Direction", (DC1, RS1), known, (32, 36));
    let accepted = story.send("NTM ACK", (RS1, DC1), directed, (36, 40));
    let called = story.send("Route Direction", (DC1, DC2), accepted, (40, 50));
    let awaits = story.send("Route Direction", (DC2, BOB), called, (50, 71));
    let punched = story.send_again("Hole Punching", (BOB, RS1), awaits, (71, 171, 188));
    let open = story.send("NTM ACK", (RS1, BOB), punched, (188, 205));
    let ready = story.send("Route Direction Acknowledge", (BOB, DC2), open, (205, 226));
    let both = story.send("Route Direction Acknowledge", (DC2, DC1), ready, (226, 236));
    let sends = story.send("Route Direction", (DC1, ALICE), both, (236, 248));
    let offered = story.send("Tunnel Request", (ALICE, BOB), sends, (248, 277));
    let answered = story.send("Tunnel Response", (BOB, ALICE), offered, (277, 306));
    story.send("First application packet", (ALICE, BOB), answered, (306, 335));
    story.sequence()
}

fn refused() -> Sequence {
    let mut story = Story::new("Conversation", ALICE, 7_012);
    story.span(ALICE, SpanKind::Client, "Direction Request", 1, (0, 7_000), |span| {
        for at in [500, 1_500, 3_500] {
            span.events.push(SpanEvent { at: Instant(at * MS), name: "retransmitted".into() });
        }
        span.attributes.push(("ntm.peer", DC1.into()));
        span.failure = Some("timed out".into());
    });
    story.sequence()
}

fn login() -> Sequence {
    let mut story = Story::new("Login", ALICE, 52);
    let asked = story.send("Login Request", (ALICE, AS), 1, (0, 26));
    let distributed = story.send("Key Distribution", (AS, DC1), asked, (26, 35));
    let taken = story.send("NTM ACK", (DC1, AS), distributed, (35, 39));
    story.send("Login Response", (AS, ALICE), taken, (39, 52));
    story.sequence()
}

fn network(name: &str, nat: &str, families: &str, delay: u64) -> Network {
    Network {
        name: name.into(),
        nat: (!nat.is_empty()).then(|| nat.into()),
        families: families.into(),
        delay: delay * MS,
        ..Network::default()
    }
}

fn topology() -> Topology {
    let site = |name: &str, servers: &[&str], delay: u64| Site {
        name: name.into(),
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        delay: delay * MS,
    };
    let node = |name: &str, domain: &str, network: &str| Node {
        name: name.into(),
        domain: domain.into(),
        networks: vec![network.into()],
    };
    Topology {
        sites: vec![
            site("Account Server", &["as"], 5),
            site("u1.example", &["dc", "rs1", "ns1"], 4),
            site("u2.example", &["dc", "rs1"], 6),
        ],
        networks: vec![
            network("home", "home", "IPv4", 8),
            Network {
                nat_record: "mapping address-and-port-dependent, filtering address-and-port-dependent, 60 s".into(),
                ..network("office", "symmetric", "IPv4", 6)
            },
            network("carrier", "carrier", "IPv4", 15),
            network("campus", "", "IPv4, IPv6", 2),
            Network { link: "loss 0.5 %".into(), ..network("lte", "carrier", "IPv4", 20) },
            Network { firewall: Some("stateful firewall".into()), ..network("lab", "", "IPv6", 9) },
            Network { behind: Some("carrier".into()), ..network("hotel", "home", "IPv4", 3) },
        ],
        nodes: vec![
            node("alice", "u1.example", "home"),
            node("bob", "u2.example", "carrier"),
            node("carol", "u1.example", "office"),
            node("dave", "u2.example", "campus"),
            node("erin", "u1.example", "hotel"),
            node("frank", "u2.example", "lab"),
        ],
        moves: vec![Move { node: "erin".into(), to: Some("lte".into()), at: 20_000 * MS }],
    }
}

fn conversations() -> Vec<Conversation> {
    let trip = |least: u64, median: u64, most: u64| {
        Some(RoundTrip { least: least * MS, median: median * MS, most: most * MS })
    };
    let udp = Conversation { kind: "udp".into(), sent: 500, bytes: 100_000, ..Conversation::default() };
    vec![
        Conversation {
            from: "alice".into(),
            to: "dave".into(),
            networks: "home ↔ campus".into(),
            start: 2_000 * MS,
            path: Some(Path::Direct),
            reason: Some("dave can be reached".into()),
            set_up: Some(76 * MS),
            set_up_round_trips: Some(3.8),
            bound: Some(76 * MS),
            round_trip: trip(20, 20, 22),
            diagram: Some(0),
            ..udp.clone()
        },
        Conversation {
            from: "alice".into(),
            to: "bob".into(),
            networks: "home ↔ carrier".into(),
            start: 3_000 * MS,
            path: Some(Path::Relayed("rs1.u1.example".into())),
            reason: Some("both ends are behind different NATs".into()),
            set_up: Some(306 * MS),
            set_up_round_trips: Some(5.3),
            bound: Some(206 * MS),
            lost: 3,
            round_trip: trip(58, 58, 61),
            diagram: Some(1),
            ..udp.clone()
        },
        Conversation {
            from: "erin".into(),
            to: "dave".into(),
            networks: "hotel, lte ↔ campus".into(),
            kind: "tcp".into(),
            start: 15_000 * MS,
            path: Some(Path::Direct),
            set_up: Some(110 * MS),
            set_up_round_trips: Some(2.8),
            bound: Some(110 * MS),
            sent: 0,
            bytes: 20_000_000,
            transfer: Some(8_400 * MS),
            gap: Some(141 * MS),
            ..Conversation::default()
        },
        Conversation {
            from: "carol".into(),
            to: "nobody".into(),
            networks: "office".into(),
            kind: "ping".into(),
            start: 30_000 * MS,
            failure: Some("nobody.u2.example: no such name".into()),
            diagram: Some(2),
            ..Conversation::default()
        },
    ]
}

/// Everything that a report can hold.
pub(super) fn report() -> Report {
    let entities = |all: &[(&str, u64)]| all.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let diagram = |title: &str, occasion: &str, start: u64, sequence: Sequence| Diagram {
        title: title.into(),
        occasion: occasion.into(),
        conversation: occasion != "login",
        start: start * MS,
        sequence,
    };
    let plugin = |kind: &str, name: &str, entities: &[&str]| Plugin {
        kind: kind.into(),
        name: name.into(),
        entities: entities.iter().map(|name| (*name).to_owned()).collect(),
    };
    Report {
        run: Run {
            scenario: "quickstart".into(),
            summary:
                "Six nodes in two domains behind six networks: direct and relayed tunnels, UDP and TCP, and one node \
                      that moves"
                    .into(),
            seed: 7,
            complete: true,
            version: "0.1.0".into(),
            revision: Some("e68640f1a2b3c4d5".into()),
            simulated: 60_000 * MS,
            events: 184_223,
            command: "ntm run quickstart --seed 7".into(),
            lab: None,
            plugins: vec![
                plugin("auth", "password", &[ALICE, BOB]),
                plugin("auth", "public-key", &["carol.u1.example", DAVE]),
                plugin("relay-handshake", "forwarded", &[DC1]),
                plugin("relay-handshake", "rendezvous", &[DC2]),
            ],
            files: vec![
                ("trace.otlp.jsonl".into(), "spans and metrics, one OTLP/JSON request a line".into()),
                ("results.csv".into(), "the table above".into()),
                ("capture.pcapng".into(), "every packet on every interface".into()),
            ],
        },
        topology: topology(),
        conversations: conversations(),
        conversations_left_out: 0,
        diagrams: vec![
            diagram("alice → dave", "new tunnel", 2_000, direct()),
            diagram("alice → bob", "new tunnel", 3_000, relayed()),
            diagram("carol → nobody", "new tunnel", 30_000, refused()),
            diagram(ALICE, "login", 0, login()),
        ],
        diagrams_left_out: 0,
        counters: vec![
            Counter { name: "registration.accepted".into(), entities: entities(&[(DC1, 4), (DC2, 3)]) },
            Counter { name: "relay.packets".into(), entities: entities(&[(RS1, 1_996)]) },
            Counter { name: "signalling.retransmitted".into(), entities: entities(&[(BOB, 1), (ALICE, 3)]) },
        ],
        distributions: vec![Distribution {
            name: "tunnel.round_trip".into(),
            entity: ALICE.into(),
            unit: "ms".into(),
            count: 1_000,
            mean: 39.2,
            min: 20.0,
            max: 61.0,
        }],
        failures: vec![Failure {
            at: Some(30_000 * MS),
            entity: "carol.u1.example".into(),
            what: "conversation with nobody.u2.example".into(),
            why: "no such name: the name does not exist in DNS or leads to no server of the network".into(),
        }],
        failures_left_out: 2,
    }
}
