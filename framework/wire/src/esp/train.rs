//! Trains of packets: what crosses the kernel in one call is sealed and opened with one step on the shared counters.
//!
//! A sender takes all the sequence numbers of a train at once ([`EspSealer::reserve`]); a receiver asks and changes the
//! anti-replay window once for up to 64 packets ([`EspOpener::open_train`]). Both work in the caller's buffer.

use super::{EspError, EspOpener, EspSealer, Inner, Parsed, SealError, sealed_length, without_padding};
use std::fmt;
use std::sync::atomic::Ordering;

/// So many packets are opened between two looks at the window.
const BATCH: usize = 64;

/// Sequence numbers that nobody else will use, and the sealer that they belong to. Numbers that are left over are never
/// used: a receiver sees them as lost.
pub struct Reservation<'a> {
    sealer: &'a EspSealer,
    next: u32,
    left: u32,
}

impl EspSealer {
    /// Takes the numbers of the next `count` packets: one atomic step for all of them.
    pub fn reserve(&self, count: u32) -> Result<Reservation<'_>, SealError> {
        let last = self
            .last
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| last.checked_add(count))
            .map_err(|_| SealError::Exhausted)?;
        Ok(Reservation { sealer: self, next: last.wrapping_add(1), left: count })
    }
}

impl Reservation<'_> {
    /// Seals in place the inner packet of `inner` octets that the caller put at [`HEADER_LENGTH`](super::HEADER_LENGTH);
    /// returns the length of the whole. Beyond what was reserved, each packet takes a number of its own.
    pub fn seal(&mut self, buffer: &mut [u8], inner: usize, next_header: u8) -> Result<usize, SealError> {
        let need = sealed_length(inner);
        let have = buffer.len();
        let packet = buffer.get_mut(..need).ok_or(SealError::NoRoom { have, need })?;
        if self.left == 0 {
            *self = self.sealer.reserve(1)?;
        }
        let sequence = self.next;
        self.next = self.next.wrapping_add(1);
        self.left -= 1;
        self.sealer.seal_as(sequence, packet, inner, next_header);
        Ok(need)
    }
}

impl fmt::Debug for Reservation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} from {})", self.left, self.next)
    }
}

impl EspOpener {
    /// Opens in place a train of packets of `stride` octets each, the last one perhaps shorter, and tells what came of each,
    /// in order. It refuses exactly what [`EspOpener::open`] refuses.
    ///
    /// # Panics
    /// When `stride` is 0.
    pub fn open_train<'a>(
        &self,
        train: &'a mut [u8],
        stride: usize,
        mut each: impl FnMut(Result<Inner<'a>, EspError>),
    ) {
        for batch in train.chunks_mut(stride.saturating_mul(BATCH)) {
            self.open_batch(batch, stride, &mut each);
        }
    }

    /// The same for at most [`BATCH`] packets. Window, cryptography, window: in the order that
    /// [`EspOpener::open`] gives reasons for.
    fn open_batch<'a>(&self, batch: &'a mut [u8], stride: usize, each: &mut impl FnMut(Result<Inner<'a>, EspError>)) {
        let mut outcomes = [Ok(0); BATCH];
        self.with_window(|window| {
            for (packet, outcome) in batch.chunks(stride).zip(&mut outcomes) {
                *outcome = Parsed::sequence_of(packet).and_then(|sequence| {
                    if window.is_fresh(sequence.into()) { Ok(sequence) } else { Err(EspError::Replayed(sequence)) }
                });
            }
        });
        for (packet, outcome) in batch.chunks_mut(stride).zip(&mut outcomes) {
            if outcome.is_ok() && !Parsed::split(packet).is_ok_and(|mut parsed| parsed.decrypt(&self.cipher)) {
                *outcome = Err(EspError::NotAuthentic);
            }
        }
        self.with_window(|window| {
            for outcome in &mut outcomes[..batch.len().div_ceil(stride)] {
                if let Ok(sequence) = *outcome
                    && !window.accept(sequence.into())
                {
                    *outcome = Err(EspError::Replayed(sequence));
                }
            }
        });
        for (packet, outcome) in batch.chunks_mut(stride).zip(outcomes) {
            each(outcome.and_then(|sequence| {
                let (packet, next_header) = without_padding(Parsed::split(packet)?.body).ok_or(EspError::Padding)?;
                Ok(Inner { packet, next_header, sequence })
            }));
        }
    }
}
