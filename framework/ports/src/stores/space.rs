//! The space that a store finds on its disk: whatever is there, unless a simulation has filled it.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The space on a store's disk. Clones are the same disk, also for the store that is opened on it after a restart.
///
/// As long as nobody fills it, it is the operating system that says when there is none left. Once filled, a disk has room
/// for nothing but what the store itself gives back: the store meets that as it meets the system's own refusal, with its
/// database, its ballast and its files being the real ones.
#[derive(Clone, Debug, Default)]
pub struct DiskSpace {
    /// Bytes that are left, where the disk has been filled.
    left: Arc<Mutex<Option<u64>>>,
}

impl DiskSpace {
    /// Somebody else takes everything that is left.
    pub fn fill(&self) {
        *self.left() = Some(0);
    }

    /// They are gone: there is room again.
    pub fn clear(&self) {
        *self.left() = None;
    }

    /// Takes so much.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let mut left = self.left();
        if let Some(bytes_left) = *left {
            *left = Some(bytes_left.checked_sub(bytes).ok_or(ErrorKind::StorageFull)?);
        }
        Ok(())
    }

    /// Gives so much back.
    pub(super) fn give_back(&self, bytes: u64) {
        let mut left = self.left();
        *left = left.map(|bytes_left| bytes_left.saturating_add(bytes));
    }

    fn left(&self) -> MutexGuard<'_, Option<u64>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
