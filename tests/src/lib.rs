//! The suites that cross crates, and the bench that machines are tested on.

pub mod arrows;
pub mod bench;
#[cfg(doctest)]
pub mod book;
pub mod captured;
pub mod load;
pub mod malice;
pub mod network;
pub mod nonces;
pub mod simulated;
