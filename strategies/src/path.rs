//! Which way a tunnel's packets go.

mod always_relay;
mod paper;
#[cfg(test)]
mod paper_tests;

pub use always_relay::AlwaysRelay;
pub use paper::Paper;
