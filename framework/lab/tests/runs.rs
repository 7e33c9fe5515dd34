//! Whole runs, from a scenario to the files they leave behind.

use ntmobile_lab::progress::{Phase, Progress};
use ntmobile_lab::record::manifest::Program;
use ntmobile_lab::record::{Path, RunDirectory, State};
use ntmobile_lab::run::{RunError, RunOptions, RunRecord, run};
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builder::Builder;
use ntmobile_lab::scenario::builtin::Builtin;
use ntmobile_lab::scenario::event::TrafficKind;
use ntmobile_lab::scenario::network::Nat;
use ntmobile_lab::scenario::units::{megabytes, ms, secs};
use std::path::Path as FilePath;

fn run_into(scenario: &Scenario, home: &FilePath, progress: &Progress) -> Result<RunRecord, RunError> {
    let program = Program { version: "test".into(), revision: None };
    run(scenario, &RunOptions { name: "test".into(), directory: home.to_owned(), program }, progress)
}

fn run_scenario(scenario: &Scenario) -> RunRecord {
    let home = tempfile::tempdir().expect("a directory for the test");
    run_into(scenario, home.path(), &Progress::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn quickstart() -> Scenario {
    Builtin::named("quickstart").expect("it is built in").scenario().expect("it is sound")
}

/// Alice and Bob behind two home NATs, one relay between them.
fn two_homes() -> Builder {
    Scenario::builder()
        .duration(secs(20))
        .domain("u1.example", |domain| domain.relays(1))
        .network("north", |network| network.nat(Nat::home()).delay(ms(8)))
        .network("south", |network| network.nat(Nat::home()).delay(ms(5)))
        .network("campus", |network| network.delay(ms(3)))
        .node("alice", |node| node.domain("u1.example").network("north"))
        .node("bob", |node| node.domain("u1.example").network("south"))
        .traffic("alice", "bob", TrafficKind::udp(ms(50)))
}

#[test]
fn the_quickstart_keeps_what_it_promises() {
    let record = run_scenario(&quickstart());
    assert_eq!(record.manifest.state, State::Complete);
    let rows = &record.conversations;
    for row in rows {
        assert_eq!(row.failure, None, "{} → {}", row.from, row.to);
        assert!(row.set_up.is_some(), "{} → {}", row.from, row.to);
    }
    let path = |from: &str, to: &str| {
        let row = rows.iter().find(|row| row.from == from && row.to == to).expect("they talk");
        row.path.clone().expect("they have a path")
    };
    assert_eq!(path("alice", "dave"), Path::Direct);
    assert_eq!(path("alice", "bob"), Path::Relayed("rs1.u1.example".into()));
    assert_eq!(path("bob", "carol"), Path::Relayed("rs1.u2.example".into()));
    assert_eq!(path("frank", "alice"), Path::Relayed("rs1.u2.example".into()), "no address family in common");
    assert_eq!(path("frank", "dave"), Path::Direct);
    let transfer = rows.iter().find(|row| row.from == "erin" && row.kind == "tcp").expect("erin sends");
    assert_eq!(transfer.bytes, 6_000_000, "all of it arrived, across the move");
    assert!(transfer.gap.is_some(), "she moved while it ran");
    for row in rows.iter().filter(|row| row.from != "erin" && row.kind != "tcp") {
        assert_eq!(row.lost(), 0, "{} → {} over links without loss", row.from, row.to);
    }
}

#[test]
fn a_run_that_is_stopped_keeps_what_it_has_and_says_so() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let progress = Progress::default();
    progress.stop();
    let record = run_into(&quickstart(), home.path(), &progress).expect("stopping is no failure");
    assert_eq!(record.manifest.state, State::Partial);
    assert_eq!(progress.phase(), Phase::Done);
    let directory = RunDirectory::open(home.path()).expect("it is a run all the same");
    assert_eq!(directory.results().expect("it has results").len(), 7);
    assert!(directory.report_path().is_file());
}

#[test]
fn what_a_run_writes_down_runs_again() {
    let record = run_scenario(&two_homes().build().expect("a sound scenario"));
    let again = Scenario::from_toml("manifest", &record.manifest.scenario_toml).expect("it reads back");
    assert_eq!(run_scenario(&again).conversations, record.conversations);
}

#[test]
fn a_relay_that_fails_is_a_failure_where_the_application_meets_it() {
    let scenario = two_homes().duration(secs(60)).fails(ms(1_500), "rs1.u1.example").build().expect("a sound scenario");
    let record = run_scenario(&scenario);
    let [row] = &record.conversations[..] else { panic!("one conversation") };
    assert_eq!(row.failure.as_deref(), Some("no direct path exists and no Relay Server answers"));
    assert_eq!(record.manifest.state, State::Complete, "the run itself is as it should be");
}

#[test]
fn servers_that_start_again_go_on_from_their_stores() {
    for storage in ["memory", "sled"] {
        let mut builder = two_homes().duration(secs(40)).plugins(|plugins| plugins.storage(storage));
        for server in ["as", "dc.u1.example", "rs1.u1.example"] {
            builder = builder.fails(secs(5), server).restarts(secs(6), server);
        }
        let scenario = builder
            .traffic_at(secs(15), "bob", "alice", TrafficKind::tcp(megabytes(1)))
            .build()
            .expect("a sound scenario");
        let record = run_scenario(&scenario);
        let row = &record.conversations[1];
        assert_eq!((row.failure.as_deref(), row.bytes), (None, 1_000_000), "{storage}");
    }
}

/// One log for all kinds of entities: what each tells is there, in order.
#[test]
fn the_log_of_a_run_tells_what_every_entity_did() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let scenario = two_homes()
        .domain("u2.example", |domain| domain.notification_servers(1))
        .node("carol", |node| node.domain("u2.example").network("south").reachability("tcp-ns").start(secs(1)))
        .traffic_at(secs(3), "alice", "carol", TrafficKind::udp(ms(500)))
        .duration(secs(8))
        .build()
        .expect("a sound scenario");
    let record = run_into(&scenario, home.path(), &Progress::default()).expect("it runs");
    let log = std::fs::read_to_string(record.directory.events_path()).expect("it has a log");
    let mut rest = log.as_str();
    for told in [
        "as.example               alice@u1.example has logged in",
        "dc.u1.example            alice.u1.example has registered",
        "alice.u1.example         joined as alice.u1.example",
        "ns1.u2.example           carol.u2.example waits on its connection",
        "rs1.u1.example           dc.u1.example has shared a key",
        "is relayed for dc.u1.example",
        "alice.u1.example         has a tunnel to bob.u1.example by rs1.u1.example",
        "ns1.u2.example           carol.u2.example was woken",
    ] {
        let at = rest.find(told).unwrap_or_else(|| panic!("{told:?} is not told, or not in its place:\n{log}"));
        rest = &rest[at + told.len()..];
    }
    assert!(!log.contains(" ! "), "nothing went wrong:\n{log}");
}

#[test]
fn a_network_that_loses_its_link_comes_back() {
    let scenario = two_homes().link_down(secs(6), "north").link_up(secs(8), "north").build().expect("sound");
    let record = run_scenario(&scenario);
    let row = &record.conversations[0];
    assert_eq!(row.failure, None);
    let lost_for = row.lost() as f64 * 0.05;
    assert!((1.9..2.6).contains(&lost_for), "about two seconds of datagrams are lost, not {lost_for} s");
}

#[test]
fn a_node_that_moves_keeps_its_conversation_with_and_without_a_pause() {
    for offline in [0, 800] {
        let mut scenario = two_homes().moves(secs(8), "alice", "campus").build().expect("a sound scenario");
        if let ntmobile_lab::scenario::event::Action::Move(action) = &mut scenario.event[0].action {
            action.offline = ms(offline);
        }
        let record = run_scenario(&scenario);
        let row = &record.conversations[0];
        assert_eq!(row.failure, None);
        assert_eq!(row.path, Some(Path::Direct), "on the campus she can be reached");
        let gap = row.gap.expect("she moved").as_millis();
        assert!((u128::from(offline)..u128::from(offline) + 1_000).contains(&gap), "{gap} ms of silence");
    }
}
