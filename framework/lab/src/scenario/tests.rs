//! What a scenario accepts, refuses, and says about what it refuses.

use super::builtin::BUILTIN;
use super::event::TrafficKind;
use super::load::Layers;
use super::network::{Dependence, Nat};
use super::plugin::Kind;
use super::problem::ScenarioError;
use super::units::{ms, secs};
use super::*;

const SMALL: &str = r#"
[world]
seed = 7
duration = "60 s"
[domain."u1.example"]
relays = 1
[network.home]
nat = "home"
[node.alice]
domain = "u1.example"
network = "home"
[node.bob]
domain = "u1.example"
network = "home"
"#;

fn refusal(text: &str) -> String {
    match Scenario::from_toml("scenario.toml", text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(error) => error.to_string(),
    }
}

fn refusal_of(extra: &str) -> String {
    refusal(&format!("{SMALL}{extra}"))
}

#[test]
fn an_unknown_strategy_is_named_with_its_line_and_what_was_meant() {
    assert_eq!(
        refusal_of("reachability = \"udp-keepaliv\"\n"),
        "unknown strategy \"udp-keepaliv\" for reachability (scenario.toml:15). Did you mean \"udp-keepalive\"? \
         Known: udp-keepalive, tcp-ns"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_what_was_meant() {
    assert_eq!(
        refusal("[domain.\"u1.example\"]\nrelais = 1\n"),
        "unknown key \"relais\" in domain.\"u1.example\" (scenario.toml:2). Did you mean \"relays\"? Known: relays, \
         notification-servers, virtual-ipv4, virtual-ipv6, delay, auth, login, reachability, movement, handover, \
         agreement, protection, suite, path, relay-handshake, storage"
    );
    let deep = refusal_of("[network.x]\nlink = { dely = \"8 ms\" }\n");
    assert!(
        deep.starts_with("unknown key \"dely\" in network.x.link (scenario.toml:16). Did you mean \"delay\"?"),
        "{deep}"
    );
    let section = refusal_of("[netwrk.x]\n");
    assert!(section.starts_with("unknown key \"netwrk\""), "{section}");
    assert!(section.contains("Did you mean \"network\"?"), "{section}");
}

#[test]
fn a_key_in_the_wrong_place_is_sent_to_the_right_one() {
    let text = refusal_of("path = \"always-relay\"\n");
    assert!(text.starts_with("unknown key \"path\" in node.bob (scenario.toml:15)"), "{text}");
    assert!(text.ends_with("It is not chosen here: choose it in [plugins] or at a domain"), "{text}");
}

#[test]
fn a_name_that_leads_nowhere_is_named_with_its_line_and_what_was_meant() {
    assert_eq!(
        refusal_of("[node.carol]\ndomain = \"u1.example\"\nnetwork = \"hom\"\n"),
        "unknown network \"hom\" for node.carol.network (scenario.toml:17). Did you mean \"home\"? Known: home"
    );
    assert_eq!(
        refusal_of("[[event]]\nat = \"1 s\"\nmove = { node = \"alce\", to = \"home\" }\n"),
        "unknown node \"alce\" for event[0].move.node (scenario.toml:17). Did you mean \"alice\"? Known: alice, bob"
    );
    assert_eq!(
        refusal_of("[[event]]\nat = \"1 s\"\nfail = { server = \"rs.u1.example\" }\n"),
        "unknown server \"rs.u1.example\" for event[0].fail.server (scenario.toml:17). Did you mean \"rs1.u1.example\"? \
         Known: as, dc.u1.example, rs1.u1.example"
    );
}

#[test]
fn a_preset_and_a_field_of_a_nat_are_checked_like_everything_else() {
    assert_eq!(
        refusal("[network.x]\nnat = \"symetric\"\n"),
        "unknown value \"symetric\" for network.x.nat (scenario.toml:2). Did you mean \"symmetric\"? Known: public, \
         full-cone, restricted, home, symmetric, carrier"
    );
    let mapping = refusal("[network.x]\n[network.x.nat]\nmapping = \"endpoint-dependent\"\n");
    assert!(
        mapping.starts_with("unknown value \"endpoint-dependent\" for network.x.nat.mapping (scenario.toml:3)"),
        "{mapping}"
    );
    assert!(mapping.contains("Did you mean \"endpoint-independent\"?"), "{mapping}");
}

#[test]
fn a_wrong_form_says_what_is_expected() {
    assert_eq!(
        refusal("[world]\nduration = 60\n"),
        "world.duration: expected a time such as \"60 s\", \"8 ms\" or \"1 h\", found integer `60` (scenario.toml:2)"
    );
    assert_eq!(refusal("[world]\nseed = -1\n"), "world.seed: expected u64, found integer `-1` (scenario.toml:2)");
    let syntax = refusal("[world]\nseed = \n");
    assert!(syntax.ends_with("(scenario.toml:2)"), "{syntax}");
    let two = refusal_of("[[event]]\nat = \"1 s\"\nfail = { server = \"as\" }\nrestart = { server = \"as\" }\n");
    assert!(two.contains("an event has exactly one of") && two.contains("(scenario.toml:1"), "{two}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let error = Scenario::from_toml("s", &format!("{SMALL}handover = \"x\"\nauth = \"y\"\n")).expect_err("two errors");
    assert_eq!(error.problems().len(), 2, "{error}");
}

#[test]
fn choices_that_do_not_go_together_are_refused() {
    assert!(refusal_of("reachability = \"tcp-ns\"\n").contains("needs notification-servers = 1"));
    let relay = SMALL.replace("relays = 1", "path = \"always-relay\"");
    assert!(refusal(&relay).contains("needs relays = 1"));
    assert!(refusal_of("[network.x]\nfamilies = [\"ipv6\"]\nnat = \"home\"\n").contains("translates IPv4"));
    assert!(refusal_of("[network.x]\nbehind = \"y\"\n[network.y]\nbehind = \"x\"\n").contains("in a circle"));
    assert!(
        refusal_of("[network.x]\nbehind = \"y\"\nfamilies = [\"ipv6\"]\n[network.y]\nfamilies = [\"ipv4\"]\n")
            .contains("does not carry")
    );
    assert!(refusal_of("interfaces = [\"home\"]\n").contains("one of the two"));
    assert!(refusal_of("[domain.\"a.u1.example\"]\n").contains("lies within u1.example"));
    assert!(
        refusal_of("[node.rs1]\ndomain = \"u1.example\"\nnetwork = \"home\"\n").contains("one of the domain's servers")
    );
    assert!(refusal_of("[world2]\n").contains("unknown key"));
    let traffic = "[[traffic]]\nfrom = \"alice\"\nto = \"alice\"\nkind = { ping = {} }\n";
    assert!(refusal_of(traffic).contains("from one node to another"));
}

#[test]
fn a_choice_is_taken_from_the_most_particular_place() {
    let text = format!("{SMALL}login = \"via-as\"\n[plugins]\nlogin = \"via-dc\"\npath = \"always-relay\"\n");
    let scenario = Scenario::from_toml("s", &text).expect("a sound scenario");
    assert_eq!(scenario.at_node(Kind::Login, "bob"), Some("via-as"));
    assert_eq!(scenario.at_node(Kind::Login, "alice"), Some("via-dc"));
    assert_eq!(scenario.at_domain(Kind::Path, "u1.example"), Some("always-relay"));
    assert_eq!(scenario.at_node(Kind::Auth, "alice"), Some("password"));
    assert_eq!(scenario.at_node(Kind::Auth, "nobody"), None);
}

#[test]
fn a_nat_is_a_preset_with_changes() {
    let text = format!("{SMALL}[network.x.nat]\npreset = \"carrier\"\nfiltering = \"address-dependent\"\n");
    let scenario = Scenario::from_toml("s", &text).expect("a sound scenario");
    let changed = Nat { filtering: Dependence::AddressDependent, ..Nat::carrier() };
    assert_eq!(scenario.network["x"].nat, Some(changed));
    assert_eq!(changed.to_string(), "EI mapping, AD filtering, 2 min");
    assert_eq!(Nat::symmetric().to_string(), "symmetric");
    assert_eq!(Nat { expiry: secs(60), ..Nat::symmetric() }.to_string(), "symmetric, 60 s");
}

#[test]
fn overrides_come_over_the_file_and_the_command_line_over_the_environment() {
    let environment = [("NTM_WORLD__SEED", "8"), ("NTM_WORLD__DURATION", "30 s"), ("NTM_PASSWORD", "x"), ("HOME", "/")];
    let scenario = Layers::new("s", SMALL)
        .and_then(|layers| layers.environment(environment.map(|(name, value)| (name.into(), value.into()))))
        .and_then(|layers| layers.set("world.seed=9"))
        .and_then(|layers| layers.set("node.bob.handover=resignal"))
        .and_then(|layers| layers.set("domain.u1.example.relays=2"))
        .and_then(Layers::read)
        .expect("sound overrides");
    assert_eq!(scenario.world.seed, 9);
    assert_eq!(scenario.world.duration, secs(30));
    assert_eq!(scenario.node["bob"].handover.as_deref(), Some("resignal"));
    assert_eq!(scenario.domain["u1.example"].relays, 2);
    assert_eq!(scenario.node["bob"].network, "home", "what is not overridden stays");
}

#[test]
fn an_error_in_an_override_names_the_override() {
    let error = Layers::new("s", SMALL)
        .and_then(|layers| layers.set("node.alice.network=hom"))
        .and_then(Layers::read)
        .expect_err("no such network");
    assert_eq!(
        error.to_string(),
        "unknown network \"hom\" for node.alice.network (--set node.alice.network=hom). Did you mean \"home\"? Known: home"
    );
    let error = Layers::new("s", SMALL).and_then(|layers| layers.set("world.seed")).expect_err("no value");
    assert!(error.to_string().contains("not of the form key=value"), "{error}");
}

/// SMALL with two events, of which overrides change one.
fn with_events(overrides: &[&str]) -> Result<Scenario, ScenarioError> {
    let events = "[[event]]\nat = \"5 s\"\nlink-down = { network = \"home\" }\n[[event]]\nat = \"6 s\"\nlink-up = { network = \"home\" }\n";
    let layers = Layers::new("s", &format!("{SMALL}{events}"))?;
    overrides.iter().try_fold(layers, |layers, assignment| layers.set(assignment))?.read()
}

#[test]
fn an_override_reaches_an_element_of_a_list_and_leaves_the_others_alone() {
    let before = with_events(&[]).expect("a sound scenario");
    let after = with_events(&["event.1.at=9s", "event.0.at = \"7 s\""]).expect("sound overrides");
    assert_eq!((after.event[0].at, after.event[1].at), (secs(7), secs(9)));
    assert_eq!(after.event[0].action, before.event[0].action);
    let replaced = with_events(&["event.1 = { at = \"8 s\", fail = { server = \"as\" } }"]);
    assert!(replaced.is_err(), "an event has one action, and the one of the file is still there");
    assert_eq!(with_events(&["event=[]"]).expect("a sound scenario").event, []);
}

#[test]
fn an_override_that_reaches_no_element_says_which_there_are() {
    let refusal = |assignment: &str| with_events(&[assignment]).expect_err("wrong").to_string();
    assert_eq!(
        refusal("event.2.at=9s"),
        "there is no event.2: the list goes from event.0 to event.1 (--set event.2.at=9s)"
    );
    assert_eq!(
        refusal("event.at=9s"),
        "event is a list of 2; say which element is meant, as in event.0.at (--set event.at=9s)"
    );
    assert_eq!(refusal("traffic.0.start=9s").lines().count(), 1);
    let misspelt = refusal("event.1.att=9s");
    assert!(
        misspelt.starts_with("unknown key \"att\" in event[1] (--set event.1.att=9s). Did you mean \"at\"?"),
        "{misspelt}"
    );
    let unknown = refusal("event.0.link-down.network=hom");
    assert!(unknown.contains("(--set event.0.link-down.network=hom). Did you mean \"home\"?"), "{unknown}");
    let elsewhere = with_events(&["event.0.at=7s", "event.1.link-up.network=hom"]).expect_err("wrong").to_string();
    assert!(elsewhere.contains("--set event.1.link-up.network=hom"), "{elsewhere}");
}

#[test]
fn built_in_scenarios_are_sound_and_read_back_from_what_they_write() {
    for builtin in BUILTIN {
        let scenario = builtin.scenario().unwrap_or_else(|error| panic!("{}: {error}", builtin.name));
        assert!(!scenario.summary.is_empty(), "{} says what it shows", builtin.name);
        assert_eq!(Scenario::from_toml("copy", &scenario.to_toml()), Ok(scenario));
    }
}

#[test]
fn the_quickstart_shows_what_the_readme_promises() {
    let scenario = BUILTIN[0].scenario().expect("a sound scenario");
    assert_eq!(scenario.domain.len(), 2);
    assert_eq!(scenario.domain.values().map(|domain| domain.relays).sum::<u8>(), 2);
    assert_eq!(scenario.domain.values().map(|domain| domain.notification_servers).sum::<u8>(), 1);
    assert_eq!(scenario.node.len(), 6);
    let networks: std::collections::BTreeSet<_> = scenario.node.values().map(|node| &node.network).collect();
    assert_eq!(networks.len(), 6, "each behind another network");
    for kind in [Kind::Auth, Kind::Reachability, Kind::Login, Kind::Agreement, Kind::Protection] {
        let used: std::collections::BTreeSet<_> =
            scenario.node.keys().map(|node| scenario.at_node(kind, node).expect("the node exists")).collect();
        assert_eq!(used.len(), 2, "both {} plugins are used", kind.key());
    }
    assert!(scenario.traffic.iter().any(|traffic| matches!(traffic.kind, TrafficKind::Tcp(_))));
    assert!(scenario.traffic.iter().any(|traffic| matches!(traffic.kind, TrafficKind::Udp(_))));
}

#[test]
fn a_built_scenario_is_checked_too() {
    let error = Scenario::builder()
        .domain("u1.example", |domain| domain)
        .network("home", |network| network.nat(Nat::home()).delay(ms(8)))
        .node("alice", |node| node.domain("u1.example").network("home").handover("resignl"))
        .build()
        .expect_err("a slip");
    assert_eq!(
        error.to_string(),
        "unknown strategy \"resignl\" for handover. Did you mean \"resignal\"? Known: resignal"
    );
}

#[test]
fn a_network_that_names_no_family_gives_out_what_people_expect() {
    let text = format!(
        "{SMALL}[network.campus]\n[network.floor]\nbehind = \"campus\"\n[network.flat]\nbehind = \"home\"\n\
         [network.both]\nnat = \"home\"\nfamilies = [\"ipv6\", \"ipv4\"]\n"
    );
    let scenario = Scenario::from_toml("s", &text).expect("a sound scenario");
    let count = |network: &str| scenario.families(network).len();
    assert_eq!((count("home"), count("flat")), (1, 1), "a NAT translates IPv4, and there is nothing else");
    assert_eq!((count("campus"), count("floor"), count("both")), (2, 2, 2));
}

#[test]
fn a_cost_of_hashing_that_argon2_does_not_take_is_an_error_of_the_scenario() {
    let layers = Layers::new("s", SMALL).and_then(|layers| layers.set("account-server.hashing.memory=1B"));
    let error = layers.and_then(Layers::read).expect_err("1 B is too little").to_string();
    assert!(error.contains("account-server.hashing.memory: argon2id takes at least 8 KiB"), "{error}");
    assert!(error.contains("--set account-server.hashing.memory=1B"), "{error}");
}
