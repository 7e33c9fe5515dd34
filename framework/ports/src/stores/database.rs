//! What is on the disk: sled made to keep its promises. Everything here blocks.
//!
//! What was found by trying (sled 0.34.7, Linux; `book/src/storage.md` has the whole of it), and what is done about it:
//!
//! * After a write has failed for want of space, the batch is visible though it is not stored, every later operation fails
//!   even when there is space again, and a full disk keeps the database from being opened at all. So space is held back
//!   ([`Ballast`]): when a write fails, it is given back, the database opened anew, and the batch written again, which
//!   then succeeds. Until the ballast is aboard again no batch gets as far as sled: [`StoreFailure::Full`].
//! * `flush` on Linux ends with `sync_file_range`, which survives a crash of the process but not of the machine. So the file
//!   is synchronised once more by us.
//! * Killed while it opens, or opening on a full disk, sled leaves half a snapshot that it takes for a whole one the next
//!   time. So such files are removed first.
//! * A damaged file is taken for a shorter one, silently. So the batches are counted ([`Witness`]).
//! * Counting the entries of a damaged database never ends. So the entries are read one by one up to the first error.

use super::ballast::Ballast;
use super::sled::{OpenError, SledOptions};
use super::witness::Witness;
use ntmobile_proto::machine::{Record, StoreFailure, Write};
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

/// A batch larger than this part of the ballast is refused, so that the ballast is certain to make room for it.
const LARGEST_BATCH: u64 = 4;
/// Larger values are refused: sled puts those in files of their own, which are not synchronised with the rest.
const LARGEST_VALUE: usize = 64 * 1024;
/// Where the database counts its batches: the place of no record, since no table's name is empty.
const COUNT: &[u8] = &[0];
/// Records begin here: no table's name begins with a zero.
const FIRST_RECORD: &[u8] = &[1];
/// sled's cache, in bytes. An entity keeps what it needs in its own memory and reads everything once.
const CACHE: u64 = 16 * 1024 * 1024;
/// How often, and how far apart, it is tried to open a database that has just been closed: sled's threads let go of it late.
const REOPENING: (u32, Duration) = (200, Duration::from_millis(5));

/// An open database. Dropping it closes it.
pub(super) struct Database {
    options: SledOptions,
    ballast: Ballast,
    witness: Witness,
    /// Batches written in the database's whole life.
    batches: u64,
    open: Option<(sled::Db, File)>,
    failure: Option<String>,
    /// Held for as long as the database is ours.
    _lock: File,
}

impl Database {
    /// Opens or creates the database, and reads all of it once.
    pub(super) fn open(options: SledOptions) -> Result<(Self, Vec<Record>), OpenError> {
        let path = options.path.clone();
        let io = |error: io::Error| open_error(&path, &error);
        fs::create_dir_all(&options.path).map_err(io)?;
        let lock = File::create(options.path.join("lock")).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked(options.path.clone()),
            TryLockError::Error(error) => io(error),
        })?;
        let ballast = Ballast::new(options.path.join("ballast"), options.reserve, options.space.clone());
        let (witness, acknowledged) = Witness::open(&options.path.join("acknowledged")).map_err(io)?;
        let mut database = Self { options, ballast, witness, batches: 0, open: None, failure: None, _lock: lock };
        if let Err(error) = database.start() {
            if !is_full(&error) {
                return Err(database.refused(error));
            }
            database.ballast.throw_overboard();
            database.start().map_err(|error| database.refused(error))?;
        }
        let records = database.read().map_err(|error| database.refused(error))?;
        database.batches = database.stored_batches().map_err(|error| database.refused(error))?;
        if database.batches < acknowledged {
            let missing = acknowledged - database.batches;
            return Err(OpenError::Corrupt(path, format!("the last {missing} of {acknowledged} writes are missing")));
        }
        // On a full disk one may read, and write once there is space again.
        if let Err(error) = database.ballast.take_aboard()
            && !is_no_space(&error)
        {
            return Err(open_error(&database.options.path, &error));
        }
        Ok((database, records))
    }

    /// Everything that is stored, by table and key.
    pub(super) fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        match &self.failure {
            Some(failure) => Err(StoreFailure::Failed(failure.clone())),
            None => self.read().map_err(|error| StoreFailure::Failed(error.to_string())),
        }
    }

    /// Writes batches, each of them altogether or not at all; they are on the disk when this returns.
    pub(super) fn write(&mut self, batches: &[Vec<Write>]) -> Vec<Result<(), StoreFailure>> {
        if self.failure.is_none()
            && let Err(error) = self.ballast.take_aboard()
        {
            let full = is_no_space(&error);
            let refusal = if full { StoreFailure::Full } else { StoreFailure::Failed(error.to_string()) };
            return batches.iter().map(|_| Err(refusal.clone())).collect();
        }
        let mut sound: Vec<Result<sled::Batch, StoreFailure>> =
            batches.iter().map(|writes| self.batch(writes)).collect();
        let mut number = self.batches;
        for batch in sound.iter_mut().flatten() {
            number += 1;
            batch.insert(COUNT, &number.to_be_bytes());
        }
        let ready: Vec<&sled::Batch> = sound.iter().filter_map(|batch| batch.as_ref().ok()).collect();
        let size = batches.iter().zip(&sound).filter(|(_, sound)| sound.is_ok()).map(|(writes, _)| size(writes)).sum();
        let written = match self.failure.clone() {
            Some(failure) => Err(failure),
            None => self.write_or_make_room(&ready, size),
        };
        if let Err(failure) = &written {
            self.failure = Some(failure.clone());
            self.open = None;
        } else {
            self.batches = number;
            // It holds either way; a witness that knows less is a weaker one.
            let _weaker = self.witness.note(number);
        }
        let each = |batch: Result<sled::Batch, StoreFailure>| {
            batch.and_then(|_| written.clone().map_err(StoreFailure::Failed))
        };
        sound.into_iter().map(each).collect()
    }

    fn write_or_make_room(&mut self, batches: &[&sled::Batch], size: u64) -> Result<(), String> {
        match self.try_write(batches, size) {
            Err(error) if is_full(&error) => {
                self.open = None;
                self.ballast.throw_overboard();
                // Whatever part of the batches is on the disk already, writing them again in their order ends the same.
                self.start().and_then(|()| self.try_write(batches, size)).map_err(|error| {
                    format!(
                        "the disk is full to the last reserve, and whether the last writes hold is not known: {error}"
                    )
                })
            }
            result => result.map_err(|error| error.to_string()),
        }
    }

    fn try_write(&self, batches: &[&sled::Batch], size: u64) -> sled::Result<()> {
        let (database, file) = self.open.as_ref().ok_or_else(closed)?;
        self.options.space.take(size)?;
        for batch in batches {
            database.apply_batch((*batch).clone())?;
        }
        database.flush()?;
        file.sync_all()?;
        Ok(())
    }

    /// What sled is to write.
    fn batch(&self, writes: &[Write]) -> Result<sled::Batch, StoreFailure> {
        let mut batch = sled::Batch::default();
        for write in writes {
            if write.table.is_empty() || write.table.contains('\0') {
                return Err(StoreFailure::Failed(format!("{:?} cannot be a table's name", write.table)));
            }
            let value = write.value.as_deref().unwrap_or_default();
            if value.len() > LARGEST_VALUE || write.key.len() > LARGEST_VALUE {
                return Err(StoreFailure::Failed(format!("a record of table {:?} is too large", write.table)));
            }
            let place = place(write.table, &write.key);
            match &write.value {
                Some(value) => batch.insert(place, &value[..]),
                None => batch.remove(place),
            }
        }
        let size = size(writes);
        if size > self.options.reserve / LARGEST_BATCH {
            return Err(StoreFailure::Failed(format!("a batch of {size} bytes is too large")));
        }
        Ok(batch)
    }

    fn read(&self) -> sled::Result<Vec<Record>> {
        let (database, _) = self.open.as_ref().ok_or_else(closed)?;
        let record = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (place, value) = entry?;
            let (table, key) = split(&place).ok_or(sled::Error::Corruption { at: None, bt: () })?;
            Ok(Record { table, key: key.to_vec().into(), value: value.to_vec().into() })
        };
        database.range(FIRST_RECORD..).map(record).collect()
    }

    fn stored_batches(&self) -> sled::Result<u64> {
        let (database, _) = self.open.as_ref().ok_or_else(closed)?;
        let count = database.get(COUNT)?;
        Ok(count.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Opens sled, which may just have been closed.
    fn start(&mut self) -> sled::Result<()> {
        let path = self.options.path.join("sled");
        remove_half_snapshots(&path)?;
        let config = sled::Config::new().path(&path).cache_capacity(CACHE).flush_every_ms(None);
        let mut tries = REOPENING.0;
        let database = loop {
            match config.open() {
                // The directory is ours alone: only our own former self can still hold the file.
                Err(error) if tries > 0 && error.to_string().contains("could not acquire lock") => {
                    tries -= 1;
                    std::thread::sleep(REOPENING.1);
                }
                result => break result?,
            }
        };
        let file = File::options().read(true).write(true).open(path.join("db"))?;
        self.open = Some((database, file));
        Ok(())
    }

    fn refused(&self, error: sled::Error) -> OpenError {
        match error {
            sled::Error::Io(error) => open_error(&self.options.path, &error),
            other => OpenError::Corrupt(self.options.path.clone(), other.to_string()),
        }
    }
}

fn remove_half_snapshots(path: &Path) -> io::Result<()> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn open_error(path: &Path, error: &io::Error) -> OpenError {
    if is_no_space(error) {
        OpenError::Full(path.to_owned())
    } else {
        OpenError::Unusable(path.to_owned(), error.to_string())
    }
}

fn closed() -> sled::Error {
    sled::Error::Unsupported("the database is closed".to_owned())
}

fn is_full(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if is_no_space(error))
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// How many bytes a batch carries.
fn size(writes: &[Write]) -> u64 {
    let of_one =
        |write: &Write| write.table.len() + write.key.len() + write.value.as_ref().map_or(0, |value| value.len());
    writes.iter().map(|write| of_one(write) as u64).sum()
}

/// Table and key as one key: ordered by table, then by key, since no table's name holds a zero.
fn place(table: &str, key: &[u8]) -> Vec<u8> {
    [table.as_bytes(), &[0], key].concat()
}

fn split(place: &[u8]) -> Option<(String, &[u8])> {
    let end = place.iter().position(|byte| *byte == 0)?;
    let table = std::str::from_utf8(&place[..end]).ok()?;
    Some((table.to_owned(), &place[end + 1..]))
}
