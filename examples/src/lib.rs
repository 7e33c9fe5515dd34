//! Applications over NTMobile, a page each, in simulated worlds: read one, run it, change it.
//!
//! `cargo run -p ntmobile-examples --bin echo`, or `--bin ping`. On a host only what `run` sets up is another: the
//! applications themselves stay as they are.

pub mod echo;
pub mod ping;
