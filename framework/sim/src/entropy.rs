//! Chance in a simulated world: streams of ChaCha20, each derived from the run's seed and its consumer's label.

use aws_lc_rs::digest::{Context, SHA256};
use ntmobile_wire::entropy::Entropy;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::fmt;

/// One stream. Streams of different labels are independent: adding a consumer does not shift what others draw.
pub struct SimEntropy {
    generator: ChaCha20Rng,
}

impl SimEntropy {
    /// The `nth` stream of `label` in the run with this seed.
    pub(crate) fn derive(seed: u64, label: &str, nth: u64) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(b"ntmobile simulation stream");
        context.update(&seed.to_be_bytes());
        context.update(&nth.to_be_bytes());
        context.update(label.as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        Self { generator: ChaCha20Rng::from_seed(key) }
    }

    /// Draws a number below `bound`, each with the same probability.
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "there is no number below 0");
        // Numbers from the incomplete last span would favour small results; they are drawn again.
        let last_span = u64::MAX - u64::MAX % bound;
        loop {
            let drawn = self.generator.next_u64();
            if drawn < last_span {
                return drawn % bound;
            }
        }
    }
}

impl Entropy for SimEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.generator.fill_bytes(bytes);
    }
}

impl fmt::Debug for SimEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimEntropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, label: &str, nth: u64) -> [u8; 16] {
        SimEntropy::derive(seed, label, nth).array()
    }

    #[test]
    fn a_stream_depends_on_seed_label_and_number_and_nothing_else() {
        assert_eq!(first(1, "alice", 0), first(1, "alice", 0));
        assert_ne!(first(1, "alice", 0), first(2, "alice", 0));
        assert_ne!(first(1, "alice", 0), first(1, "bob", 0));
        assert_ne!(first(1, "alice", 0), first(1, "alice", 1));
    }

    #[test]
    fn the_world_gives_a_label_a_new_stream_each_time_and_leaves_others_alone() {
        let one = crate::Simulation::new(3).world();
        let two = crate::Simulation::new(3).world();
        two.entropy("newcomer");
        assert_eq!(one.entropy("alice").array::<16>(), two.entropy("alice").array::<16>());
        assert_ne!(one.entropy("bob").array::<16>(), one.entropy("bob").array::<16>());
    }

    #[test]
    fn numbers_below_a_bound_stay_below_and_reach_all() {
        let mut entropy = SimEntropy::derive(1, "dice", 0);
        let mut seen = [0u32; 6];
        for _ in 0..600 {
            seen[usize::try_from(entropy.below(6)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }
}
