//! The `ntm` command.
fn main() {}
