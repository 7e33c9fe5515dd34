//! A file that does nothing but occupy space, to be thrown overboard when the disk is full.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

/// Less would not help.
const SMALLEST: u64 = 2 * 1024 * 1024;

/// Space that is held back for the moment when the disk turns out to be full in the middle of a write.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    size: u64,
    aboard: bool,
}

impl Ballast {
    /// Will occupy `size` bytes at `path`, or what sled needs at least to be opened: two of its segments and its own index.
    pub(super) fn new(path: PathBuf, size: u64) -> Self {
        Self { path, size: size.max(SMALLEST), aboard: false }
    }

    /// Occupies the space, unless it is occupied already. On an error none is.
    pub(super) fn take_aboard(&mut self) -> io::Result<()> {
        if !self.aboard {
            self.write().inspect_err(|_| self.throw_overboard())?;
            self.aboard = true;
        }
        Ok(())
    }

    /// Gives the space back.
    pub(super) fn throw_overboard(&mut self) {
        self.aboard = false;
        // Most likely it is not there; and what cannot be removed will be missed by the write that needs it.
        let _missed_by_the_next_write = fs::remove_file(&self.path);
    }

    fn write(&self) -> io::Result<()> {
        if fs::metadata(&self.path).is_ok_and(|there| there.len() == self.size) {
            return Ok(());
        }
        let mut file = File::create(&self.path)?;
        // Really written: a file that is only made longer occupies nothing.
        let chunk = vec![0xA5; 64 * 1024];
        let mut left = self.size;
        while left > 0 {
            let part = left.min(chunk.len() as u64);
            file.write_all(&chunk[..part as usize])?;
            left -= part;
        }
        file.sync_all()
    }
}
