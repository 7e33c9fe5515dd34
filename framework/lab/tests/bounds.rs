//! Setting a tunnel up takes exactly what its sequence must take on these links, for everything that can be known before and
//! every way a tunnel can go.

use ntmobile_lab::progress::Progress;
use ntmobile_lab::record::Conversation;
use ntmobile_lab::record::manifest::Program;
use ntmobile_lab::run::{RunOptions, run};
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::event::{Ping, TrafficKind};
use ntmobile_lab::scenario::network::Nat;
use ntmobile_lab::scenario::units::{ms, secs};
use std::time::Duration;

/// A way for a tunnel to go, and what leads to it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Neither end is behind a NAT.
    BothReachable,
    /// MN is behind a NAT.
    OnlyMnTranslated,
    /// CN is behind a NAT, and sends Tunnel Request.
    OnlyCnTranslated,
    /// Both are, different ones; `forwarded`.
    Forwarded,
    /// The same, `rendezvous`.
    Rendezvous,
    /// CN is behind a NAT and has to be woken by its NS.
    Woken,
    /// CN has to be woken, and both are behind NATs.
    WokenForwarded,
    /// Both are behind NATs, and only CN's domain has an RS, which it lends.
    Lent,
}

const WAYS: [Way; 8] = [
    Way::BothReachable,
    Way::OnlyMnTranslated,
    Way::OnlyCnTranslated,
    Way::Forwarded,
    Way::Rendezvous,
    Way::Woken,
    Way::WokenForwarded,
    Way::Lent,
];

/// Three pairs of nodes talk one after another: when nothing is known, when everything is, and when what DNS said has
/// partly expired. Every delay is another number, so that no two sums agree by chance.
fn scenario(way: Way, login: &str, cn_domain: &str) -> Scenario {
    use Way::{BothReachable, Forwarded, OnlyMnTranslated, Rendezvous, Woken, WokenForwarded};
    let mn_nat = !matches!(way, BothReachable | Way::OnlyCnTranslated | Woken);
    let cn_nat = !matches!(way, BothReachable | OnlyMnTranslated);
    let own_relays = if matches!(way, Way::Lent) && cn_domain != "u1.example" { 0 } else { 1 };
    let wakes = matches!(way, Woken | WokenForwarded);
    let handshake = if matches!(way, Rendezvous) { "rendezvous" } else { "forwarded" };
    debug_assert!(!matches!(way, Forwarded) || (mn_nat && cn_nat));
    let mut builder = Scenario::builder()
        .duration(secs(420))
        .plugins(|plugins| plugins.login(login).relay_handshake(handshake))
        .account_server(|server| server.delay(ms(17)))
        .domain("u1.example", |domain| domain.relays(own_relays).notification_servers(1).delay(ms(3)))
        .domain("u2.example", |domain| domain.relays(1).notification_servers(1).delay(ms(5)))
        .network("west", |network| network.nat(mn_nat.then(Nat::home)).delay(ms(7)))
        .network("east", |network| network.nat(cn_nat.then(Nat::home)).delay(ms(11)));
    for number in 1..=3 {
        builder = builder.node(format!("mn{number}"), |node| node.domain("u1.example").network("west")).node(
            format!("cn{number}"),
            |node| {
                let node = node.domain(cn_domain).network("east");
                if wakes { node.reachability("tcp-ns") } else { node }
            },
        );
    }
    for (number, start) in [(1, 2), (2, 4), (3, 400)] {
        let kind = TrafficKind::Ping(Ping { every: ms(500), count: 2 });
        builder = builder.traffic_at(secs(start), format!("mn{number}"), format!("cn{number}"), kind);
    }
    builder.build().expect("a sound scenario")
}

fn conversations(scenario: &Scenario) -> Vec<Conversation> {
    let home = tempfile::tempdir().expect("a directory for the test");
    let program = Program { version: "test".into(), revision: None };
    let options = RunOptions { name: "bounds".into(), directory: home.path().to_owned(), program };
    run(scenario, &options, &Progress::default()).unwrap_or_else(|error| panic!("{error}")).conversations
}

#[test]
fn set_up_takes_the_critical_path_and_nothing_on_top() {
    for way in WAYS {
        for login in ["via-as", "via-dc"] {
            for cn_domain in ["u1.example", "u2.example"] {
                for row in conversations(&scenario(way, login, cn_domain)) {
                    let case = format!("{way:?}, {login}, {cn_domain}, {} → {}", row.from, row.to);
                    assert_eq!(row.failure, None, "{case}");
                    assert!(row.bound.is_some(), "{case}");
                    assert_eq!(row.set_up, row.bound, "{case}");
                    assert_eq!(row.lost(), 0, "{case}");
                }
            }
        }
    }
}

#[test]
fn what_is_known_already_is_what_is_saved() {
    let times = |login| -> Vec<Duration> {
        let rows = conversations(&scenario(Way::OnlyMnTranslated, login, "u2.example"));
        rows.iter().map(|row| row.set_up.expect("it was set up")).collect()
    };
    let [cold, warm, aged] = times("via-as")[..] else { panic!("three conversations") };
    let [half, ..] = times("via-dc")[..] else { panic!("three conversations") };
    let (root, top_level, other) =
        (ms(2 * (3 + 10)).duration(), ms(2 * (3 + 8)).duration(), ms(2 * (3 + 5)).duration());
    let key_sharing = ms(4 * (3 + 5)).duration();
    assert_eq!(cold - warm, root + top_level + other + key_sharing);
    assert_eq!(cold - half, root, "a DC that has asked the AS knows the top-level domain");
    assert_eq!(aged - warm, top_level + other, "after five minutes the zone is looked for again, below its top level");
}
