//! The book's code: every page with a Rust block is read here, so that `cargo test` compiles and runs it.

#[doc = include_str!("../../book/src/quick-start.md")]
pub mod quick_start {}

#[doc = include_str!("../../book/src/applications.md")]
pub mod applications {}

#[doc = include_str!("../../book/src/simulator.md")]
pub mod simulator {}

#[doc = include_str!("../../book/src/lab.md")]
pub mod lab {}

#[doc = include_str!("../../book/src/traces.md")]
pub mod traces {}

#[doc = include_str!("../../book/src/report.md")]
pub mod report {}
