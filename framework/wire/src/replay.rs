//! The anti-replay window: which sequence numbers have come already.
//!
//! A ring of 64-bit words as in RFC 6479: moving forward clears whole words instead of shifting the window.

/// The window of ESP: at least 16,384 numbers behind the highest, because a switch from a relay to a direct path reorders
/// a bandwidth-delay product.
pub type EspWindow = ReplayWindow<257>;

/// Remembers `WORDS` × 64 sequence numbers, of which (`WORDS` − 1) × 64 are sure to be in the window.
#[derive(Clone, Debug)]
pub struct ReplayWindow<const WORDS: usize> {
    /// Bit `n % 64` of word `n / 64 % WORDS` says whether `n` has come.
    seen: [u64; WORDS],
    /// The word that holds the highest number so far, counted from number 0.
    highest: u64,
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self { seen: [0; WORDS], highest: 0 }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// Whether `sequence` is neither too old nor there already. Ask before the cryptography, since it is cheaper.
    pub fn is_fresh(&self, sequence: u64) -> bool {
        let (word, bit) = split(sequence);
        word > self.highest || (self.highest - word < WORDS as u64 && self.seen[Self::slot(word)] & bit == 0)
    }

    /// Marks `sequence`; `false` if it was not fresh. Only after the packet has proved authentic.
    pub fn accept(&mut self, sequence: u64) -> bool {
        if !self.is_fresh(sequence) {
            return false;
        }
        let (word, bit) = split(sequence);
        if word > self.highest {
            let first = (self.highest + 1).max(word.saturating_sub(WORDS as u64 - 1));
            for cleared in first..=word {
                self.seen[Self::slot(cleared)] = 0;
            }
            self.highest = word;
        }
        self.seen[Self::slot(word)] |= bit;
        true
    }

    fn slot(word: u64) -> usize {
        (word % WORDS as u64) as usize
    }
}

fn split(sequence: u64) -> (u64, u64) {
    (sequence / 64, 1 << (sequence % 64))
}
