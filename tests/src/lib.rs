//! The suites that cross crates, and the bench that machines are tested on.

pub mod arrows;
pub mod bench;
pub mod network;
pub mod simulated;
