//! Chance: one stream of random numbers for each thing that needs some.
//!
//! A stream is drawn from the run's seed and the name of what it is for, so that one more link or NAT in a world does
//! not shift what chance deals to the others.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// One stream.
#[derive(Clone, Debug)]
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of `name` in the run with this seed.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        // FNV-1a: part of what makes a seed mean the same run everywhere, so it must never change.
        let stream = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(generator)
    }

    /// Whether something of this probability happens. Draws nothing for what never happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        // 53 bits are what a double holds exactly.
        probability > 0.0 && ((self.0.next_u64() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// A number from 0 to `below` - 1; 0 for 0, without a draw.
    pub(super) fn below(&mut self, below: u64) -> u64 {
        if below == 0 {
            return 0;
        }
        // The high half of the product is uniform up to a bias of below / 2^64.
        ((u128::from(self.0.next_u64()) * u128::from(below)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name_alone() {
        let draw = |seed, name| Chance::new(seed, name).below(u64::MAX);
        assert_eq!(draw(7, "a"), draw(7, "a"));
        assert_ne!(draw(7, "a"), draw(7, "b"));
        assert_ne!(draw(7, "a"), draw(8, "a"));
    }

    #[test]
    fn probabilities_are_met() {
        let mut chance = Chance::new(1, "coin");
        let heads = (0..10_000).filter(|_| chance.happens(0.3)).count();
        assert!((2_800..3_200).contains(&heads), "{heads} of 10,000 at 30 %");
        assert!((0..1_000).all(|_| chance.happens(1.0)));
        assert!((0..1_000).all(|_| !chance.happens(0.0)));
        assert!((0..1_000).map(|_| chance.below(6)).all(|face| face < 6));
    }
}
