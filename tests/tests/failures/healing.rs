//! Servers that come back: everything works again without anybody's help.

use super::{ALICE, BOB, DC_CN, DC_MN, NATS, assert_connects, both_joined, choices, connect_failure, seconds};
use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::Bench;
use ntmobile_tests::network::joined;

/// A server is off for a while, and on again.
fn blink(bench: &mut Bench, who: &str, off: f64) {
    bench.set_up(who, false);
    bench.run_for(seconds(off));
    bench.set_up(who, true);
}

#[test]
fn each_server_heals_by_itself() {
    for server in [DC_MN, DC_CN, "rs.u1.example", "ns.u1.example", "ns.u2.example", "as.example"] {
        for reachability in ["udp-keepalive", "tcp-ns"] {
            let mut bench = both_joined(&choices(&[(Kind::Reachability, reachability)]), NATS);
            blink(&mut bench, server, 90.0);
            bench.run_for(seconds(30.0));
            assert_connects(&mut bench, 1);
        }
    }
}

/// Whoever failed is not stuck with it: the next attempt meets the server that came back.
#[test]
fn an_attempt_after_a_failed_one_succeeds() {
    let all_of_a_kind: [&[&str]; 2] = [&[DC_CN], &["rs.u1.example", "rs.u2.example"]];
    for servers in all_of_a_kind {
        let mut bench = both_joined(&Choices::default(), NATS);
        servers.iter().for_each(|server| bench.set_up(server, false));
        connect_failure(&mut bench, BOB, 1);
        servers.iter().for_each(|server| bench.set_up(server, true));
        bench.run_for(seconds(60.0));
        assert_connects(&mut bench, 2);
    }
}

/// A registration that ran out while the DC was unreachable is made again with the first keepalive that gets through.
#[test]
fn a_registration_that_ran_out_comes_back() {
    let mut bench = both_joined(&Choices::default(), NATS);
    bench.sever(BOB, DC_CN);
    bench.run_for(seconds(300.0));
    bench.mend(BOB, DC_CN);
    bench.run_for(seconds(30.0));
    assert_connects(&mut bench, 1);
}

/// The AS is needed for a new key only, and a node asks for one long before the old one ends.
#[test]
fn an_account_server_that_is_away_for_two_hours_a_day_is_not_missed() {
    let mut bench = both_joined(&Choices::default(), NATS);
    bench.run_for(seconds(21.0 * 3_600.0));
    blink(&mut bench, "as.example", 2.0 * 3_600.0);
    bench.run_for(seconds(2.0 * 3_600.0));
    for who in [ALICE, BOB] {
        assert!(joined(&mut bench, who));
        let events = &bench.at::<Node>(who).events;
        let lost = events.iter().any(|(_, event)| matches!(event, NodeEvent::RegistrationLost(_)));
        assert!(!lost, "{who}: {events:?}");
    }
    assert_connects(&mut bench, 1);
}
