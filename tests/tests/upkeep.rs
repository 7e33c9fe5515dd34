//! What a standing tunnel needs over hours, on the bench: new keys while it is used, its end when it is not.

use ntmobile_proto::node::{Node, NodeEvent};
use ntmobile_proto::packet::InnerHeader;
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, Trouble};
use ntmobile_tests::network::{connect, heard, join, network, outcome, say};
use std::time::Duration;

const ENDS: [&str; 2] = ["alice.u1.example", "bob.u2.example"];

fn talking(choices: &Choices, bob_outside: Option<&str>) -> Bench {
    let mut bench = network(21, choices);
    join(&mut bench, "alice@u1.example", choices, "10.0.0.2", Some("198.51.100.1"));
    join(&mut bench, "bob@u2.example", choices, "203.0.113.5", bob_outside);
    bench.run_for(Duration::from_secs(2));
    connect(&mut bench, ENDS[0], ENDS[1], 1);
    bench.run_for(Duration::from_secs(2));
    let told = outcome(&mut bench, ENDS[0], 1);
    assert!(matches!(told, Some(NodeEvent::Connected { .. })), "{told:?} {:?}", bench.counters);
    bench
}

fn generations(bench: &mut Bench) -> Vec<u32> {
    let mut tunnels = Vec::new();
    for who in ENDS {
        let table = bench.at::<Node>(who).machine.tunnels().tunnels();
        assert_eq!(table.len(), 1, "{who} has one tunnel, and the same one throughout");
        tunnels.push(table[0].generation());
    }
    tunnels
}

/// One tunnel, three and a half hours, a word each way every minute: three new keys, and not a word lost.
#[test]
fn a_tunnel_in_use_renews_its_key_every_hour_and_loses_nothing() {
    for agreement in ["k-tmp", "public-key"] {
        for bob_outside in [None, Some("198.51.100.2")] {
            let mut choices = Choices::default();
            choices.set(Kind::Agreement, agreement);
            let mut bench = talking(&choices, bob_outside);
            let spi = bench.at::<Node>(ENDS[0]).machine.tunnels().tunnels()[0].settings().spi_in.identifier();
            for minute in 0..210 {
                let words = [format!("alice {minute}"), format!("bob {minute}")];
                assert!(say(&mut bench, ENDS[0], ENDS[1], words[0].as_bytes()), "minute {minute}");
                assert!(say(&mut bench, ENDS[1], ENDS[0], words[1].as_bytes()), "minute {minute}");
                bench.run_for(Duration::from_secs(60));
                assert_eq!(heard(&bench, ENDS[1], words[0].as_bytes()), 1, "minute {minute} {:?}", bench.counters);
                assert_eq!(heard(&bench, ENDS[0], words[1].as_bytes()), 1, "minute {minute} {:?}", bench.counters);
            }
            assert_eq!(generations(&mut bench), [3, 3], "{agreement} {:?}", bench.counters);
            let now = bench.at::<Node>(ENDS[0]).machine.tunnels().tunnels()[0].settings().spi_in.identifier();
            assert_eq!(spi, now, "a new key is a new generation of the same tunnel");
        }
    }
}

/// Half of a key's sequence numbers are taken without a packet: long before the key is old, the end that started renews it,
/// whichever end it was.
#[test]
fn a_key_that_has_sealed_half_of_what_it_may_is_renewed_within_a_minute() {
    for (busy, idle) in [(ENDS[0], ENDS[1]), (ENDS[1], ENDS[0])] {
        a_busy_end_gets_a_new_key(busy, idle);
    }
}

fn a_busy_end_gets_a_new_key(busy: &str, idle: &str) {
    let mut bench = talking(&Choices::default(), None);
    let now = bench.now;
    let tunnel = bench.at::<Node>(busy).machine.tunnels().tunnels().remove(0);
    let mut packet = [0; 40];
    packet[0] = 0x60;
    packet[6..8].copy_from_slice(&[59, 64]);
    packet[8..24].copy_from_slice(&tunnel.settings().local.v6.octets());
    packet[24..].copy_from_slice(&tunnel.settings().remote.v6.octets());
    let header = InnerHeader::parse(&packet).expect("an IPv6 packet without content");
    let mut take = |count| tunnel.depart(now, &header, &mut packet, count, |_, _| ()).expect("numbers are left");

    // What the tunnel sends by itself has taken a few numbers at most.
    take((1 << 31) - 1_000);
    assert!(say(&mut bench, busy, idle, b"the last but a thousand"));
    bench.run_for(Duration::from_secs(130));
    assert_eq!(generations(&mut bench), [0, 0], "not yet");
    take(1_000);
    assert!(say(&mut bench, busy, idle, b"the first too late"));
    bench.run_for(Duration::from_secs(65));
    assert_eq!(generations(&mut bench), [1, 1], "{:?}", bench.counters);
    assert!(!tunnel.is_rekey_due(), "the new key has its numbers before it");
    for (from, to) in [(ENDS[0], ENDS[1]), (ENDS[1], ENDS[0])] {
        assert!(say(&mut bench, from, to, b"under the new key"));
        bench.run_for(Duration::from_secs(1));
        assert_eq!(heard(&bench, to, b"under the new key"), 1, "{from} to {to}");
    }
}

#[test]
fn a_key_is_renewed_though_a_third_of_everything_is_lost() {
    let mut bench = talking(&Choices::default(), None);
    bench.trouble = Trouble { loss: 0.3, duplication: 0.1, reordering: 0.1 };
    // Often enough that not every word of one hold time is lost.
    for turn in 0..780 {
        say(&mut bench, ENDS[0], ENDS[1], format!("{turn}").as_bytes());
        bench.run_for(Duration::from_secs(10));
    }
    bench.trouble = Trouble::default();
    bench.run_for(Duration::from_secs(60));
    assert_eq!(generations(&mut bench), [2, 2], "{:?}", bench.counters);
    assert!(say(&mut bench, ENDS[1], ENDS[0], b"still there"));
    bench.run_for(Duration::from_secs(1));
    assert_eq!(heard(&bench, ENDS[0], b"still there"), 1);
}
