//! Applications over NTMobile, a page each, in simulated worlds: read one, run it, change it.
//!
//! `cargo run -p ntmobile-examples --bin echo`, or `--bin ping`. On a real host only what `run` sets up is another, as in
//! `--bin host_echo`: the applications themselves stay as they are.

pub mod echo;
pub mod ping;
