//! The workspace's own programs.

use std::path::PathBuf;

/// A program of the workspace, built beside the one that runs, or beside what has been built for tests.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("we run");
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|program| program.exists());
    found.unwrap_or_else(|| panic!("there is no {name} beside {}: cargo build --workspace --bins", own.display()))
}
