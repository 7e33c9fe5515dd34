//! Diagrams read off small traces, as the machines record them.

use super::*;
use crate::read::Recording;
use ntmobile_wire::trace_context::TraceContext;

const MS: u64 = 1_000_000;

/// A trace under construction; times are milliseconds after an origin.
#[derive(Default)]
struct Story {
    spans: Vec<RecordedSpan>,
}

impl Story {
    fn origin() -> u64 {
        1_700_000_000_000 * MS
    }

    fn span(&mut self, entity: &str, kind: SpanKind, name: &str, parent: u8, (from, to): (u64, u64)) -> u8 {
        let number = self.spans.len() as u8 + 1;
        self.spans.push(RecordedSpan {
            entity: entity.into(),
            context: TraceContext { trace: [1; 16], span: [number; 8] },
            parent: (parent != 0).then_some([parent; 8]),
            links: Vec::new(),
            name: name.into(),
            kind,
            start: Self::origin() + from * MS,
            end: Self::origin() + to * MS,
            attributes: Vec::new(),
            events: Vec::new(),
            failure: None,
        });
        number
    }

    fn last(&mut self) -> &mut RecordedSpan {
        self.spans.last_mut().expect("a span")
    }

    /// A one-way message; the number is the receiver's.
    fn message(&mut self, from: &str, to: &str, name: &str, cause: u8, (sent, received): (u64, u64)) -> u8 {
        let sender = self.span(from, SpanKind::Producer, name, cause, (sent, sent));
        self.span(to, SpanKind::Consumer, name, sender, (received, received))
    }

    fn sequence(mut self) -> Sequence {
        self.spans.sort_by_key(|span| (span.start, span.end));
        let recording = Recording { spans: self.spans, ..Recording::default() };
        let traces = recording.traces();
        Sequence::of(&traces[0])
    }
}

/// alice asks her DC, which asks the other; Route Direction comes to both; alice's Tunnel Request to bob is lost once.
fn conversation() -> Story {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Conversation", 0, (0, 150));
    let query = story.span("alice.u1.example", SpanKind::Client, "Direction Request", root, (0, 62));
    let serve = story.span("dc.u1.example", SpanKind::Server, "Direction Request", query, (10, 52));
    let ask = story.span("dc.u1.example", SpanKind::Client, "Node Information Request", serve, (10, 50));
    let told = story.span("dc.u2.example", SpanKind::Server, "Node Information Request", ask, (30, 30));
    story.message("dc.u2.example", "dc.u1.example", "Node Information Response", told, (30, 50));
    story.span("dc.u1.example", SpanKind::Internal, "Decide the path", serve, (50, 52));
    story.message("dc.u1.example", "bob.u2.example", "Route Direction", serve, (52, 77));
    let await_request = story.message("dc.u1.example", "alice.u1.example", "Route Direction", serve, (52, 62));
    let tunnel = story.span("alice.u1.example", SpanKind::Client, "Tunnel Request", await_request, (62, 142));
    story.last().events.push((Story::origin() + 112 * MS, "retransmitted".into()));
    let answered = story.span("bob.u2.example", SpanKind::Server, "Tunnel Request", tunnel, (127, 127));
    story.message("bob.u2.example", "alice.u1.example", "Tunnel Response", answered, (127, 142));
    story
}

fn describe(sequence: &Sequence) -> Vec<String> {
    let lane = |lane: usize| sequence.lanes[lane].split('.').next().expect("a label").to_owned();
    let mut lines = Vec::new();
    for arrow in &sequence.arrows {
        let to = arrow.to.map_or("?".to_owned(), lane);
        let received = arrow.received.map_or("lost".to_owned(), |received| (received / MS).to_string());
        let mark = if arrow.critical { "*" } else { " " };
        lines.push(format!("{mark}{} {}→{to} {}–{received}", arrow.name, lane(arrow.from), arrow.sent / MS));
    }
    lines
}

#[test]
fn messages_lanes_and_losses_are_read_off_the_spans() {
    let sequence = conversation().sequence();
    assert_eq!(sequence.name, "Conversation");
    assert_eq!(sequence.lanes, ["alice.u1.example", "dc.u1.example", "dc.u2.example", "bob.u2.example"]);
    assert_eq!(
        describe(&sequence),
        [
            "*Direction Request alice→dc 0–10",
            "*Node Information Request dc→dc 10–30",
            "*Node Information Response dc→dc 30–50",
            "*Route Direction dc→alice 52–62",
            " Route Direction dc→bob 52–77",
            " Tunnel Request alice→bob 62–lost",
            "*Tunnel Request alice→bob 112–127",
            "*Tunnel Response bob→alice 127–142",
        ]
    );
    let repeated: Vec<bool> = sequence.arrows.iter().map(|arrow| arrow.repetition).collect();
    assert_eq!(repeated, [false, false, false, false, false, false, true, false]);
    assert_eq!(sequence.steps.len(), 1);
    assert_eq!((sequence.steps[0].name.as_str(), sequence.steps[0].lane), ("Decide the path", 1));
}

#[test]
fn the_critical_path_is_the_whole_time_without_a_gap() {
    let sequence = conversation().sequence();
    let mut now = 0;
    for link in &sequence.critical_path {
        let (Link::Message { from, to, .. } | Link::Wait { from, to, .. }) = *link;
        assert_eq!(from, now, "{link:?} begins where the last part ended");
        now = to;
    }
    assert_eq!(now, 150 * MS, "it ends with the conversation");
    assert_eq!(sequence.duration(), 150 * MS);
    let waits: Vec<(usize, u64)> = sequence
        .critical_path
        .iter()
        .filter_map(|link| match link {
            Link::Wait { lane, .. } => Some((*lane, link.duration() / MS)),
            Link::Message { .. } => None,
        })
        .collect();
    assert_eq!(waits, [(1, 2), (0, 50), (0, 8)], "the decision, the retransmission timer, the rest");
}

#[test]
fn the_first_application_packet_is_the_end() {
    let mut story = conversation();
    let sent = story.span("alice.u1.example", SpanKind::Producer, FIRST_APPLICATION_PACKET, 1, (142, 142));
    story.span("bob.u2.example", SpanKind::Consumer, FIRST_APPLICATION_PACKET, sent, (157, 157));
    let sequence = story.sequence();
    assert_eq!(sequence.duration(), 157 * MS);
    assert!(sequence.arrows.last().is_some_and(|arrow| arrow.critical && arrow.name == FIRST_APPLICATION_PACKET));
}

/// Application packets carry no trace context: the receiver alone tells of them.
#[test]
fn the_first_packet_was_sent_when_the_application_could() {
    let mut story = conversation();
    for (to, from, at) in [("bob.u2.example", "alice.u1.example", 165), ("alice.u1.example", "bob.u2.example", 180)] {
        story.span(to, SpanKind::Internal, FIRST_APPLICATION_PACKET, 1, (127, at));
        story.last().attributes.push(("ntm.peer".into(), from.to_owned().into()));
    }
    let sequence = story.sequence();
    assert_eq!(
        describe(&sequence)[8..],
        ["*First application packet alice→bob 150–165", " First application packet bob→alice 165–180"]
    );
    assert_eq!(sequence.duration(), 165 * MS, "the first packet to arrive is the end");
    assert_eq!(sequence.steps.len(), 1, "it is drawn once");
}

#[test]
fn steps_and_messages_say_what_else_is_known() {
    let mut story = conversation();
    story.span("dc.u1.example", SpanKind::Internal, "Path Decision", 3, (50, 50));
    story.last().attributes.push(("ntm.route".into(), "direct".into()));
    story.last().attributes.push(("ntm.because".into(), "bob can be reached".into()));
    let told = story.span("dc.u1.example", SpanKind::Client, "Key Sharing Request", 3, (50, 52));
    story.last().attributes.push(("ntm.transport".into(), "tls".into()));
    story.span("dc.u2.example", SpanKind::Server, "Key Sharing Request", told, (51, 51));
    let drawn = text::draw(&story.sequence(), text::Style { width: 140, colour: false });
    assert!(drawn.contains("Path Decision  direct: bob can be reached"), "{drawn}");
    assert!(drawn.contains("Key Sharing Request  TLS · +1.0 ms"), "{drawn}");
}

#[test]
fn of_two_arrivals_at_once_the_cause_is_on_the_path() {
    for cause_first in [true, false] {
        let mut story = Story::default();
        story.span("dc.u1.example", SpanKind::Internal, "Conversation", 0, (0, 40));
        let names = if cause_first { ["the cause", "another"] } else { ["another", "the cause"] };
        let arrived = names.map(|name| story.message("dc.u1.example", "rs1.u1.example", name, 1, (0, 20)));
        let cause = arrived[usize::from(!cause_first)];
        story.message("rs1.u1.example", "dc.u1.example", "Relay Response", cause, (20, 40));
        let critical = describe(&story.sequence());
        assert!(critical.contains(&"*the cause dc→rs1 0–20".to_owned()), "{critical:?}");
        assert!(critical.contains(&" another dc→rs1 0–20".to_owned()), "{critical:?}");
    }
}

#[test]
fn a_dns_query_is_a_round_trip_to_its_server() {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Login", 0, (0, 20));
    story.span("alice.u1.example", SpanKind::Client, "DNS Query", root, (0, 20));
    story.last().attributes.push(("ntm.server".into(), "root.dns".into()));
    let sequence = story.sequence();
    assert_eq!(describe(&sequence), ["*DNS Query alice→root 0–10", "*DNS Answer root→alice 10–20"]);
    assert!(sequence.arrows.iter().all(|arrow| arrow.assumed), "nobody recorded the time at the server");
}

/// A server beside another: everything between them bears one time, and is drawn in the order of causes.
#[test]
fn messages_of_one_time_are_drawn_after_what_caused_them() {
    let mut story = Story::default();
    let (dc, rs) = ("dc.u1.example", "rs1.u1.example");
    let root = story.span(dc, SpanKind::Internal, "Conversation", 0, (0, 20));
    let asked = story.span(dc, SpanKind::Client, "Key Sharing Request", root, (5, 5));
    let served = story.span(rs, SpanKind::Server, "Key Sharing Request", asked, (5, 5));
    let answer = story.span(rs, SpanKind::Producer, "Key Sharing Response", served, (5, 5));
    story.span(dc, SpanKind::Consumer, "Key Sharing Response", answer, (5, 5));
    let directed = story.span(dc, SpanKind::Client, "Relay Direction", root, (5, 5));
    let taken = story.span(rs, SpanKind::Server, "Relay Direction", directed, (5, 5));
    story.span(rs, SpanKind::Internal, "Verify", taken, (5, 5));
    let done = story.span(rs, SpanKind::Producer, "NTM ACK", taken, (5, 5));
    story.span(dc, SpanKind::Consumer, "NTM ACK", done, (5, 5));
    // Spans reach the file as they end: the answer's before the request's.
    story.spans.swap(1, 3);
    let sequence = story.sequence();
    assert_eq!(
        describe(&sequence),
        [
            "*Key Sharing Request dc→rs1 5–5",
            "*Key Sharing Response rs1→dc 5–5",
            "*Relay Direction dc→rs1 5–5",
            "*NTM ACK rs1→dc 5–5"
        ]
    );
    assert_eq!(sequence.steps[0].after, 3, "the step stands between the request and the answer");
    let drawings = [
        text::draw(&sequence, text::Style::default()),
        svg::draw(&sequence, svg::Place::Alone),
        mermaid::write(&sequence),
    ];
    for drawing in drawings {
        let drawing = drawing.rsplit("</desc>").next().expect("a drawing");
        let place = |name: &str| drawing.find(name).expect("it is drawn");
        let order = ["Key Sharing Request", "Key Sharing Response", "Relay Direction", "Verify", "NTM ACK"].map(place);
        assert!(order.is_sorted(), "{drawing}");
    }
}

#[test]
fn what_a_relay_passes_on_goes_by_the_relay() {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Conversation", 0, (0, 40));
    let asked = story.span("alice.u1.example", SpanKind::Client, "Tunnel Request", root, (0, 40));
    story.span("rs1.u1.example", SpanKind::Server, "Tunnel Request", asked, (8, 8));
    story.last().attributes.push(("ntm.passed_on".into(), true.into()));
    let served = story.span("bob.u2.example", SpanKind::Server, "Tunnel Request", asked, (20, 20));
    story.message("bob.u2.example", "alice.u1.example", "Tunnel Response", served, (20, 40));
    let sequence = story.sequence();
    assert_eq!(
        describe(&sequence),
        ["*Tunnel Request alice→rs1 0–8", "*Tunnel Request rs1→bob 8–20", "*Tunnel Response bob→alice 20–40"]
    );
    assert_eq!(sequence.arrows[2].detail, "by rs1.u1.example");
    assert!(sequence.arrows.iter().all(|arrow| !arrow.repetition));
}

#[test]
fn a_request_that_timed_out_was_lost_every_time() {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Registration", 0, (0, 700));
    story.span("alice.u1.example", SpanKind::Client, "Registration Request", root, (0, 700));
    let request = story.last();
    request.events.push((Story::origin() + 200 * MS, "retransmitted".into()));
    request.events.push((Story::origin() + 210 * MS, "redirected".into()));
    request.failure = Some("timed out".into());
    request.attributes.push(("ntm.peer".into(), "dc.u1.example".into()));
    let sequence = story.sequence();
    assert_eq!(
        describe(&sequence),
        [" Registration Request alice→dc 0–lost", " Registration Request alice→dc 200–lost"]
    );
    assert_eq!(sequence.arrows[0].failure.as_deref(), Some("timed out"));
    assert_eq!(sequence.duration(), 700 * MS, "all of it waiting");
}

#[test]
fn an_answer_to_a_repetition_comes_from_the_server() {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Registration", 0, (0, 220));
    let request = story.span("alice.u1.example", SpanKind::Client, "Registration Request", root, (0, 220));
    story.last().events.push((Story::origin() + 200 * MS, "retransmitted".into()));
    let served = story.span("dc.u1.example", SpanKind::Server, "Registration Request", request, (10, 10));
    // The first answer was lost; the second bears the context of the request itself.
    story.span("dc.u1.example", SpanKind::Producer, "Registration Response", served, (10, 10));
    story.last().attributes.push(("ntm.peer".into(), "alice.u1.example".into()));
    story.span("alice.u1.example", SpanKind::Consumer, "Registration Response", request, (220, 220));
    story.last().attributes.push(("ntm.peer".into(), "dc.u1.example".into()));
    assert_eq!(
        describe(&story.sequence()),
        [
            " Registration Request alice→dc 0–10",
            " Registration Response dc→alice 10–lost",
            "*Registration Request alice→dc 200–210",
            "*Registration Response dc→alice 210–220",
        ]
    );
}

#[test]
fn copies_made_by_the_network_are_repetitions() {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "Conversation", 0, (0, 30));
    let sent = story.span("alice.u1.example", SpanKind::Producer, "Hole Punching", root, (0, 0));
    story.span("rs1.u1.example", SpanKind::Consumer, "Hole Punching", sent, (10, 10));
    story.span("rs1.u1.example", SpanKind::Consumer, "Hole Punching", sent, (11, 11));
    let sequence = story.sequence();
    assert_eq!(describe(&sequence), [" Hole Punching alice→rs1 0–10", " Hole Punching alice→rs1 0–11"]);
    assert!(!sequence.arrows[0].repetition && sequence.arrows[1].repetition);
}

/// The whole picture, so that a change of it is a change of this test.
#[test]
fn the_terminal_shows_every_message_and_marks_the_path() {
    let drawn = text::draw(&conversation().sequence(), text::Style { width: 100, colour: false });
    let expected = r"
               alice         dc          dc         bob
             u1.example  u1.example  u2.example  u2.example
    0.0 ms        ┝━━━━━━━━━━▶│           │           │      Direction Request  +10.0 ms
   10.0 ms        │           ┝━━━━━━━━━━▶│           │      Node Information Request  +20.0 ms
   30.0 ms        │           │◀━━━━━━━━━━┥           │      Node Information Response  +20.0 ms
   50.0 ms        │           ◆           │           │      Decide the path  2.0 ms
   52.0 ms        │◀━━━━━━━━━━┥           │           │      Route Direction  +10.0 ms
   52.0 ms        ┃           ├───────────┼──────────▶│      Route Direction  +25.0 ms
   62.0 ms        ├╌╌╌╌╌╌╌╌╌╌╌┼╌╌╌╌╳      │           │      Tunnel Request  lost
                  ┃           │           │           │      waits 50.0 ms
  112.0 ms        ┝━━━━━━━━━━━┿━━━━━━━━━━━┿━━━━━━━━━━▶│      Tunnel Request  +15.0 ms · sent again
  127.0 ms        │◀━━━━━━━━━━┿━━━━━━━━━━━┿━━━━━━━━━━━┥      Tunnel Response  +15.0 ms
                  ┃           │           │           │      waits 8.0 ms
                  ┃           │           │           │
critical path ━  150.0 ms: 6 messages on the way 90.0 ms, waiting 60.0 ms
";
    assert_eq!(drawn, expected.trim_start_matches('\n'));
}

#[test]
fn a_narrow_terminal_gets_the_remarks_on_lines_of_their_own() {
    let drawn = text::draw(&conversation().sequence(), text::Style { width: 60, colour: false });
    let expected = r"
               alice         dc          dc         bob
             u1.example  u1.example  u2.example  u2.example
    0.0 ms  Direction Request  +10.0 ms
                  ┝━━━━━━━━━━▶│           │           │
";
    assert!(drawn.starts_with(expected.trim_start_matches('\n')), "{drawn}");
}

#[test]
fn a_drawing_is_no_wider_than_the_terminal() {
    for width in [50, 60, 80, 120, 200] {
        let drawn = text::draw(&conversation().sequence(), text::Style { width, colour: false });
        let lines = drawn.lines().take_while(|line| !line.starts_with("critical"));
        let longest = lines.map(|line| line.chars().count()).max();
        assert!(longest.is_some_and(|longest| longest <= width), "{longest:?} of {width}:\n{drawn}");
    }
}

#[test]
fn colours_are_only_used_when_asked_for() {
    let sequence = conversation().sequence();
    assert!(!text::draw(&sequence, text::Style { width: 100, colour: false }).contains('\x1b'));
    let coloured = text::draw(&sequence, text::Style { width: 100, colour: true });
    let (on, off) = (coloured.matches("\x1b[").count(), coloured.matches("\x1b[0m").count());
    assert!(off > 0 && on == 2 * off, "every colour that begins also ends");
}

#[test]
fn an_empty_trace_of_one_span_is_drawn_too() {
    let mut story = Story::default();
    story.span("alice.u1.example", SpanKind::Internal, "Login", 0, (0, 5));
    let sequence = story.sequence();
    assert_eq!(sequence.lanes, ["alice.u1.example"]);
    assert!(text::draw(&sequence, text::Style::default()).contains("5.0 ms: 0 messages"));
    assert!(svg::draw(&sequence, svg::Place::Alone).ends_with("</svg>"));
    assert!(mermaid::write(&sequence).contains("participant L0 as alice.u1.example"));
}

/// A sequence whose names are full of what a format could take for its own.
fn hostile() -> Sequence {
    let mut story = Story::default();
    let root = story.span("alice.u1.example", SpanKind::Internal, "<Conversation> & \"more\"", 0, (0, 3000));
    story.message("alice.u1.example", "</text><script>.x", "a;b#c<br>&\"'\u{1b}\nend", root, (0, 2));
    story.span("alice.u1.example", SpanKind::Producer, "Hole Punching", root, (2500, 2500));
    story.last().failure = Some("it; failed".into());
    story.sequence()
}

#[test]
fn svg_is_well_formed_whatever_the_names_are() {
    for (sequence, place) in [
        (conversation().sequence(), svg::Place::Alone),
        (hostile(), svg::Place::Alone),
        (hostile(), svg::Place::Page("c1")),
    ] {
        let drawn = svg::draw(&sequence, place);
        let mut open = Vec::new();
        for tag in drawn.split('<').skip(1) {
            let tag = tag.split('>').next().expect("a tag ends");
            assert_eq!(tag.matches('"').count() % 2, 0, "quotes in {tag}");
            let name = tag.split([' ', '/']).next().unwrap_or_default();
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "in {drawn}");
            } else if !tag.ends_with('/') {
                assert!(["svg", "title", "desc", "style", "g", "text", "tspan"].contains(&name), "{name}");
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?} left open");
        assert!(!drawn.contains("NaN") && !drawn.contains('\x1b'));
    }
}

#[test]
fn mermaid_text_cannot_be_broken_by_names() {
    let written = mermaid::write(&hostile());
    for line in written.lines().skip(1) {
        let statement = line.trim_start();
        let known = ["participant L", "L0->>L1: ", "L0-xL0: ", "Note over L"];
        assert!(known.iter().any(|start| statement.starts_with(start)), "{statement}");
        let text = statement.replace("#59;", "").replace("#35;", "").replace("#60;", "").replace("#62;", "");
        let text = text.replace("#34;", "");
        assert!(!text.contains([';', '#', '<', '\u{1b}']), "{statement}");
    }
    assert!(written.contains("2.5 s later"), "{written}");
}

#[test]
fn a_diagram_survives_serialisation() {
    let sequence = conversation().sequence();
    let json = serde_json::to_string(&sequence).expect("plain data");
    assert_eq!(serde_json::from_str::<Sequence>(&json).expect("just written"), sequence);
}

#[test]
fn a_diagram_from_outside_is_checked() {
    type Change = dyn Fn(&mut Sequence);
    let sequence = conversation().sequence();
    let read = |change: &Change| {
        let mut sequence = sequence.clone();
        change(&mut sequence);
        let json = serde_json::to_string(&sequence).expect("plain data");
        serde_json::from_str::<Sequence>(&json).map_err(|error| error.to_string())
    };
    let dangling = SequenceError::Dangling.to_string();
    let backwards = SequenceError::Backwards.to_string();
    let cases: [(&Change, &str); 6] = [
        (&|sequence| sequence.arrows[0].from = 4, &dangling),
        (&|sequence| sequence.arrows[0].to = Some(4), &dangling),
        (&|sequence| sequence.steps[0].lane = 9, &dangling),
        (&|sequence| sequence.critical_path.push(Link::Message { arrow: 99, from: 0, to: 0 }), &dangling),
        (&|sequence| sequence.arrows[1].received = Some(1), &backwards),
        (&|sequence| sequence.critical_path.push(Link::Wait { lane: 0, from: 2, to: 1 }), &backwards),
    ];
    for (change, expected) in cases {
        let error = read(change).expect_err("it makes no sense");
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn times_are_written_so_that_they_can_be_told_apart() {
    let cases = [(0, "0.0"), (42_000, "0.042"), (12_500_000, "12.5"), (1_234_000_000, "1234.0")];
    for (nanos, written) in cases {
        assert_eq!(milliseconds(nanos), written);
    }
}

/// Spans that no machine would record: any parent, any kind, any order, events at any time.
fn arbitrary_span() -> impl proptest::strategy::Strategy<Value = RecordedSpan> {
    use proptest::prelude::*;
    let names = prop::sample::select(vec!["Conversation", "Handover", "DNS Query", FIRST_APPLICATION_PACKET, "Login"]);
    let kinds = prop::sample::select(vec![
        SpanKind::Internal,
        SpanKind::Client,
        SpanKind::Server,
        SpanKind::Producer,
        SpanKind::Consumer,
    ]);
    let entities = prop::sample::select(vec!["a.x", "b.x", "c"]);
    let numbers = (0..8_u8, prop::option::of(0..8_u8), 0..50_u64, 0..50_u64, prop::collection::vec(0..99_u64, 0..3));
    (names, kinds, entities.clone(), prop::option::of(entities), numbers, any::<bool>()).prop_map(
        |(name, kind, entity, peer, (number, parent, start, length, events), failed)| RecordedSpan {
            entity: entity.into(),
            context: TraceContext { trace: [1; 16], span: [number; 8] },
            parent: parent.map(|parent| [parent; 8]),
            links: Vec::new(),
            name: name.into(),
            kind,
            start: start * MS,
            end: (start + length) * MS,
            attributes: peer.map(|peer| ("ntm.peer".to_owned(), peer.to_owned().into())).into_iter().collect(),
            events: events.into_iter().map(|at| (at * MS, "retransmitted".to_owned())).collect(),
            failure: failed.then(|| "failed".to_owned()),
        },
    )
}

proptest::proptest! {
    #[test]
    fn any_trace_can_be_drawn(mut spans in proptest::collection::vec(arbitrary_span(), 1..16), width in 0..200_usize) {
        spans.sort_by_key(|span| (span.start, span.end));
        let recording = Recording { spans, ..Recording::default() };
        let chapters = recording.conversations().into_iter().map(|conversation| conversation.trace);
        for trace in recording.traces().into_iter().chain(chapters) {
            let sequence = Sequence::of(&trace);
            let mut now = 0;
            for link in &sequence.critical_path {
                let (Link::Message { from, to, .. } | Link::Wait { from, to, .. }) = *link;
                proptest::prop_assert_eq!(from, now);
                now = to;
            }
            let json = serde_json::to_string(&sequence).expect("plain data");
            proptest::prop_assert_eq!(&serde_json::from_str::<Sequence>(&json).expect("sound"), &sequence);
            text::draw(&sequence, text::Style { width, colour: width % 2 == 0 });
            svg::draw(&sequence, svg::Place::Alone);
            mermaid::write(&sequence);
        }
    }
}
