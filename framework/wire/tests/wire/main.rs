//! What other implementations rely on, tested from outside.

mod keys;
mod messages;
mod samples;
