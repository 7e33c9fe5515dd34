//! Files that are written whole or not at all, and secrets that only their owner may read.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file was not written or read.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is there already, and was not to be replaced.
    #[error("{0} is there already; nothing was written (--force replaces it)")]
    Exists(PathBuf),
    /// It holds a secret that others could read.
    #[error("{path} holds a secret and others may read it (mode {mode:o}); chmod 600 {path}")]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds something else than was written.
    #[error("{0} is damaged; restore it from a copy")]
    Damaged(PathBuf),
    /// The operating system refused.
    #[error("{path} cannot be {what}: {source}")]
    Refused {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
}

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody.
    Everybody,
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Present {
    /// It stays, and writing fails.
    Keep,
    /// It is replaced.
    Replace,
}

/// Writes a file; when this returns it is on the disk, whole.
pub fn write(path: &Path, contents: &[u8], readers: Readers, present: Present) -> Result<(), FileError> {
    let refused = |what| move |source| FileError::Refused { path: path.to_owned(), what, source };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()));
    let placed = written.map_err(refused("written")).and_then(|()| match present {
        Present::Replace => std::fs::rename(&draft, path).map_err(refused("replaced")),
        // A link, unlike a rename, fails where something is already.
        Present::Keep => std::fs::hard_link(&draft, path).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists(path.to_owned()),
            _ => refused("written")(source),
        }),
    });
    // It has been renamed, or is of no use any more.
    let _ = std::fs::remove_file(&draft);
    placed?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(refused("made durable"))
}

/// Reads a text.
pub fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError::Refused { path: path.to_owned(), what: "read", source })
}

/// Reads a secret; refuses one that others may read too.
pub fn read_secret(path: &Path) -> Result<String, FileError> {
    let refused = |source| FileError::Refused { path: path.to_owned(), what: "read", source };
    let mode = std::fs::metadata(path).map_err(refused)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    read(path)
}

/// Makes a directory that only its owner may look into, and those above it; leaves one that is there as it is.
pub fn private_directory(path: &Path) -> Result<(), FileError> {
    let refused = |source| FileError::Refused { path: path.to_owned(), what: "made", source };
    if path.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(refused)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn a_secret_is_its_owners_alone_and_stays_unless_it_is_to_be_replaced() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("secret");
        write(&path, b"one", Readers::Owner, Present::Keep).expect("written");
        let again = write(&path, b"two", Readers::Owner, Present::Keep);
        assert!(matches!(again, Err(FileError::Exists(_))), "{again:?}");
        assert_eq!((read_secret(&path).expect("read").as_str(), mode(&path)), ("one", 0o600));
        write(&path, b"two", Readers::Owner, Present::Replace).expect("replaced");
        assert_eq!((read_secret(&path).expect("read").as_str(), mode(&path)), ("two", 0o600));
        assert_eq!(std::fs::read_dir(home.path()).expect("a directory").count(), 1, "no draft is left");
    }

    #[test]
    fn a_secret_that_others_may_read_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("open");
        write(&path, b"known to all", Readers::Everybody, Present::Keep).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        let error = read_secret(&path).expect_err("it is exposed");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        assert_eq!(read(&path).expect("it is no secret to us"), "known to all");
    }

    #[test]
    fn a_private_directory_is_made_and_one_that_is_there_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let path = home.path().join("a/b");
        private_directory(&path).expect("made");
        assert_eq!(mode(&path), 0o700);
        std::fs::set_permissions(&path, Permissions::from_mode(0o750)).expect("set");
        private_directory(&path).expect("it is there");
        assert_eq!(mode(&path), 0o750);
    }
}
