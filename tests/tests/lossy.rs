//! Every sequence completes on an internet that loses three of ten packets, repeats two and lets two be overtaken: DNS, login,
//! registration with and without an NS, tunnels direct and through a relay, and a move.

use ntmobile_lab::record::{Conversation, Path};
use ntmobile_lab::scenario::event::TrafficKind;
use ntmobile_lab::scenario::plugin::Kind;
use ntmobile_lab::scenario::units::{Percent, ms, secs};
use ntmobile_lab::scenario::{Core, Scenario};
use ntmobile_tests::simulated::{simulate, three_people};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Worlds for each combination of [`VARIED`]: as many as there are of [`DRAWN`].
const SEEDS: u64 = 16;

/// The plugins that decide which sequences there are: each goes another way.
const VARIED: [Kind; 3] = [Kind::Login, Kind::Reachability, Kind::RelayHandshake];

/// The plugins that change what is in the messages or when they are sent. The bits of the seed choose them, so that each
/// sequence is run once with every combination.
const DRAWN: [Kind; 4] = [Kind::Auth, Kind::Movement, Kind::Agreement, Kind::Protection];

/// A seed, and the name of a plugin of each kind.
type Case = (u64, [&'static str; VARIED.len()]);

fn cases() -> Vec<Case> {
    let names = VARIED.map(|kind| kind.known().iter().map(|(name, _)| *name));
    let [logins, reachabilities, handshakes] = names;
    let mut cases = Vec::new();
    for login in logins {
        for reachability in reachabilities.clone() {
            for handshake in handshakes.clone() {
                cases.extend((1..=SEEDS).map(|seed| (seed, [login, reachability, handshake])));
            }
        }
    }
    cases
}

/// The name that the seed chooses of each of [`DRAWN`].
fn drawn(seed: u64) -> [&'static str; DRAWN.len()] {
    let mut bits = seed;
    DRAWN.map(|kind| {
        let known = kind.known();
        let name = known[(bits % 2) as usize % known.len()].0;
        bits /= 2;
        name
    })
}

/// Alice calls bob, for whom she needs a relay, and dave, for whom she does not, and moves while they talk. Whoever joins has a
/// minute for it.
fn world((seed, [login, reachability, handshake]): Case) -> Scenario {
    let [auth, movement, agreement, protection] = drawn(seed);
    three_people()
        .seed(seed)
        .core(Core { loss: Percent::new(30), duplication: Percent::new(20), reordering: Percent::new(20) })
        .plugins(|plugins| plugins.login(login).reachability(reachability).relay_handshake(handshake))
        .plugins(|plugins| plugins.auth(auth).movement(movement).agreement(agreement).protection(protection))
        .traffic_at(secs(65), "alice", "bob", TrafficKind::udp(ms(500)))
        .traffic_at(secs(65), "alice", "dave", TrafficKind::udp(ms(500)))
        .moves(secs(125), "alice", "lte")
        .duration(secs(200))
        .build()
        .expect("a sound scenario")
}

/// What is wrong with how a conversation went.
fn judge(row: &Conversation) -> Option<String> {
    if let Some(failure) = &row.failure {
        return Some(failure.clone());
    }
    if row.received == 0 {
        return Some("nothing arrived".to_owned());
    }
    if row.gap.is_none() {
        return Some("nothing arrived after the move".to_owned());
    }
    let needs_relay = row.to == "bob";
    (needs_relay && !matches!(row.path, Some(Path::Relayed(_)))).then(|| format!("the path was {:?}", row.path))
}

#[test]
fn every_sequence_completes_under_loss_reordering_and_duplication() {
    let cases = cases();
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = thread::scope(|scope| {
        let work = || {
            let mut wrong = Vec::new();
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                match simulate(&world(*case)) {
                    Ok(run) => wrong.extend(run.conversations.iter().filter_map(|row| {
                        judge(row).map(|complaint| {
                            format!("{case:?} {:?}: {} to {}: {complaint}", drawn(case.0), row.from, row.to)
                        })
                    })),
                    Err(error) => wrong.push(format!("{case:?} {:?}: {error}", drawn(case.0))),
                }
            }
            wrong
        };
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a panic is a failure of the run")).collect()
    });
    assert!(wrong.is_empty(), "{} wrong in {} worlds:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
