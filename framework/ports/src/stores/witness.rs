//! How many batches were acknowledged, remembered outside the database.
//!
//! sled takes damage in its file for the end of it and goes on with what comes before. The database counts its batches, and
//! so does this file: a database that knows of fewer has lost some. The number is not synchronised, which would double the
//! cost of every commit: after a power failure it may be too small, and then says nothing about the last seconds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The number in its file.
pub(super) struct Witness {
    file: File,
}

impl Witness {
    /// Opens or creates the file; tells the number in it, 0 if there is none that can be read.
    pub(super) fn open(path: &Path) -> io::Result<(Self, u64)> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(32).read_to_end(&mut bytes)?;
        let number = bytes.first_chunk().map(|number| u64::from_le_bytes(*number));
        let twice = number.filter(|number| bytes.get(8..) == Some(&(!number).to_le_bytes()[..]));
        Ok((Self { file }, twice.unwrap_or(0)))
    }

    /// Remembers the number.
    pub(super) fn note(&mut self, number: u64) -> io::Result<()> {
        let bytes = [number.to_le_bytes(), (!number).to_le_bytes()].concat();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&bytes)
    }
}
