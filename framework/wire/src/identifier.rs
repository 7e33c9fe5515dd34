//! The numbers that messages refer to each other by.

use crate::entropy::{Entropy, draw};
use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:x}", self.0)
            }
        }
    };
}

number!(
    /// Names a key without saying anything about it: 64 random bits.
    KeyId(u64)
);
number!(
    /// Eight random bytes that a process draws when it starts; nonces count within it, so a restart repeats none.
    Session(u64)
);
number!(
    /// Ties an answer to its request; unique per sender session.
    Transaction(u64)
);
number!(
    /// One negotiation of a tunnel, drawn by the directing DC and carried by every message that belongs to it.
    Negotiation(u64)
);
number!(
    /// An application on a device; 0 is the device's default application.
    ApplicationId(u32)
);
number!(
    /// The Security Parameters Index of RFC 4303: a 28-bit identifier of one direction of one tunnel and a 4-bit key
    /// generation.
    Spi(u32)
);

impl KeyId {
    /// Draws a fresh identifier.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(u64::from_be_bytes(draw(entropy)))
    }
}

impl Session {
    /// Draws the session of a process that starts.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(u64::from_be_bytes(draw(entropy)))
    }
}

impl Negotiation {
    /// Draws a fresh negotiation.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        Self(u64::from_be_bytes(draw(entropy)))
    }
}

impl Spi {
    /// Generations a direction counts through before it starts again at 0.
    pub const GENERATIONS: u32 = 16;

    /// Draws an identifier of at least 16 (RFC 4303 reserves the SPIs below 256) at generation 0.
    pub fn draw(entropy: &mut dyn Entropy) -> Self {
        loop {
            let identifier = u32::from_be_bytes(draw(entropy)) >> 4;
            if identifier >= 16 {
                return Self(identifier << 4);
            }
        }
    }

    /// The 28-bit identifier of the tunnel's direction, the same in every generation.
    pub fn identifier(self) -> u32 {
        self.0 >> 4
    }

    /// The key generation, 0 to 15.
    pub fn generation(self) -> u32 {
        self.0 & 0xf
    }

    /// The same direction under another generation (modulo 16).
    pub fn at_generation(self, generation: u32) -> Self {
        Self((self.0 & !0xf) | (generation % Self::GENERATIONS))
    }
}
