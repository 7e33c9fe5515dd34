//! A file that does nothing but occupy space, to be thrown overboard when the disk is full.

use super::space::DiskSpace;
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
    space: DiskSpace,
    aboard: bool,
}

impl Ballast {
    /// Will occupy `size` bytes at `path`, or what sled needs at least to be opened: two of its segments and its own index.
    pub(super) fn new(path: PathBuf, size: u64, space: DiskSpace) -> Self {
        Self { path, size: size.max(SMALLEST), space, aboard: false }
    }

    /// Occupies the space, unless it is occupied already. On an error none is.
    pub(super) fn take_aboard(&mut self) -> io::Result<()> {
        if self.aboard {
            return Ok(());
        }
        if self.occupied() != self.size {
            // An earlier process may have been stopped in the middle of it.
            self.throw_overboard();
            self.space.take(self.size)?;
            self.write().inspect_err(|_| {
                // Most likely it is not there.
                let _missed_by_the_next_write = fs::remove_file(&self.path);
                self.space.give_back(self.size);
            })?;
        }
        self.aboard = true;
        Ok(())
    }

    /// Gives the space back.
    pub(super) fn throw_overboard(&mut self) {
        self.aboard = false;
        let occupied = self.occupied();
        // What cannot be removed will be missed by the write that needs it.
        if fs::remove_file(&self.path).is_ok() {
            self.space.give_back(occupied);
        }
    }

    fn occupied(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |there| there.len())
    }

    fn write(&self) -> io::Result<()> {
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
