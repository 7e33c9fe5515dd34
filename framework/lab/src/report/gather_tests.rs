//! What of a scenario and of a trace comes to stand in the report.

use super::*;
use crate::scenario::builtin::BUILTIN;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_proto::trace::{Span, SpanKind};
use ntmobile_telemetry::{Recorder, Timeline};
use ntmobile_wire::trace_context::TraceContext;

const EPOCH: u64 = 1_700_000_000;
const SECOND: u64 = 1_000_000_000;

fn recording(record: impl FnOnce(&Recorder)) -> Recording {
    let timeline = Timeline::new(UnixTime(EPOCH), Duration::from_secs(600)).expect("a small run");
    let (recorder, file) = Recorder::in_memory(timeline);
    record(&recorder);
    recorder.finish(Instant(600 * SECOND)).expect("a whole recording");
    Recording::read(file.bytes().as_slice()).expect("just written")
}

fn root(number: u16, name: &'static str, start: u64) -> Span {
    let mut trace = [1; 16];
    trace[..2].copy_from_slice(&number.to_be_bytes());
    let times = (Instant(start * SECOND), Instant(start * SECOND + 1));
    Span::new(TraceContext { trace, span: [1; 8] }, None, name, SpanKind::Internal, times)
}

fn talk(number: u16, node: &str, peer: &str, start: u64) -> Span {
    root(number, "Conversation", start).with("ntm.node", node.to_owned()).with("ntm.peer", peer.to_owned())
}

fn row(from: &str, to: &str, start: u64) -> Conversation {
    Conversation { from: from.into(), to: to.into(), start: start * SECOND, ..Conversation::default() }
}

#[test]
fn the_quickstart_world_is_described_whole() {
    let quickstart = BUILTIN.iter().find(|builtin| builtin.name == "quickstart").expect("it is built in");
    let topology = Topology::of(&quickstart.scenario().expect("a sound scenario"));
    let sites: Vec<(&str, usize)> =
        topology.sites.iter().map(|site| (site.name.as_str(), site.servers.len())).collect();
    assert_eq!(sites, [("Account Server", 1), ("u1.example", 3), ("u2.example", 2)]);
    let position = |name: &str| topology.networks.iter().position(|network| network.name == name).expect("a network");
    assert!(position("carrier") < position("hotel"), "what it is behind comes first");
    assert_eq!(topology.networks[position("hotel")].behind.as_deref(), Some("carrier"));
    assert_eq!(topology.networks[position("home")].nat.as_deref(), Some("home"));
    assert_eq!(topology.networks[position("lab")].families, "IPv6");
    assert_eq!(topology.nodes.len(), 6);
    assert_eq!(topology.moves.len(), 1);
    assert_eq!(topology.networks_of("erin"), "hotel, lte");
    assert_eq!(topology.networks_of("nobody"), "");
}

#[test]
fn diagrams_are_linked_from_the_conversation_they_belong_to() {
    let recording = recording(|recorder| {
        recorder.record("alice.u1.example", talk(1, "alice.u1.example", "bob.u2.example", 2));
        recorder.record("alice.u1.example", talk(2, "alice.u1.example", "bob.u2.example", 90));
        recorder.record(
            "alice.u1.example",
            talk(3, "alice.u1.example", "bob.u2.example", 91).with("ntm.reason", "handover"),
        );
        recorder.record("alice.u1.example", root(4, "Login", 1));
        recorder.record("alice.u1.example", root(5, "Keepalive", 3));
    });
    let mut report = Report {
        conversations: vec![
            row("alice", "bob", 90),
            row("alice", "bob", 2),
            row("bob", "alice", 2),
            row("alice", "bob", 300),
            row("alice", "bobby", 2),
        ],
        ..Report::default()
    };
    report.add_recording(&recording, EPOCH);
    let titles: Vec<_> = report.diagrams.iter().map(|one| (one.title.as_str(), one.occasion.as_str())).collect();
    assert_eq!(
        titles,
        [
            ("alice → bob", "new tunnel"),
            ("alice → bob", "new tunnel"),
            ("alice → bob", "handover"),
            ("alice.u1.example", "login")
        ]
    );
    let linked: Vec<_> = report.conversations.iter().map(|row| row.diagram).collect();
    assert_eq!(linked, [Some(1), Some(0), None, None, None]);
    assert_eq!(report.diagrams[1].start, 90 * SECOND);
    assert_eq!(report.diagrams_left_out, 0);
}

#[test]
fn a_page_holds_so_many_diagrams_and_the_failed_ones_first() {
    let recording = recording(|recorder| {
        for number in 0..100 {
            let mut talk = talk(number, "alice.u1.example", "bob.u2.example", u64::from(number));
            talk.failure = (number == 99).then(|| "peer asleep".into());
            recorder.record("alice.u1.example", talk);
        }
        for number in 100..130 {
            recorder.record("alice.u1.example", root(number, "Registration", u64::from(number)));
        }
    });
    let mut report = Report::default();
    report.add_recording(&recording, EPOCH);
    assert_eq!(report.diagrams.len(), MOST_CONVERSATIONS + MOST_JOINING);
    assert_eq!(report.diagrams_left_out, 40 + 6);
    assert_eq!(report.diagrams[MOST_CONVERSATIONS - 1].start, 99 * SECOND, "the failed one, in order of time");
}

#[test]
fn failures_come_from_conversations_and_from_nodes_that_could_not_join() {
    let recording = recording(|recorder| {
        let mut login = root(1, "Login", 5);
        login.failure = Some("wrong credentials".into());
        recorder.record("carol.u1.example", login);
    });
    let failed = Conversation { failure: Some("no such name".into()), ..row("alice", "nobody", 2) };
    let mut report = Report { conversations: vec![failed, row("alice", "bob", 1)], ..Report::default() };
    report.add_recording(&recording, EPOCH);
    let failures: Vec<_> =
        report.failures.iter().map(|one| (one.entity.as_str(), one.what.as_str(), one.why.as_str())).collect();
    assert_eq!(
        failures,
        [("alice", "conversation with nobody", "no such name"), ("carol.u1.example", "login", "wrong credentials")]
    );
}

#[test]
fn counters_are_gathered_by_name_and_distributions_keep_their_mean() {
    let recording = recording(|recorder| {
        recorder.count("dc.u1.example", "registration.accepted", 2);
        recorder.count("dc.u2.example", "registration.accepted", 3);
        recorder.value("alice.u1.example", "tunnel.round_trip", "ms", 10.0);
        recorder.value("alice.u1.example", "tunnel.round_trip", "ms", 30.0);
    });
    let mut report = Report::default();
    report.add_recording(&recording, EPOCH);
    assert_eq!(report.counters.len(), 1);
    assert_eq!(report.counters[0].total(), 5);
    assert_eq!(report.counters[0].entities.len(), 2);
    let one = &report.distributions[0];
    assert_eq!((one.count, one.min, one.mean, one.max), (2, 10.0, 20.0, 30.0));
}

#[test]
fn plugins_are_listed_by_choice() {
    let choice = |name: &str| BTreeMap::from([("auth".to_owned(), name.to_owned())]);
    let by_entity = BTreeMap::from([
        ("alice".to_owned(), choice("password")),
        ("bob".to_owned(), choice("public-key")),
        ("carol".to_owned(), choice("password")),
    ]);
    let plugins = plugins(&by_entity);
    assert_eq!(plugins.len(), 2);
    assert_eq!(
        (plugins[0].name.as_str(), plugins[0].entities.as_slice()),
        ("password", &["alice", "carol"].map(str::to_owned)[..])
    );
}
