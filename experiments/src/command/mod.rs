//! What `ntm` can do, a file for each.

pub mod account;
pub mod ca;
pub mod comparison;
pub mod describe;
pub mod lab;
pub mod node;
pub mod ping;
pub mod report;
pub mod results;
pub mod run;
pub mod scenarios;
pub mod serve;
pub mod trace;
pub mod up;
pub mod welcome;
