//! Strangers: for a minute they send garbage and whatever they have captured to everybody, on every kind of leg.

use bytes::Bytes;
use ntmobile_strategies::registry::Choices;
use ntmobile_tests::bench::{Bench, Crossed, Dice, certificate_of, name};
use ntmobile_tests::load::Load;
use ntmobile_tests::malice::{assert_unchanged, garbage, refused, spoilt, state};
use std::net::SocketAddr;
use std::time::Duration;

/// What a relay passes on without being able to judge it.
const FORWARDED: [&str; 2] = ["relay.packet_forwarded", "relay.tunnel_response_forwarded"];

/// Turns of half a second.
const MINUTE: usize = 120;

fn somewhere(dice: &mut Dice) -> SocketAddr {
    let octet = dice.roll().to_be_bytes();
    SocketAddr::from(([192, 0, 2, octet[0]], u16::from_be_bytes([octet[1], octet[2]])))
}

/// One datagram for one host, from anywhere or from where it once came.
fn trouble(bench: &mut Bench, dice: &mut Dice, captured: &[Crossed], host: &str) {
    let index = usize::try_from(dice.roll()).unwrap_or_default() % captured.len();
    let Crossed { from, bytes, .. } = &captured[index];
    let from = if dice.happens(0.5) { bench.seen_at(from) } else { somewhere(dice) };
    let bytes = if dice.happens(0.3) { garbage(dice) } else { spoilt(dice, bytes) };
    let forwarded = |bench: &Bench| FORWARDED.iter().map(|counter| bench.count(counter)).sum::<u64>();
    let (before, passed_on) = (refused(bench), forwarded(bench));
    bench.arrive(host, from, bytes.clone());
    bench.run_for(Duration::ZERO);
    // A relay passes on what it cannot judge; whoever gets it refuses it.
    let is_passed_on = forwarded(bench) > passed_on;
    let is_keepalive = bytes.len() == 1;
    // A packet that never arrived while its receiver was on the move is authentic and new, whoever sends it.
    let is_late = bytes == captured[index].bytes && !bytes.starts_with(&[0; 4]);
    assert!(
        refused(bench) > before || is_passed_on || is_keepalive || is_late,
        "{} octets at {host}: {:02x?}",
        bytes.len(),
        &bytes[..bytes.len().min(48)]
    );
}

#[test]
fn a_minute_of_hostile_datagrams_is_counted_and_dropped_while_everything_goes_on() {
    let mut load = Load::new(41, &Choices::default());
    for _ in 0..8 {
        load.go_on();
    }
    let mut dice = Dice(1);
    for turn in 0..MINUTE {
        // What is captured meanwhile is sent again, too.
        let captured = load.bench.crossed.clone();
        for host in load.bench.hosts() {
            for _ in 0..4 {
                trouble(&mut load.bench, &mut dice, &captured, host.as_str());
            }
        }
        load.go_on();
        if turn % 40 == 0 {
            load.assert_all_talk("among hostile datagrams");
        }
    }
    load.bench.run_for(Duration::from_secs(30));
    load.assert_all_connected("among hostile datagrams");
    load.assert_all_talk("after hostile datagrams");
    for host in load.bench.hosts() {
        let sizes = load.bench.sizes(host.as_str());
        assert!(sizes.of("early") <= 32, "{host} {sizes:?}");
        assert!(sizes.of("challenges") <= 8 * 3 * sizes.of("keys").max(1), "{host} {sizes:?}");
        assert!(sizes.of("requests") <= 64, "{host} {sizes:?}");
    }
}

/// The same when nobody else changes anything: not one record, key, registration, relay or tunnel is another.
#[test]
fn hostile_datagrams_change_nothing_that_was_acknowledged() {
    let mut load = Load::new(42, &Choices::default());
    for _ in 0..12 {
        load.go_on();
    }
    load.bench.run_for(Duration::from_secs(70));
    let captured = load.bench.crossed.clone();
    let before = state(&load.bench);
    let mut dice = Dice(2);
    for host in load.bench.hosts() {
        for _ in 0..500 {
            trouble(&mut load.bench, &mut dice, &captured, host.as_str());
        }
    }
    load.bench.run_for(Duration::from_secs(40));
    assert_unchanged(&before, &state(&load.bench), "datagrams");
    load.assert_all_talk("after hostile datagrams");
}

#[test]
fn hostile_requests_over_tls_are_refused_and_change_nothing() {
    for login in ["via-as", "via-dc"] {
        let mut choices = Choices::default();
        choices.set(ntmobile_strategies::registry::Kind::Login, login);
        let mut load = Load::new(43, &choices);
        for _ in 0..8 {
            load.go_on();
        }
        load.bench.run_for(Duration::from_secs(70));
        let captured = load.bench.tls_frames.clone();
        // Whoever sends captured logins knows no password.
        let passwords = std::mem::take(&mut load.bench.passwords);
        let before = state(&load.bench);
        let mut dice = Dice(3);
        for crossed in &captured {
            for host in load.bench.hosts() {
                let certificate = dice.happens(0.5).then(|| certificate_of(&name("mallory.u3.example")));
                let bytes = if dice.happens(0.2) { garbage(&mut dice) } else { spoilt(&mut dice, &crossed.bytes) };
                let (refusals, asked) = (refused(&load.bench), load.bench.tls_frames.len());
                let from = somewhere(&mut dice);
                load.bench.inject_tls(host.as_str(), from, certificate, bytes.clone());
                load.bench.run_for(Duration::ZERO);
                let asks_account_server = host.as_str().starts_with("dc") && load.bench.tls_frames.len() > asked;
                assert!(refused(&load.bench) > refusals || asks_account_server, "{login} {host} {bytes:02x?}");
            }
            load.bench.run_for(Duration::from_millis(50));
        }
        load.bench.run_for(Duration::from_secs(20));
        load.bench.passwords = passwords;
        assert_unchanged(&before, &state(&load.bench), login);
        load.go_on();
        load.bench.run_for(Duration::from_secs(20));
        load.assert_all_connected(login);
        load.assert_all_talk(login);
    }
}

/// Connections to a Notification Server: garbage, spoilt messages, half a message and then nothing.
#[test]
fn hostile_connections_to_a_notification_server_end_and_disturb_nobody() {
    let mut load = Load::new(44, &Choices::default());
    for _ in 0..8 {
        load.go_on();
    }
    load.bench.run_for(Duration::from_secs(70));
    let captured: Vec<Bytes> = load.bench.stream_bytes.iter().map(|crossed| crossed.bytes.clone()).collect();
    let before = state(&load.bench);
    let mut dice = Dice(4);
    for notifier in ["ns.u1.example", "ns.u2.example"] {
        for _ in 0..60 {
            for _ in 0..20 {
                let stream = load.bench.open_stream(notifier, somewhere(&mut dice));
                let index = usize::try_from(dice.roll()).unwrap_or_default() % captured.len();
                let bytes = if dice.happens(0.3) { garbage(&mut dice) } else { spoilt(&mut dice, &captured[index]) };
                load.bench.inject_on_stream(notifier, stream, bytes);
            }
            load.bench.run_for(Duration::from_secs(1));
            let sizes = load.bench.sizes(notifier);
            assert!(sizes.of("unregistered_streams") <= 1_024, "{sizes:?}");
        }
    }
    load.bench.run_for(Duration::from_secs(15));
    assert_unchanged(&before, &state(&load.bench), "connections");
    let ended = load.bench.count("notification.stream_malformed") + load.bench.count("notification.stream_silent");
    assert!(ended >= 2 * 60 * 20, "every connection ends, and is counted: {ended} {:?}", load.bench.counters);
    load.assert_all_talk("after hostile connections");
}
