//! Tunnels through an RS, on the bench: every variant, with and without trouble on the way, and across a move.

use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_proto::relay_server::RelayServer;
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Trouble};
use ntmobile_tests::network::{connect, every_choice, join, joined, network, outcome};
use std::time::Duration;

const ENDS: [&str; 2] = ["alice.u1.example", "bob.u2.example"];

fn behind_different_nats(seed: u64, choices: &Choices) -> Bench {
    let mut bench = network(seed, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "10.0.0.3", Some("198.51.100.2"));
    bench.run_for(Duration::from_secs(2));
    for who in ENDS {
        assert!(joined(&mut bench, who), "{who} with {choices:?}: {:?}", bench.counters);
    }
    bench
}

#[test]
fn every_combination_that_concerns_a_relayed_tunnel_works_and_survives_a_move() {
    let kinds = [Kind::RelayHandshake, Kind::Reachability, Kind::Agreement, Kind::Protection, Kind::Path];
    let combinations = every_choice(&kinds);
    assert_eq!(combinations.len(), 32);
    for choices in combinations {
        for trouble in [0.0, 0.2] {
            let mut bench = behind_different_nats(5, &choices);
            bench.trouble = Trouble { loss: trouble, duplication: trouble, reordering: trouble };
            connect(&mut bench, "bob.u2.example", "alice.u1.example", 1);
            bench.run_for(Duration::from_secs(if trouble > 0.0 { 60 } else { 2 }));
            let told = outcome(&mut bench, "bob.u2.example", 1);
            let context = format!("trouble {trouble}, {choices:?}: {:?}", bench.counters);
            assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {context}");
            let tunnels = bench.at::<Node>("alice.u1.example").machine.tunnels().tunnels();
            assert_eq!(tunnels.len(), 1, "{context}");
            let table = bench.at::<RelayServer>("rs.u2.example").machine.table();
            let relay = table.get(tunnels[0].settings().spi_in).expect("the RS of the end that started relays");
            assert!(relay.address(tunnels[0].settings().spi_in).is_some(), "{context}");
            assert!(relay.address(tunnels[0].settings().spi_out).is_some(), "{context}");
            bench.trouble = Trouble::default();
            bench.move_to("alice.u1.example", &["10.9.9.9"], Some("198.51.100.77"));
            bench.run_for(Duration::from_secs(30));
            let moved = bench
                .at::<Node>("alice.u1.example")
                .events
                .iter()
                .any(|(_, event)| matches!(event, NodeEvent::TunnelBuilt { handover: true, .. }));
            assert!(moved, "{context}");
        }
    }
}
