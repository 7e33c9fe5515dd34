//! What fails in the simulated internet is a typed error where the application meets it, in time; servers that start
//! again on their stores are no failure at all.

use ntmobile_actors::library::{JoinError, LookupError, Node, Password};
use ntmobile_lab::scenario::builder::Builder;
use ntmobile_lab::scenario::event::TrafficKind;
use ntmobile_lab::scenario::plugin::Kind;
use ntmobile_lab::scenario::units::{ms, secs};
use ntmobile_lab::world::stage::play;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::node::{self, ConnectError};
use ntmobile_proto::time::Instant;
use ntmobile_tests::simulated::{files_of_the_seed, simulate, three_people};
use std::time::Duration;

/// Three people for two minutes.
fn world() -> Builder {
    three_people().duration(secs(120))
}

/// What alice gets who asks for `peer` after these hosts have lost their power, and how long it takes.
fn look_up(builder: Builder, dead: &'static [&'static str], peer: &'static str) -> (Option<LookupError>, Duration) {
    let scenario = builder.build().expect("a sound scenario");
    let outcome = play(&scenario, move |stage| async move {
        let alice = stage.node("alice").await.expect("alice joins");
        stage.node("bob").await.expect("bob joins");
        dead.iter().for_each(|host| stage.crash(host).expect("there is such a host"));
        let asked = stage.clock().now();
        let found = alice.lookup(peer).await;
        (found.err(), stage.clock().now().since(asked))
    });
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_wrong_password_is_refused_at_once() {
    let scenario = world().build().expect("a sound scenario");
    let refused = play(&scenario, |stage| async move {
        let device = stage.device("alice").expect("alice has a device");
        let asked = stage.clock().now();
        let joined = Node::join(&device, "alice@u1.example", Password::new("a guess")).await;
        (joined.err(), stage.clock().now().since(asked))
    });
    let (error, took) = refused.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(error, Some(JoinError::Refused(node::JoinError::WrongCredentials)));
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn an_account_server_that_is_down_is_named_to_who_joins() {
    let scenario = world().build().expect("a sound scenario");
    let refused = play(&scenario, |stage| async move {
        stage.crash("as.example").expect("there is such a host");
        let device = stage.device("alice").expect("alice has a device");
        let asked = stage.clock().now();
        let joined = Node::join(&device, "alice@u1.example", Password::new("a guess")).await;
        (joined.err(), stage.clock().now().since(asked))
    });
    let (error, took) = refused.unwrap_or_else(|error| panic!("{error}"));
    assert!(
        matches!(error, Some(JoinError::Refused(node::JoinError::AccountServerUnreachable(_)))),
        "{error:?} after {took:?}"
    );
    assert!(took < Duration::from_secs(31), "{took:?}");
}

#[test]
fn a_name_that_nobody_bears_is_said_to_be_none() {
    for name in ["nobody.u2.example", "nobody.u9.example"] {
        let (error, took) = look_up(world(), &[], name);
        let no_such_name = matches!(&error, Some(LookupError::Tunnel(ConnectError::NoSuchName(_))));
        assert!(no_such_name, "{name}: {error:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn name_servers_that_are_down_are_an_error_within_the_time_of_a_look_up() {
    let (error, took) = look_up(world(), &["root-server"], "bob.u2.example");
    let unreachable = matches!(&error, Some(LookupError::Tunnel(ConnectError::ServerUnreachable(_))));
    assert!(unreachable, "{error:?} after {took:?}");
    assert!(took < Duration::from_secs(16), "{took:?}");
}

#[test]
fn a_coordinator_that_is_down_is_an_error_within_the_patience_of_a_request() {
    let (error, took) = look_up(world(), &["dc.u2.example"], "bob.u2.example");
    let unreachable = matches!(&error, Some(LookupError::Tunnel(ConnectError::ServerUnreachable(_))));
    assert!(unreachable, "{error:?} after {took:?}");
    assert!(took < Duration::from_millis(23_600), "{took:?}");

    let (error, took) = look_up(world(), &["dc.u1.example"], "bob.u2.example");
    let unreachable = matches!(&error, Some(LookupError::Tunnel(ConnectError::ServerUnreachable(_))));
    assert!(unreachable, "{error:?} after {took:?}");
    assert!(took < Duration::from_millis(17_500), "{took:?}");
}

#[test]
fn a_relay_that_is_down_is_missed_only_where_one_is_needed() {
    let every = &["rs1.u1.example", "rs1.u2.example"];
    let (error, took) = look_up(world(), every, "bob.u2.example");
    assert_eq!(error, Some(LookupError::Tunnel(ConnectError::NoRelay)), "after {took:?}");
    assert!(took < Duration::from_millis(33_600), "{took:?}");
    let (error, took) = look_up(world(), &["rs1.u1.example"], "bob.u2.example");
    assert_eq!(error, None, "the peer's domain lends its own");
    assert!(took < Duration::from_millis(11_000), "{took:?}");
    let (error, _) = look_up(world(), every, "dave.u2.example");
    assert_eq!(error, None);
}

#[test]
fn a_sleeping_peer_cannot_be_woken_without_its_notification_server() {
    let sleepers = world().plugins(|plugins| plugins.reachability("tcp-ns"));
    let (error, took) = look_up(sleepers, &["ns1.u2.example"], "bob.u2.example");
    assert!(matches!(&error, Some(LookupError::Tunnel(ConnectError::PeerAsleep(_)))), "{error:?} after {took:?}");
    assert!(took < Duration::from_secs(16), "{took:?}");
}

#[test]
fn servers_that_start_again_on_their_stores_go_on_with_accounts_addresses_and_keys() {
    for storage in Kind::Storage.known().iter().map(|(name, _)| *name) {
        let mut builder = world().plugins(|plugins| plugins.storage(storage));
        builder = builder.traffic("alice", "bob", TrafficKind::udp(ms(500)));
        for (second, server) in (5..).zip(["as", "dc.u1.example", "dc.u2.example", "rs1.u1.example"]) {
            builder = builder.restarts(secs(second), server);
        }
        // One that joins after all that, and a direct and a relayed tunnel that are new.
        let scenario = builder
            .node("late", |node| node.domain("u1.example").network("lte").start(secs(15)))
            .traffic_at(secs(30), "alice", "dave", TrafficKind::udp(ms(500)))
            .traffic_at(secs(30), "late", "bob", TrafficKind::udp(ms(500)))
            .duration(secs(60))
            .build()
            .expect("a sound scenario");
        let run = simulate(&scenario).unwrap_or_else(|error| panic!("{storage}: {error}"));
        for row in &run.conversations {
            let ends = format!("{storage}: {} to {}", row.from, row.to);
            assert_eq!(row.failure, None, "{ends}");
            // An end that only answers notices a relay's new start by its next keepalive, 20 s later.
            assert!(row.lost() <= 50, "{ends}: {} of {} lost", row.lost(), row.sent);
            assert!(row.sent > 50, "{ends}: {} sent", row.sent);
        }
    }
}

#[test]
fn a_coordinator_on_sled_that_runs_out_of_disk_refuses_new_nodes_and_keeps_the_old_ones() {
    let builder = world().plugins(|plugins| plugins.storage("sled"));
    let scenario = builder
        .node("late", |node| node.domain("u1.example").network("lte").start(secs(119)))
        .disk_full(secs(5), "dc.u1.example")
        // It starts again on the full disk, from its directory.
        .fails(secs(30), "dc.u1.example")
        .restarts(secs(32), "dc.u1.example")
        .disk_free(secs(60), "dc.u1.example")
        .build()
        .expect("a sound scenario");
    let done = play(&scenario, |stage| async move {
        let alice = stage.node("alice").await.expect("alice joins");
        let before = alice.addresses();
        stage.node("bob").await.expect("bob joins");
        let clock = stage.clock();
        let late = |attempt: u64| {
            let clock = clock.clone();
            let (device, credential) = (stage.device("late").expect("a device"), stage.credential("late"));
            async move {
                clock.sleep_until(Instant::ORIGIN + Duration::from_secs(attempt)).await;
                let asked = clock.now();
                (Node::join(&device, "late@u1.example", credential).await, clock.now().since(asked))
            }
        };
        // What the ballast makes room for is still taken: an address or a key. Then nothing is.
        drop(late(6).await);
        for attempt in [10, 50] {
            let (joined, took) = late(attempt).await;
            let refused = match joined.map(drop) {
                Err(JoinError::Refused(node::JoinError::StorageFailed(detail))) => detail,
                other => panic!("at {attempt} s: {other:?}"),
            };
            assert!(refused.contains("dc.u1.example") && refused.contains("full"), "{refused}");
            assert!(took < Duration::from_secs(1), "{took:?}");
            alice.lookup("bob.u2.example").await.expect("those who have joined go on");
            alice.lookup("dave.u2.example").await.expect("and build new tunnels");
        }
        let (joined, _) = late(61).await;
        joined.expect("there is room again");
        assert_eq!(alice.addresses(), before);
        alice.lookup("bob.u2.example").await.expect("everything is as before");
    });
    done.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn an_account_server_on_sled_without_room_goes_on_with_its_accounts() {
    let builder = world().plugins(|plugins| plugins.storage("sled"));
    let scenario = builder
        .node("late", |node| node.domain("u1.example").network("lte").start(secs(10)))
        .disk_full(secs(4), "as")
        .restarts(secs(6), "as")
        .build()
        .expect("a sound scenario");
    let joined = play(&scenario, |stage| async move { stage.node("late").await.map(drop) });
    assert_eq!(joined.unwrap_or_else(|error| panic!("{error}")), Ok(()));
}

#[test]
fn a_run_with_full_disks_and_restarts_is_the_same_every_time() {
    let scenario = world()
        .plugins(|plugins| plugins.storage("sled"))
        .duration(secs(20))
        .node("late", |node| node.domain("u1.example").network("lte").start(secs(7)))
        .traffic_at(secs(8), "alice", "bob", TrafficKind::udp(ms(500)))
        .disk_full(secs(4), "dc.u1.example")
        .restarts(secs(5), "dc.u1.example")
        .disk_free(secs(9), "dc.u1.example")
        .build()
        .expect("a sound scenario");
    let run = || simulate(&scenario).unwrap_or_else(|error| panic!("{error}"));
    let files = || files_of_the_seed(&run().directory);
    assert!(files() == files(), "trace, results and capture follow from the seed alone");
}
