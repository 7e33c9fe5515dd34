//! The `ntm` command from outside: what it prints, writes and returns.

use std::path::Path;
use std::process::{Command, Output};

fn ntm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntm")).args(arguments).output().expect("ntm starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A scenario that is over at once.
const SMALL: &str = r#"
summary = "two nodes on a campus"
[world]
duration = "5 s"
[domain."u1.example"]
[network.campus]
[node.alice]
domain = "u1.example"
network = "campus"
[node.bob]
domain = "u1.example"
network = "campus"
[[traffic]]
from = "alice"
to = "bob"
kind = { ping = { every = "100 ms", count = 3 } }
"#;

fn small(home: &Path) -> (String, String) {
    let (file, out) = (home.join("small.toml"), home.join("out"));
    std::fs::write(&file, SMALL).expect("written");
    (file.display().to_string(), out.display().to_string())
}

#[test]
fn without_arguments_it_explains_itself() {
    let output = ntm(&[]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("ntm run quickstart"));
    assert!(!text(&output.stdout).contains('\x1b'), "no colours where nobody looks");
}

#[test]
fn a_run_shows_writes_and_can_be_looked_at_again() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (file, out) = small(home.path());
    let output = ntm(&["run", &file, "--out", &out, "--seed", "5"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    assert!(shown.contains("alice → bob") && shown.contains("direct") && shown.contains("0 lost"), "{shown}");
    for name in
        ["manifest.json", "trace.otlp.jsonl", "results.csv", "capture.pcapng", "report.html", "wireshark/esp_sa"]
    {
        let file = Path::new(&out).join(name);
        assert!(file.metadata().is_ok_and(|file| file.len() > 0), "{name}");
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(Path::new(&out).join("manifest.json")).expect("it is there"))
            .expect("JSON");
    assert_eq!((manifest["scenario"].as_str(), manifest["seed"].as_u64()), (Some("small"), Some(5)));
    assert_eq!(manifest["state"], "complete");

    let drawn = ntm(&["trace", &out, "alice", "bob"]);
    assert!(text(&drawn.stdout).contains("Direction Request"), "{}", text(&drawn.stderr));
    assert!(text(&ntm(&["trace", &out, "alice", "bob", "--mermaid"]).stdout).starts_with("sequenceDiagram"));
    assert!(text(&ntm(&["trace", &out, "alice", "bob", "--svg"]).stdout).starts_with("<svg"));

    let page = Path::new(&out).join("report.html");
    let before = std::fs::read(&page).expect("it is there");
    std::fs::remove_file(&page).expect("it was there");
    assert!(ntm(&["report", &out]).status.success());
    assert_eq!(std::fs::read(&page).expect("it is there again"), before);
}

#[test]
fn json_is_one_document_and_nothing_else() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (file, out) = small(home.path());
    let output = ntm(&["run", &file, "--out", &out, "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(document["conversations"][0]["from"], "alice");
    assert_eq!(document["conversations"][0]["lost"], 0);
}

#[test]
fn quiet_says_nothing() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (file, out) = small(home.path());
    let output = ntm(&["run", &file, "--out", &out, "--quiet"]);
    assert!(output.status.success());
    assert_eq!((text(&output.stdout), text(&output.stderr)), (String::new(), String::new()));
}

#[test]
fn a_scenario_can_be_described_copied_and_run_as_a_copy() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let described = text(&ntm(&["describe", "quickstart"]).stdout);
    for word in ["u1.example", "carrier", "alice.u1.example", "rendezvous", "erin moves to lte"] {
        assert!(described.contains(word), "{word} in\n{described}");
    }
    let copy = home.path().join("copy.toml");
    std::fs::write(&copy, ntm(&["describe", "quickstart", "--toml"]).stdout).expect("written");
    let again = text(&ntm(&["describe", &copy.display().to_string()]).stdout);
    assert_eq!(again.lines().skip(1).collect::<Vec<_>>(), described.lines().skip(1).collect::<Vec<_>>());
    assert!(text(&ntm(&["scenarios"]).stdout).contains("quickstart"));
}

#[test]
fn each_way_to_fail_has_its_exit_code_and_says_what_to_do() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let (file, out) = small(home.path());
    let refused = |arguments: &[&str], code: i32, said: &str| {
        let output = ntm(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(said), "{arguments:?}: {errors}");
    };
    refused(&["run"], 2, "Usage");
    refused(&["run", "quickstrat"], 3, "Did you mean \"quickstart\"?");
    refused(&["run", "nowhere.toml"], 3, "nowhere.toml");
    refused(&["describe", &file, "--set", "node.alice.auth=pasword"], 3, "Did you mean \"password\"?");
    refused(&["run", &file, "--out", "/proc/nowhere"], 5, "/proc/nowhere");
    refused(&["trace", &out, "alice", "bob"], 5, "there is no such directory");
    assert!(ntm(&["run", &file, "--out", &out, "--quiet"]).status.success());
    refused(&["trace", &out, "alice", "zoe"], 6, "nobody in this run is called zoe. These are: alice, bob");
    refused(&["trace", &out, "alice", "alice"], 6, "These did: alice bob");
}

#[test]
fn the_environment_is_a_layer_too() {
    let described = |value: &str| {
        Command::new(env!("CARGO_BIN_EXE_ntm"))
            .args(["describe", "quickstart"])
            .env("NTM_WORLD__SEED", value)
            .output()
            .expect("ntm starts")
    };
    assert!(text(&described("99").stdout).contains("seed 99,"));
    assert!(text(&described("many").stderr).contains("(NTM_WORLD__SEED)"));
}
