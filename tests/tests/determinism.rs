//! One seed, one run: the quickstart's trace, results, capture and keys follow from its seed, byte for byte.

use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builtin::BUILTIN;
use ntmobile_tests::simulated::{files_of_the_seed, simulate};
use std::thread;

/// The quickstart, whole.
fn quickstart(seed: u64) -> Scenario {
    let builtin = BUILTIN.iter().find(|builtin| builtin.name == "quickstart").expect("it is built in");
    let mut scenario = builtin.scenario().expect("a sound scenario");
    scenario.world.seed = seed;
    scenario
}

fn files(seed: u64) -> Vec<(String, Vec<u8>)> {
    let run = simulate(&quickstart(seed)).unwrap_or_else(|error| panic!("{error}"));
    files_of_the_seed(&run.directory)
}

/// Where two texts part, for whoever has to find out why.
fn first_difference(one: &[u8], other: &[u8]) -> String {
    let at = one.iter().zip(other).position(|(a, b)| a != b).unwrap_or(one.len().min(other.len()));
    let around = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(200).min(bytes.len())..(at + 200).min(bytes.len())];
        String::from_utf8_lossy(part).into_owned()
    };
    format!("at byte {at} of {} and {}:\n{}\n---\n{}", one.len(), other.len(), around(one), around(other))
}

#[test]
fn one_seed_gives_one_run_and_another_seed_another() {
    // Side by side, so that whatever two runs in one process share would show.
    let runs: Vec<_> = [7, 7, 8].map(|seed| thread::spawn(move || files(seed))).into_iter().collect();
    let runs: Vec<_> = runs.into_iter().map(|run| run.join().expect("the run ends well")).collect();
    let [one, same, other] = &runs[..] else { unreachable!("three were started") };
    for (what, name) in [
        ("the trace", "trace.otlp.jsonl"),
        ("the results", "results.csv"),
        ("the capture", "capture.pcapng"),
        ("the tunnels' keys", "wireshark/esp_sa"),
        ("the events", "events.log"),
    ] {
        let file = |run: &[(String, Vec<u8>)]| {
            run.iter().find(|(found, _)| found == name).map(|(_, bytes)| bytes.clone()).unwrap_or_else(|| {
                let names: Vec<_> = run.iter().map(|(name, _)| name).collect();
                panic!("{what}: there is no {name} among {names:?}")
            })
        };
        assert!(!file(one).is_empty(), "{what}");
        let (first, second) = (file(one), file(same));
        assert!(first == second, "{what} of one seed differ {}", first_difference(&first, &second));
        assert!(first != file(other), "{what} do not depend on the seed");
    }
}
