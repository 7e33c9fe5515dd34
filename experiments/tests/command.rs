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

#[test]
fn a_certificate_authority_is_made_once_and_issues_to_directories() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let ca = home.path().join("ca").display().to_string();
    let ntm_ca = |arguments: &[&str]| ntm(&[&["ca", "--dir", ca.as_str()], arguments].concat());
    let early = ntm_ca(&["issue", "dc", "dc.u1.example"]);
    assert_eq!(early.status.code(), Some(5));
    assert!(text(&early.stderr).contains("ntm ca init"), "{}", text(&early.stderr));
    assert!(text(&ntm_ca(&["init"]).stdout).contains("the authority"));
    let again = ntm_ca(&["init"]);
    assert_eq!(again.status.code(), Some(5));
    assert!(text(&again.stderr).contains("--force"), "{}", text(&again.stderr));
    let issued = ntm_ca(&["issue", "dc", "dc.u1.example"]);
    assert!(text(&issued.stdout).contains("holds for 365 days"), "{}", text(&issued.stderr));
    for file in ["dc.u1.example.pem", "dc.u1.example.key", "authority.pem"] {
        assert!(Path::new(&ca).join("issued/dc.u1.example").join(file).exists(), "{file}");
    }
    let shown = text(&ntm_ca(&["show"]).stdout);
    assert!(shown.contains("dc.u1.example") && shown.lines().count() == 2, "{shown}");
    let outlives = ntm_ca(&["issue", "rs", "rs1.u1.example", "--lifetime", "9000 d"]);
    assert!(text(&outlives.stderr).contains("ask for less time"), "{}", text(&outlives.stderr));
    assert!(text(&ntm_ca(&["issue", "rss", "rs1.u1.example"]).stderr).contains("a similar value exists: 'rs'"));
}

#[test]
fn accounts_are_kept_in_the_state_directory_of_their_server() {
    let home = tempfile::tempdir().expect("a directory for the test");
    let file = home.path().join("as.toml");
    std::fs::write(
        &file,
        "[server]\nname = \"as.example\"\nstate = \"state\"\n[accounts]\nhashing-memory = \"64 KiB\"\n",
    )
    .expect("written");
    let account = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ntm"));
        command.args(["account", "--config"]).arg(&file).args(arguments).env("ALICE", "correct horse");
        command.output().expect("ntm starts")
    };
    let added = account(&["add", "alice@u1.example", "--password-env", "ALICE"]);
    assert!(added.status.success(), "{}", text(&added.stderr));
    let again = account(&["add", "alice@u1.example", "--no-password"]);
    assert_eq!(again.status.code(), Some(6), "{}", text(&again.stderr));
    account(&["disable", "alice@u1.example"]);
    let listed: serde_json::Value = serde_json::from_slice(&account(&["list", "--json"]).stdout).expect("JSON");
    assert_eq!((&listed[0]["account"], &listed[0]["disabled"]), (&"alice@u1.example".into(), &true.into()));
    let nowhere = account(&["add", "bob@u1.example", "--password-env", "NOBODYS_VARIABLE"]);
    assert!(text(&nowhere.stderr).contains("NOBODYS_VARIABLE holds no password"), "{}", text(&nowhere.stderr));
}

#[test]
fn every_server_has_an_example_that_is_right_and_a_wrong_file_is_told() {
    let home = tempfile::tempdir().expect("a directory for the test");
    for server in ["as", "dc", "rs", "ns", "names"] {
        let file = home.path().join(format!("{server}.toml")).display().to_string();
        std::fs::write(&file, ntm(&["serve", server, "--example"]).stdout).expect("written");
        let checked = ntm(&["serve", server, "--check", "--config", &file]);
        assert!(text(&checked.stdout).contains("is right"), "{}", text(&checked.stderr));
        let other = if server == "rs" { "ns" } else { "rs" };
        assert_eq!(ntm(&["serve", other, "--check", "--config", &file]).status.code(), Some(3), "{server}");
    }
    let missing = ntm(&["serve", "dc", "--config", "/nowhere/dc.toml"]);
    assert_eq!(missing.status.code(), Some(3));
    assert!(text(&missing.stderr).contains("/nowhere/dc.toml cannot be read"), "{}", text(&missing.stderr));
}
