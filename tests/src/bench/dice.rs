//! Chance on the bench: a seeded generator, and what it makes go wrong.

use ntmobile_wire::entropy::Entropy;

/// A generator for tests: splitmix64, seeded.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next 64 bits.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether an event of this probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        ((self.roll() >> 11) as f64) / ((1u64 << 53) as f64) < probability
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.roll().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// What goes wrong on the way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that it comes twice.
    pub duplication: f64,
    /// The probability that it is held back so long that later ones overtake it.
    pub reordering: f64,
}
