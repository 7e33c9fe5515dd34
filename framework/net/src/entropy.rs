//! Chance from the operating system.

use ntmobile_wire::entropy::Entropy;
use std::sync::Arc;

/// Gives everyone on a host a stream of randomness of its own, by the name of who draws.
pub type EntropySource = Arc<dyn Fn(&str) -> Box<dyn Entropy + Send> + Send + Sync>;

/// The operating system's generator, by way of the cryptographic library's own that it seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl SystemEntropy {
    /// One stream for whoever asks, under whatever name: nobody's draws tell anything of another's.
    pub fn source() -> EntropySource {
        Arc::new(|_who| Box::new(Self))
    }
}

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        aws_lc_rs::rand::fill(bytes).expect("the operating system gives randomness; without it no key may be drawn");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::entropy::draw;

    #[test]
    fn draws_differ_whoever_draws() {
        let source = SystemEntropy::source();
        let (mut one, mut two) = (source("alice"), source("alice"));
        let drawn: [[u8; 16]; 3] = [draw(&mut *one), draw(&mut *one), draw(&mut *two)];
        assert!(drawn[0] != drawn[1] && drawn[1] != drawn[2] && drawn[0] != drawn[2]);
        assert_ne!(drawn[0], [0; 16]);
    }
}
