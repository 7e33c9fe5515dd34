//! A report holds what the run's files say.

use super::*;
use crate::record::manifest::{FORMAT, Program, plugins};
use crate::scenario::builtin::BUILTIN;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_proto::trace::{Span, SpanKind};
use ntmobile_telemetry::{Recorder, Timeline};
use ntmobile_wire::trace_context::TraceContext;

fn run_directory(home: &std::path::Path) -> RunDirectory {
    let scenario = BUILTIN[0].scenario().expect("a sound scenario");
    let directory = RunDirectory::create(home).expect("created");
    let timeline = Timeline::new(UnixTime(scenario.world.epoch), scenario.world.duration.duration()).expect("small");
    let recorder = Recorder::create(timeline, &directory.trace_path()).expect("created");
    let context = |n: u8| TraceContext { trace: [n; 16], span: [n; 8] };
    let child = |n: u8| TraceContext { trace: [n; 16], span: [n + 100; 8] };
    let times = (Instant(3_000_000_000), Instant(3_100_000_000));
    let conversation = Span::new(context(1), None, "Conversation", SpanKind::Internal, times)
        .with("ntm.node", "alice.u1.example")
        .with("ntm.peer", "bob.u2.example");
    recorder.record("alice.u1.example", conversation);
    let decision = Span::new(child(1), Some([1; 8]), "Path Decision", SpanKind::Internal, times)
        .with("ntm.because", "the ends are behind different NATs");
    recorder.record("dc.u1.example", decision);
    let mut login = Span::new(context(2), None, "Login", SpanKind::Internal, times);
    login.failure = Some("the password is wrong".into());
    recorder.record("bob.u2.example", login);
    recorder.record("bob.u2.example", Span::new(context(3), None, "Keepalive", SpanKind::Internal, times));
    recorder.count("bob.u2.example", "ntm.test", 3);
    recorder.finish(Instant(4_000_000_000)).expect("recorded");
    let row = record::Conversation {
        from: "alice".into(),
        to: "bob".into(),
        kind: "udp".into(),
        start: Instant(3_000_000_000),
        path: Some(record::Path::Relayed("rs1.u1.example".into())),
        set_up: Some(Duration::from_millis(100)),
        bound: Some(Duration::from_millis(100)),
        set_up_round_trips: None,
        sent: 10,
        received: 9,
        bytes: 900,
        transfer: None,
        round_trip: None,
        gap: None,
        failure: Some("it broke".into()),
    };
    directory.write_results(&[row]).expect("written");
    let manifest = Manifest {
        format: FORMAT,
        scenario: "quickstart".into(),
        seed: 7,
        state: State::Complete,
        program: Program { version: "0.1.0".into(), revision: None },
        started_unix_s: 1,
        wall_s: 0.5,
        wire_version: 1,
        simulated_s: 60.0,
        events: 3,
        plugins: plugins(&scenario),
        lab: None,
        scenario_toml: scenario.to_toml(),
    };
    directory.write_manifest(&manifest).expect("written");
    directory
}

#[test]
fn the_report_says_what_the_files_say() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let report = digest(&run_directory(home.path())).expect("all files are there");
    let [row] = &report.conversations[..] else { panic!("one conversation") };
    assert_eq!((row.networks.as_str(), row.lost), ("home ↔ carrier", 1));
    assert_eq!(row.diagram, Some(0));
    assert_eq!(report.diagrams.len(), 2, "a conversation and a login");
    assert_eq!(report.diagrams[0].start, 3_000_000_000);
    assert_eq!(row.reason.as_deref(), Some("the ends are behind different NATs"));
    let failures: Vec<(&str, &str, &str)> = report
        .failures
        .iter()
        .map(|failure| (failure.entity.as_str(), failure.what.as_str(), failure.why.as_str()))
        .collect();
    assert_eq!(failures, [("alice", "udp to bob", "it broke"), ("bob", "login", "the password is wrong")]);
    let office = report.topology.networks.iter().find(|network| network.name == "office").expect("it is there");
    assert_eq!(office.nat.as_deref(), Some("symmetric, 60 s"), "the preset that it is like");
    assert!(office.nat_record.contains("ports random"), "and all the rest: {}", office.nat_record);
    assert_eq!(report.counters.iter().find(|counter| counter.name == "ntm.test").map(Counter::total), Some(3));
    assert_eq!(report.topology.sites.len(), 3);
    assert_eq!(report.topology.sites[1].servers, ["dc", "rs1", "ns1"]);
    let order: Vec<&str> = report.topology.networks.iter().map(|network| network.name.as_str()).collect();
    assert_eq!(order.last(), Some(&"hotel"), "behind another network");
    let relay = report.run.plugins.iter().find(|plugin| plugin.name == "rendezvous").expect("it is chosen");
    assert_eq!((relay.kind.as_str(), &relay.entities[..]), ("relay-handshake", &["dc.u2.example".to_owned()][..]));
    assert!(report.html().contains("home ↔ carrier"));
}

#[test]
fn a_directory_without_a_trace_says_which_file_is_missing() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let directory = run_directory(home.path());
    std::fs::remove_file(directory.trace_path()).expect("it was there");
    let error = digest(&directory).expect_err("no trace");
    assert!(error.to_string().contains("trace.otlp.jsonl"), "{error}");
}
