//! Files that are not what we wrote.

use super::*;
use crate::stores::OpenError;
use std::fs;

fn written() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(directory.path());
    for n in 0..300 {
        run(store.commit(batch(n, 300))).expect("the store takes it");
    }
    directory
}

fn try_open(path: &Path) -> Result<SledStore, OpenError> {
    let options = SledOptions { reserve: 2 * 1024 * 1024, ..SledOptions::new(path.to_owned()) };
    run(SledStore::open(options, Arc::new(Threads)))
}

#[test]
fn a_database_that_is_none_is_refused_as_damaged() {
    let directory = written();
    let database = directory.path().join("sled/db");
    let sound = fs::read(&database).expect("it is there");
    for unsound in [&b"not a database"[..], &sound[..1_000], &vec![0x5A; sound.len()]] {
        fs::write(&database, unsound).expect("it can be written");
        let refused = try_open(directory.path()).err();
        assert!(matches!(&refused, Some(OpenError::Corrupt(path, _)) if path == directory.path()), "{refused:?}");
    }
}

#[test]
fn half_a_snapshot_does_no_harm() {
    let directory = written();
    fs::write(directory.path().join("sled/snap.7FFFFFFFFFFFFFFF.generating"), "half").expect("it can be written");
    assert_eq!(whole_batches(&open(directory.path())), 300);
}

#[test]
fn a_path_that_is_no_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(matches!(try_open(file.path()).err(), Some(OpenError::Unusable(..))));
}

#[test]
fn a_flipped_byte_is_refused_or_does_no_harm() {
    let directory = written();
    let database = directory.path().join("sled/db");
    let sound = fs::read(&database).expect("it is there");
    let mut refused = 0;
    for step in 0..60 {
        let copy = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(copy.path().join("sled")).expect("a directory");
        fs::copy(directory.path().join("acknowledged"), copy.path().join("acknowledged")).expect("a copy");
        for entry in
            fs::read_dir(directory.path().join("sled")).expect("a directory").map(|entry| entry.expect("a file"))
        {
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), copy.path().join("sled").join(entry.file_name())).expect("a copy");
            }
        }
        let mut unsound = sound.clone();
        unsound[(step * 7_919 * 13) % sound.len()] ^= 0xFF;
        fs::write(copy.path().join("sled/db"), unsound).expect("it can be written");
        match try_open(copy.path()) {
            Ok(store) => {
                assert_eq!(whole_batches(&store), 300, "step {step}: something was lost without a word");
            }
            Err(OpenError::Corrupt(..)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "no damage was noticed");
}
