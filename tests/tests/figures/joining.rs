//! Login and registration.

use super::{Change, MN, NATS, assert_figure, choices, trace_of};
use ntmobile_strategies::registry::Kind;
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::{distinct_delays, join, joined, network};
use std::time::Duration;

fn one_joined(changes: &[Change]) -> Bench {
    let choices = choices(changes);
    let mut bench = network(1, &choices);
    distinct_delays(&mut bench);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    bench.run_for(Duration::from_secs(2));
    assert!(joined(&mut bench, MN), "{:?}", bench.counters);
    bench
}

/// [003] figure 2. MN then finds its DC by the NS record of its name, which is no message of the protocol.
#[test]
fn login_via_as() {
    let bench = one_joined(&[(Kind::Login, "via-as")]);
    assert_figure(
        &trace_of(&bench, "Login"),
        &["MN → AS: Login Request", "AS → DC_MN: Key Distribution", "DC_MN → AS: NTM ACK", "AS → MN: Login Response"],
    );
}

/// [003] §2.3, [004] figure 2: a new node asks the AS once where it belongs, then logs in at its DC.
#[test]
fn login_via_dc() {
    let bench = one_joined(&[(Kind::Login, "via-dc")]);
    assert_figure(
        &trace_of(&bench, "Login"),
        &[
            "MN → AS: Initial Data Request",
            "AS → MN: Initial Data Response",
            "MN → DC_MN: Login Request",
            "DC_MN → AS: Authentication Request",
            "AS → DC_MN: Authentication Response",
            "DC_MN → MN: Login Response",
        ],
    );
}

/// [003] figure 3.
#[test]
fn registration_with_keepalives() {
    let bench = one_joined(&[(Kind::Reachability, "udp-keepalive")]);
    let registration = trace_of(&bench, "Registration");
    assert_figure(&registration, &["MN → DC_MN: Registration Request", "DC_MN → MN: Registration Response"]);
}

/// [003] figure 4.
#[test]
fn registration_with_a_notification_server() {
    let bench = one_joined(&[(Kind::Reachability, "tcp-ns")]);
    assert_figure(
        &trace_of(&bench, "Registration"),
        &[
            "MN → DC_MN: Registration Request",
            "DC_MN → NS: Key Sharing Request",
            "NS → DC_MN: Key Sharing Response",
            "DC_MN → NS: Notification Direction",
            "NS → DC_MN: NTM ACK",
            "DC_MN → MN: Registration Response",
            "MN → NS: Notification Registration",
            "NS → MN: NTM ACK",
        ],
    );
}

/// The same once DC and NS share a key: Key Sharing is for the first contact alone.
#[test]
fn registration_of_a_second_node_with_the_same_notification_server() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = one_joined(&[(Kind::Reachability, "tcp-ns")]);
    bench.spans.clear();
    join(&mut bench, "bob@u1.example", &choices, "10.0.0.3", NATS[1]);
    bench.run_for(Duration::from_secs(2));
    let registration = trace_of(&bench, "Registration");
    let messages: Vec<_> = ntmobile_tests::arrows::arrows(&registration).into_iter().map(|a| a.message).collect();
    assert_eq!(
        messages,
        [
            "Registration Request",
            "Notification Direction",
            "NTM ACK",
            "Registration Response",
            "Notification Registration",
            "NTM ACK",
        ]
    );
}
