//! What is left of a node that was killed together with its guardian, for whoever does not start another one.

use super::control::beside;
use ntmobile_net::footprint::{FootprintError, FootprintOptions, Remnant, undo_stale};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Undoes what a killed node has changed on an interface of this network namespace, and forgets whom it knew, as if it had ended
/// politely; what there was, or `None` if nothing is written down or a living process answers for it.
pub fn clear(directory: &Path, interface: &str) -> Result<Option<BTreeSet<Remnant>>, FootprintError> {
    let options = FootprintOptions { directory: directory.to_owned(), ..FootprintOptions::default() };
    let forget = || {
        for ending in ["sock", "peers"] {
            // It may not have come so far as to have one.
            let _ = fs::remove_file(beside(directory, interface, ending));
        }
    };
    match undo_stale(interface, &options, forget) {
        // A node that is starting, or a guardian at work.
        Err(FootprintError::Running { .. }) => Ok(None),
        outcome => outcome,
    }
}
