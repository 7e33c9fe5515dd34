//! From a scenario to a world, a run, a record and a report.
//!
//! A [`scenario::Scenario`] says what exists and what happens. It is read from TOML or built in Rust; both give the same
//! values and pass the same checks.

pub mod compare;
pub mod digest;
pub mod netns;
pub mod progress;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod world;
