//! Whether a nonce was used twice under one subkey, found out from what crossed the bench alone, without any key: by the
//! header fields that select subkey and nonce.
//!
//! Signalling: the key's identifier and the sender's session select the subkey, the sequence is the nonce. Packets: the SPI with
//! its generation selects the key, sequence and IV are both unique under it. There are sixteen generations; whoever seals
//! comes back to one only after another, with a fresh key, so each turn counts by itself. A message that a relay forwards
//! crosses twice as it is; nothing else may.

use crate::bench::Crossed;
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What selects a subkey and a nonce under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nonce {
    /// Key identifier, session, sequence.
    Signalling([u8; 8], [u8; 8], [u8; 8]),
    /// SPI, the sender's turn of generations, sequence.
    PacketSequence([u8; 4], u32, [u8; 4]),
    /// SPI, the sender's turn of generations, IV.
    PacketIv([u8; 4], u32, [u8; 8]),
}

/// A nonce that was used for two different messages, or by two senders.
#[derive(Clone, PartialEq, Eq)]
pub struct Repetition {
    /// Which.
    pub nonce: Nonce,
    /// Who sent the first message, and the second.
    pub senders: [Fqdn; 2],
}

impl fmt::Debug for Repetition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} and {}", self.nonce, self.senders[0], self.senders[1])
    }
}

/// How many nonces were used, and which of them twice.
#[derive(Debug, Default)]
pub struct Nonces {
    /// How many different ones there were of signalling messages.
    pub signalling: usize,
    /// How many different ones there were of packets.
    pub packets: usize,
    /// Those used twice.
    pub repeated: Vec<Repetition>,
}

/// What else one finds in a message that is not sealed: *Source Unknown*.
const NEVER_SEALED: u8 = 67;

impl Nonces {
    /// Reads what crossed as datagrams, and on streams, where each message is behind a length in two octets.
    pub fn of<'a>(datagrams: impl Iterator<Item = &'a Crossed>, streams: impl Iterator<Item = &'a Crossed>) -> Self {
        let mut found = BTreeMap::<Nonce, &Fqdn>::new();
        let (mut turns, mut sealed) = (Turns::default(), BTreeSet::<&[u8]>::new());
        let mut result = Self::default();
        let mut note = |crossed: &'a Crossed, message: &'a [u8]| {
            let is_relay = crossed.from.as_str().starts_with("rs");
            // Only a relay passes on what another has sealed, and changes nothing in it.
            if is_relay && sealed.contains(message) {
                return;
            }
            for nonce in nonces(message, || turns.of(&crossed.from, message)) {
                sealed.insert(message);
                if let Some(first) = found.insert(nonce, &crossed.from) {
                    result.repeated.push(Repetition { nonce, senders: [first.clone(), crossed.from.clone()] });
                }
            }
        };
        for crossed in datagrams {
            note(crossed, &crossed.bytes);
        }
        for crossed in streams {
            let mut rest: &[u8] = &crossed.bytes;
            while let Some((length, after)) = rest.split_first_chunk() {
                let (message, after) = after.split_at(usize::from(u16::from_be_bytes(*length)).min(after.len()));
                note(crossed, message);
                rest = after;
            }
        }
        result.signalling = found.keys().filter(|nonce| matches!(nonce, Nonce::Signalling(..))).count();
        result.packets = found.keys().filter(|nonce| matches!(nonce, Nonce::PacketSequence(..))).count();
        result
    }
}

/// How often each sender has taken another generation for an SPI.
#[derive(Default)]
struct Turns {
    last: BTreeMap<(Fqdn, u32), (u32, u32)>,
}

impl Turns {
    fn of(&mut self, sender: &Fqdn, packet: &[u8]) -> u32 {
        let spi = packet.first_chunk().map_or(0, |spi| u32::from_be_bytes(*spi));
        let (identifier, generation) = (spi >> 4, spi & 0xf);
        let (last, turn) = self.last.entry((sender.clone(), identifier)).or_insert((generation, 0));
        if *last != generation {
            (*last, *turn) = (generation, *turn + 1);
        }
        *turn
    }
}

/// The nonces of a datagram, by the octets where the book says that they are.
fn nonces(message: &[u8], turn: impl FnOnce() -> u32) -> Vec<Nonce> {
    fn field<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
        message.get(at..)?.first_chunk().copied()
    }
    let fields = || {
        if message.starts_with(&[0; 4]) {
            // Marker 4, version 1, type 1, transaction 8.
            let is_sealed = *message.get(5)? != NEVER_SEALED;
            let nonce = Nonce::Signalling(field(message, 14)?, field(message, 22)?, field(message, 30)?);
            return Some(Vec::from_iter(is_sealed.then_some(nonce)));
        }
        let (spi, sequence, iv) = (field(message, 0)?, field(message, 4)?, field(message, 8)?);
        let turn = turn();
        Some(vec![Nonce::PacketSequence(spi, turn, sequence), Nonce::PacketIv(spi, turn, iv)])
    };
    fields().unwrap_or_default()
}
