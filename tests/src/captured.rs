//! The packets of a run's capture, read back from its file.

use bytes::Bytes;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::network::Packet;
use std::fs;
use std::path::Path;

const ENHANCED_PACKET: u32 = 6;

/// The packets of a pcapng file as the simulator writes it, in order, each with the time at which an interface saw it in a
/// world whose origin is at `epoch`.
///
/// # Panics
/// When the file cannot be read.
pub fn packets(path: &Path, epoch: UnixTime) -> Vec<(Instant, Packet)> {
    let file = Bytes::from(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    let word = |at: usize| -> Option<u32> { Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?)) };
    let mut packets = Vec::new();
    let mut at = 0;
    while let (Some(kind), Some(length)) = (word(at), word(at + 4)) {
        let read = || {
            // Interface, time in two halves, captured length, original length, the packet.
            let time = u64::from(word(at + 12)?) << 32 | u64::from(word(at + 16)?);
            let length = usize::try_from(word(at + 20)?).ok()?;
            let bytes = (at + 28 + length <= file.len()).then(|| file.slice(at + 28..at + 28 + length))?;
            let since = time.saturating_sub(epoch.0.saturating_mul(1_000_000_000));
            Some((Instant(since), Packet::from_bytes(&bytes).ok()?))
        };
        if kind == ENHANCED_PACKET {
            packets.extend(read());
        }
        at += usize::try_from(length.max(12)).expect("a block that is in memory");
    }
    packets
}
