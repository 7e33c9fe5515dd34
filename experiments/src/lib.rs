//! The `ntm` command: runs scenarios, and shows what happened in them.

pub mod cli;
pub mod command;
pub mod failure;
pub mod progress;
pub mod scenario;
pub mod table;
pub mod terminal;
