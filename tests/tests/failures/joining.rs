//! A node that cannot join.

use super::{ALICE, DC_MN, NATS, assert_within, choices, join_failure, seconds};
use ntmobile_proto::node::{JoinError, Node, NodeCommand, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, name};
use ntmobile_tests::network::{join, join_as, joined, network, node_config};
use std::time::Duration;

const LOGINS: [&str; 2] = ["via-as", "via-dc"];

fn alone(choices: &Choices) -> Bench {
    let mut bench = network(1, choices);
    bench.run_for(Duration::ZERO);
    bench
}

/// Alice tries to join and fails.
fn alice_fails(bench: &mut Bench, choices: &Choices) -> (JoinError, Duration) {
    join(bench, "alice@u1.example", choices, "10.0.0.2", NATS[0]);
    join_failure(bench, ALICE)
}

fn is_named(error: &JoinError, words: &str) -> bool {
    error.to_string().contains(words)
}

#[test]
fn a_wrong_password_and_an_unknown_account_are_told_at_once_and_alike() {
    for login in LOGINS {
        let choices = choices(&[(Kind::Login, login)]);
        for (account, password) in [("alice@u1.example", "wrong"), ("nobody@u1.example", "right")] {
            let mut bench = alone(&choices);
            bench.passwords.insert("alice@u1.example".to_owned(), "right".to_owned());
            let machine = Node::new(node_config(account, &choices, password), bench.entropy());
            join_as(&mut bench, machine, account, "10.0.0.2", None);
            let who = account.replace('@', ".");
            let (error, took) = join_failure(&mut bench, &who);
            assert_eq!(error, JoinError::WrongCredentials, "{login} as {account}");
            assert_within(took, Duration::ZERO, "wrong credentials");
        }
    }
}

#[test]
fn the_account_server_is_down() {
    for login in LOGINS {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = alone(&choices);
        bench.set_up("as.example", false);
        let (error, took) = alice_fails(&mut bench, &choices);
        assert!(matches!(error, JoinError::AccountServerUnreachable(_)), "{login}: {error:?}");
        assert_within(took, seconds(30.0), "AS down");
    }
}

/// `via-dc`, and the node knows its domain from before: the DC asks the AS on its behalf and gives up first.
#[test]
fn the_account_server_is_down_behind_the_coordinator() {
    let choices = choices(&[(Kind::Login, "via-dc")]);
    let mut bench = alone(&choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    bench.run_for(Duration::from_millis(80));
    // The initial data has come; the DC is about to ask the AS.
    bench.sever("as.example", DC_MN);
    let (error, took) = join_failure(&mut bench, ALICE);
    assert!(matches!(error, JoinError::AccountServerUnreachable(_)), "{error:?}");
    assert_within(took, seconds(32.0), "AS down behind the DC");
}

#[test]
fn the_coordinator_is_down() {
    for login in LOGINS {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = alone(&choices);
        bench.set_up(DC_MN, false);
        let (error, took) = alice_fails(&mut bench, &choices);
        assert!(matches!(error, JoinError::CoordinatorUnreachable(_)), "{login}: {error:?}");
        assert_within(took, seconds(30.0), "DC down");
    }
}

/// It was there for the login, and is gone when the node registers.
#[test]
fn the_coordinator_goes_down_before_the_registration() {
    for (reachability, documented) in [("udp-keepalive", 31.5), ("tcp-ns", 31.5)] {
        let choices = choices(&[(Kind::Reachability, reachability)]);
        let mut bench = alone(&choices);
        join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
        bench.run_for(Duration::from_millis(120));
        assert_eq!(bench.count("account.logged_in"), 1);
        bench.set_up(DC_MN, false);
        let (error, took) = join_failure(&mut bench, ALICE);
        assert!(matches!(error, JoinError::CoordinatorUnreachable(_)), "{error:?}");
        assert_within(took, seconds(documented), "DC down at registration");
    }
}

#[test]
fn dns_is_missing() {
    for login in LOGINS {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = alone(&choices);
        bench.dns_is_up = false;
        let (error, took) = alice_fails(&mut bench, &choices);
        let found = match login {
            "via-as" => matches!(&error, JoinError::CoordinatorUnreachable(_)) && is_named(&error, "DNS"),
            _ => matches!(&error, JoinError::CoordinatorNotFound(_)),
        };
        assert!(found, "{login}: {error}");
        assert_within(took, seconds(30.0), "DNS missing");
    }
}

/// The AS is looked up too, where its address is not configured.
#[test]
fn the_account_server_cannot_be_found() {
    for (up, documented) in [(false, 30.0), (true, 0.0)] {
        let choices = Choices::default();
        let mut bench = alone(&choices);
        bench.dns_is_up = up;
        let mut config = node_config("alice@u1.example", &choices, "right");
        config.account_server_addresses = None;
        let machine = Node::new(config, bench.entropy());
        join_as(&mut bench, machine, "alice@u1.example", "10.0.0.2", None);
        let (error, took) = join_failure(&mut bench, ALICE);
        assert!(matches!(error, JoinError::AccountServerUnreachable(_)), "{error:?}");
        assert_within(took, seconds(documented), "AS not in DNS");
    }
}

/// The account is right, but no DC of the network has its domain.
#[test]
fn the_domain_has_no_coordinator() {
    for login in LOGINS {
        let choices = choices(&[(Kind::Login, login)]);
        let mut bench = alone(&choices);
        join(&mut bench, "alice@nowhere.example", &choices, "10.0.0.2", None);
        let (error, took) = join_failure(&mut bench, "alice.nowhere.example");
        let found = match login {
            "via-as" => matches!(&error, JoinError::CoordinatorUnreachable(_)),
            _ => matches!(&error, JoinError::CoordinatorNotFound(_)),
        };
        assert!(found && is_named(&error, "does not exist"), "{login}: {error}");
        assert_within(took, Duration::ZERO, "no such domain");
    }
}

#[test]
fn the_notification_server_is_down() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = alone(&choices);
    bench.set_up("ns.u1.example", false);
    let (error, took) = alice_fails(&mut bench, &choices);
    assert!(matches!(error, JoinError::NotificationServerUnreachable(_)), "{error:?}");
    assert_within(took, seconds(30.0), "NS down, no key shared");
}

/// The DC believes in a key that the NS cannot use any more: it tries that first, then makes a new one.
#[test]
fn the_notification_server_goes_down_after_others_have_used_it() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = alone(&choices);
    join(&mut bench, "carol@u1.example", &choices, "10.0.0.9", Some("198.51.100.9"));
    bench.run_for(seconds(2.0));
    bench.set_up("ns.u1.example", false);
    let (error, took) = alice_fails(&mut bench, &choices);
    assert!(matches!(error, JoinError::NotificationServerUnreachable(_)), "{error:?}");
    assert_within(took, seconds(12.6 + 10.0 + 10.0), "NS down, key shared");
}

/// The DC has told the node where to connect, and nobody is there. The DC, asked again, does not know that yet.
#[test]
fn the_notification_server_does_not_take_connections() {
    let choices = choices(&[(Kind::Reachability, "tcp-ns")]);
    let mut bench = alone(&choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    bench.run_for(Duration::from_millis(220));
    assert_eq!(bench.count("dc.registered"), 1);
    bench.set_up("ns.u1.example", false);
    let (error, took) = join_failure(&mut bench, ALICE);
    assert!(matches!(error, JoinError::NotificationServerUnreachable(_)), "{error:?}");
    assert_within(took, seconds(10.0 + 12.6 + 10.0), "NS mute");
}

#[test]
fn the_host_has_no_address() {
    let choices = Choices::default();
    let mut bench = alone(&choices);
    join(&mut bench, "alice@u1.example", &choices, "10.0.0.2", NATS[0]);
    bench.run_for(Duration::from_millis(50));
    bench.move_to(ALICE, &[], None);
    let (error, _) = join_failure(&mut bench, ALICE);
    assert_eq!(error, JoinError::NoAddress);
}

/// A node that failed does not try again by itself; told to, it joins.
#[test]
fn whoever_failed_to_join_joins_when_the_cause_is_gone() {
    let choices = Choices::default();
    let mut bench = alone(&choices);
    bench.set_up(DC_MN, false);
    alice_fails(&mut bench, &choices);
    bench.set_up(DC_MN, true);
    bench.run_for(seconds(60.0));
    assert!(!joined(&mut bench, ALICE), "nobody asked");
    bench.command::<Node>(ALICE, NodeCommand::Join);
    bench.run_for(seconds(2.0));
    assert!(joined(&mut bench, ALICE), "{:?}", bench.counters);
    let told = &bench.at::<Node>(ALICE).events;
    assert!(told.iter().any(|(_, event)| matches!(event, NodeEvent::Joined { node, .. } if *node == name(ALICE))));
}
