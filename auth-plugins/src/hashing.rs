//! Passwords as they are kept: argon2id over a salt of each account's own, at a cost that is configuration.

use argon2::{Algorithm, Argon2, Params, Version};
use ntmobile_ports::compute::{self, Compute};
use ntmobile_wire::entropy::{Entropy, draw};
use ntmobile_wire::key::SecretText;
use std::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;

/// What guessing one password costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// argon2 has bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "argon2id takes at least 8 KiB of memory for each lane, one pass and one lane; not {memory_kib} KiB, {passes} passes and {lanes} lanes"
)]
pub struct CostError {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// More memory than this for one login is a mistake in a configuration file, or damage in a stored record.
const MOST_MEMORY_KIB: u32 = 4 * 1024 * 1024;

impl Cost {
    /// What OWASP recommends: 19 MiB, two passes, one lane. Tens of milliseconds of a processor for each login.
    pub const RECOMMENDED: Self = Self { memory_kib: 19 * 1024, passes: 2, lanes: 1 };

    /// The least that argon2id takes, for simulations of thousands of nodes. Protects nothing.
    pub const SIMULATION: Self = Self { memory_kib: 8, passes: 1, lanes: 1 };

    /// Another cost.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, CostError> {
        let sound = memory_kib <= MOST_MEMORY_KIB && Params::new(memory_kib, passes, lanes, None).is_ok();
        if sound { Ok(Self { memory_kib, passes, lanes }) } else { Err(CostError { memory_kib, passes, lanes }) }
    }

    /// Memory, passes and lanes.
    pub fn parts(self) -> (u32, u32, u32) {
        (self.memory_kib, self.passes, self.lanes)
    }
}

impl Default for Cost {
    fn default() -> Self {
        Self::RECOMMENDED
    }
}

/// A password that can be recognised and not be told.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPassword {
    pub(crate) cost: Cost,
    pub(crate) salt: [u8; 16],
    pub(crate) hash: [u8; 32],
}

impl fmt::Debug for HashedPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashedPassword({:?}, …)", self.cost)
    }
}

impl HashedPassword {
    /// Draws a salt, then hashes a password on the compute port.
    pub fn make<'a>(
        password: SecretText,
        cost: Cost,
        entropy: &mut dyn Entropy,
        compute: &'a dyn Compute,
    ) -> impl Future<Output = Self> + use<'a> {
        let salt = draw(entropy);
        compute::run(compute, move || Self::new(&password, cost, salt))
    }

    /// Hashes a password here and now, which takes as long as the cost says. The salt is another one for each password.
    pub fn new(password: &SecretText, cost: Cost, salt: [u8; 16]) -> Self {
        Self { cost, salt, hash: hash(password, cost, &salt) }
    }

    /// Whether this is the password; takes as long as [`HashedPassword::new`], and equally long for every password.
    pub fn is(&self, password: &SecretText) -> bool {
        hash(password, self.cost, &self.salt).ct_eq(&self.hash).into()
    }
}

fn hash(password: &SecretText, cost: Cost, salt: &[u8; 16]) -> [u8; 32] {
    let mut hash = [0; 32];
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(hash.len()));
    let params = params.expect("a cost is checked when it is made");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.expose().as_bytes(), salt, &mut hash)
        .expect("salt and output are of lengths that argon2 takes, and no message carries a password of 4 GiB");
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use ntmobile_ports::compute::Inline;

    struct Counter(u8);

    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    #[test]
    fn every_password_made_has_a_salt_of_its_own() {
        let mut entropy = Counter(0);
        let mut make = || {
            let made = HashedPassword::make(SecretText::new("same"), Cost::SIMULATION, &mut entropy, &Inline);
            made.now_or_never().expect("computed inline")
        };
        let (first, second) = (make(), make());
        assert_ne!((first.salt, first.hash), (second.salt, second.hash));
        assert!(first.is(&SecretText::new("same")) && second.is(&SecretText::new("same")));
    }

    #[test]
    fn a_password_is_recognised_and_no_other() {
        let stored = HashedPassword::new(&SecretText::new("correct horse"), Cost::SIMULATION, [1; 16]);
        assert!(stored.is(&SecretText::new("correct horse")));
        assert!(!stored.is(&SecretText::new("correct horse ")));
        assert!(!stored.is(&SecretText::new("")));
    }

    #[test]
    fn the_same_password_looks_different_under_another_salt_or_cost() {
        let password = SecretText::new("correct horse");
        let first = HashedPassword::new(&password, Cost::SIMULATION, [1; 16]);
        assert_ne!(first.hash, HashedPassword::new(&password, Cost::SIMULATION, [2; 16]).hash);
        let dearer = Cost::new(16, 1, 1).expect("a cost");
        assert_ne!(first.hash, HashedPassword::new(&password, dearer, [1; 16]).hash);
    }

    #[test]
    fn costs_outside_argon2s_bounds_are_refused() {
        for (memory, passes, lanes) in [(7, 1, 1), (8, 0, 1), (8, 1, 0), (15, 1, 2), (u32::MAX, 1, 1)] {
            assert!(Cost::new(memory, passes, lanes).is_err(), "{memory} {passes} {lanes}");
        }
        let (memory, passes, lanes) = Cost::RECOMMENDED.parts();
        assert_eq!(Cost::new(memory, passes, lanes), Ok(Cost::RECOMMENDED));
    }

    #[test]
    fn nothing_of_a_stored_password_is_printed() {
        let stored = HashedPassword::new(&SecretText::new("correct horse"), Cost::SIMULATION, [77; 16]);
        assert!(!format!("{stored:?}").contains("77"));
    }
}
