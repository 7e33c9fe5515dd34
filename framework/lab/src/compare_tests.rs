//! A run and itself, and a run and another.

use super::*;
use crate::progress::Progress;
use crate::record::manifest::Program;
use crate::run::{RunOptions, run};
use crate::scenario::Scenario;
use crate::scenario::builder::Builder;
use crate::scenario::event::TrafficKind;
use crate::scenario::network::Nat;
use crate::scenario::units::{ms, secs};

fn scenario() -> Builder {
    Scenario::builder()
        .duration(secs(8))
        .domain("u1.example", |domain| domain.relays(1))
        .network("north", |network| network.nat(Nat::home()).delay(ms(8)))
        .network("south", |network| network.nat(Nat::symmetric()).delay(ms(5)))
        .node("alice", |node| node.domain("u1.example").network("north"))
        .node("bob", |node| node.domain("u1.example").network("south"))
        .traffic("alice", "bob", TrafficKind::udp(ms(50)))
}

fn ran(scenario: Builder, home: &std::path::Path) -> RunDirectory {
    let scenario = scenario.build().expect("a sound scenario");
    let program = Program { version: "test".into(), revision: None };
    let options = RunOptions { name: "test".into(), directory: home.to_owned(), program };
    run(&scenario, &options, &Progress::default()).expect("it runs").directory
}

#[test]
fn the_parts_of_a_set_up_are_all_of_it() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let one = ran(scenario(), &home.path().join("one"));
    let slower = ran(
        scenario().network("south", |network| network.nat(Nat::symmetric()).delay(ms(9))),
        &home.path().join("other"),
    );
    let same = Comparison::of(&one, &one).expect("they are the same");
    assert!(same.paths_agree());
    let parts = same.rows[0].set_up[0].expect("it was set up");
    let set_up = same.rows[0].measured[0].set_up.expect("it was set up");
    assert_eq!(parts.on_the_way + parts.processing + parts.rest, set_up);
    assert_eq!(parts.on_the_way, set_up, "a simulated entity computes in no time");
    assert!(same.rows[0].excess().is_some_and(|excess| excess.all.abs() < 1e-9));

    let compared = Comparison::of(&one, &slower).expect("they are alike");
    let excess = compared.rows[0].excess().expect("both were set up");
    assert!(excess.all > 1.0 && excess.to_string().contains("+0.0 processing"), "{excess:?}: {excess}");
    assert!(compared.rows[0].because[1].as_deref().is_some_and(|because| because.contains("NAT")));
}

#[test]
fn runs_of_other_scenarios_are_refused() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let one = ran(scenario(), &home.path().join("one"));
    let more = scenario().traffic("bob", "alice", TrafficKind::udp(ms(50)));
    let other = ran(more, &home.path().join("other"));
    assert!(matches!(Comparison::of(&one, &other), Err(CompareError::Different { .. })));
}
