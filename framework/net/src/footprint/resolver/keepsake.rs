//! What was in the place, on the disk beside it: the journal does not outlive a loss of power, and our file does.

use super::Before;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Changes whenever the host starts.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Serialize, Deserialize)]
struct Keepsake {
    /// The run of the host in which our file was put in its place.
    boot: String,
    before: Before,
}

/// Writes down what is in a place, before something else is put there.
pub(super) fn keep(place: &Path, before: &Before) -> io::Result<()> {
    let keepsake = Keepsake { boot: boot(), before: before.clone() };
    let text = serde_json::to_vec(&keepsake).expect("a keepsake is plain data");
    forget(place);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file_of(place))?;
    file.write_all(&text)?;
    file.sync_all()
}

/// What was in a place that an earlier run of the host left as ours. In this run the journal knows, or another node is there.
pub(super) fn recall(place: &Path) -> Option<Before> {
    let text = fs::read(file_of(place)).ok()?;
    let keepsake: Keepsake = serde_json::from_slice(&text).ok()?;
    (keepsake.boot != boot()).then_some(keepsake.before)
}

/// The place has been given back.
pub(super) fn forget(place: &Path) {
    // One that stays is of no use to anybody: the place is not ours.
    let _ = fs::remove_file(file_of(place));
}

pub(super) fn file_of(place: &Path) -> PathBuf {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.ntmobile-before"))
}

fn boot() -> String {
    fs::read_to_string(BOOT).unwrap_or_default()
}
