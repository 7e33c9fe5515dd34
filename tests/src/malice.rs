//! What whoever wishes a network ill can send without holding a key of it: garbage, and what was captured, as it was, cut
//! short, or with a bit turned over.

use crate::bench::{Bench, Dice};
use bytes::Bytes;
use ntmobile_wire::entropy::Entropy;

/// The longest piece of garbage.
const LONGEST: u64 = 1_400;

/// Of 0 to 1,400 octets, often dressed up as what a receiver takes for more than it is.
pub fn garbage(dice: &mut Dice) -> Bytes {
    let length = usize::try_from(dice.roll() % LONGEST).expect("a short length");
    let mut bytes = vec![0; length];
    dice.fill(&mut bytes);
    let [kind] = [u8::try_from(dice.roll() % 80).expect("an octet")];
    let front: &[u8] = match dice.roll() % 4 {
        0 => &[0, 0, 0, 0, 1],
        1 => &[0, 0, 0, 0, 1, kind],
        2 => &[1, kind],
        _ => &[],
    };
    let shared = front.len().min(length);
    bytes[..shared].copy_from_slice(&front[..shared]);
    bytes.into()
}

/// A message that was captured, changed or not: one of four in turn.
pub fn spoilt(dice: &mut Dice, captured: &Bytes) -> Bytes {
    let length = captured.len().max(1);
    let at = usize::try_from(dice.roll()).unwrap_or_default() % length;
    match dice.roll() % 4 {
        0 => captured.clone(),
        1 => captured.slice(..at.min(captured.len())),
        2 => {
            let mut bytes = captured.to_vec();
            bytes.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= 1 << (dice.roll() % 8));
            bytes.into()
        }
        _ => {
            let mut bytes = captured.to_vec();
            bytes.extend_from_slice(&dice.roll().to_be_bytes());
            bytes.into()
        }
    }
}

/// Counters that say that something was not believed, or not yet, or is of no use to its sender.
const REFUSING: [&str; 31] = [
    "account.refused",
    "datagram.malformed",
    "esp.unexpected",
    "node.control_malformed",
    "node.early_tunnel_request",
    "node.leg_being_proved",
    "node.leg_proved_again",
    "node.packet_refused",
    "node.source_unknown_ignored",
    "node.stray_tunnel_request",
    "node.unexpected_input",
    "node.unexpected_message",
    "notification.refused",
    "notification.stream_malformed",
    "notification.stream_refused",
    "notification.stream_silent",
    "relay.packet_dropped",
    "relay.refused",
    "relay.source_unknown",
    "signalling.challenge_echoed",
    "signalling.late_echo",
    "signalling.malformed",
    "signalling.not_authentic",
    "signalling.repeated_request",
    "signalling.replayed",
    "signalling.session_challenged",
    "signalling.unexpected_answer",
    "signalling.unknown_key",
    "tls.malformed",
    "tls.refused",
    "dc.refused",
];

/// How often something was refused.
pub fn refused(bench: &Bench) -> u64 {
    REFUSING.iter().map(|counter| bench.count(counter)).sum()
}

/// Nothing of the state is another, gone, or new.
///
/// # Panics
/// When something is.
pub fn assert_unchanged(before: &[String], after: &[String], what: &str) {
    let missing = |one: &[String], other: &[String]| -> Vec<String> {
        one.iter().filter(|entry| !other.contains(entry)).cloned().collect()
    };
    let (gone, new) = (missing(before, after), missing(after, before));
    assert!(gone.is_empty() && new.is_empty(), "{what}: gone {gone:#?}, new {new:#?}");
}

/// Everything that the entities hold and that a message may change, but what they remember of messages as such.
pub fn state(bench: &Bench) -> Vec<String> {
    const OF_MESSAGES: [&str; 6] = ["answers", "calls", "challenges", "early", "requests", "tls_requests"];
    let mut state = Vec::new();
    for host in bench.hosts() {
        let sizes = bench.sizes(host.as_str());
        let kept = sizes.iter().filter(|(table, _)| !OF_MESSAGES.contains(table));
        state.extend(kept.map(|(table, entries)| format!("{host} {table} {entries}")));
        state.extend(bench.records(host.as_str()).iter().map(|record| format!("{host} {record:?}")));
    }
    state
}
