//! A disk that fills up: a small file system of our own, where the system lets us have one.

use super::*;
use crate::stores::{DiskSpace, OpenError};
use std::fs::{self, File};
use std::io::Write as _;

/// Writes until nothing fits any more.
fn hog(path: &Path) {
    let mut file = File::create(path).expect("a file");
    for chunk in [64 * 1024, 512, 1] {
        while file.write_all(&vec![1; chunk]).is_ok() {}
    }
}

/// Not a test of its own: the child of the test below, alone on a disk of a few megabytes.
#[test]
fn child_on_a_small_disk() {
    let Some(disk) = std::env::var_os(CHILD) else { return };
    let (disk, other) = (Path::new(&disk), Path::new(&disk).join("other"));
    fs::write(&other, vec![1; 6 * 1024 * 1024]).expect("it fits");
    let path = disk.join("store");
    let store = open(&path);

    let (refused, failure) = commit_until_refused(&store, 0, 1_000);
    assert_eq!(failure, StoreFailure::Full);
    assert!(refused > 500, "only {refused} batches fitted");
    assert_eq!(whole_batches(&store), refused, "what was refused is not visible, what was acknowledged is");
    assert_eq!(run(store.commit(batch(refused, 1_000))), Err(StoreFailure::Full), "it stays full");

    fs::remove_file(&other).expect("it was there");
    run(store.commit(batch(refused, 1_000))).expect("there is room again");
    let (refused, failure) = commit_until_refused(&store, refused + 1, 1_000);
    assert_eq!(failure, StoreFailure::Full);
    drop(store);

    // To the last byte: even opening needs room, which the ballast of before no longer gives.
    let store = open(&path);
    assert_eq!(whole_batches(&store), refused, "a full store can be opened and read");
    hog(&other);
    assert_eq!(run(store.commit(batch(refused, 1_000))), Err(StoreFailure::Full));
    assert_eq!(whole_batches(&store), refused);
    drop(store);
    fs::remove_file(&other).expect("it was there");
    let store = open(&path);
    assert_eq!(whole_batches(&store), refused, "what was refused is not there after a restart either");
    println!("the small disk has done {refused} batches");
}

/// Another program fills the disk to the last byte while the ballast is aboard.
#[test]
fn child_beside_a_hog() {
    let Some(disk) = std::env::var_os(CHILD) else { return };
    let (disk, other) = (Path::new(&disk), Path::new(&disk).join("other"));
    let path = disk.join("store");
    let store = open(&path);
    run(store.commit(batch(0, 1_000))).expect("there is room");
    hog(&other);
    let (refused, failure) = commit_until_refused(&store, 1, 1_000);
    assert_eq!(failure, StoreFailure::Full);
    assert_eq!(whole_batches(&store), refused);
    drop(store);
    // Nothing at all is free, and no ballast is left to make room with: not even reading is possible.
    hog(&other.with_extension("more"));
    let options = SledOptions { reserve: 2 * 1024 * 1024, ..SledOptions::new(path.clone()) };
    let refusal = run(SledStore::open(options, Arc::new(Threads))).err();
    assert!(matches!(refusal, None | Some(OpenError::Full(_))), "{refusal:?}");
    fs::remove_file(&other).expect("it was there");
    let store = open(&path);
    assert_eq!(whole_batches(&store), refused, "nothing has been lost over it");
    println!("the small disk has done {refused} batches");
}

#[test]
fn a_full_disk_refuses_whole_batches_and_loses_nothing() {
    for scene in ["child_on_a_small_disk", "child_beside_a_hog"] {
        let disk = tempfile::tempdir().expect("a directory");
        let test = child(&format!("stores::tests::full::{scene}"), disk.path());
        // A name space of its own: the file system is gone with the child, and no privilege is needed.
        let mut unshared = Command::new("unshare");
        unshared.args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o size=16m tmpfs \"$0\" && exec \"$@\"",
        ]);
        unshared.arg(disk.path()).arg(test.get_program()).args(test.get_args()).env(CHILD, disk.path());
        let Ok(output) = unshared.output() else {
            eprintln!("skipped: there is no unshare program here to make a small disk with");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if !said.contains("running 1 test") {
            eprintln!("skipped: no small file system can be mounted here: {said}");
            return;
        }
        assert!(output.status.success() && said.contains("the small disk has done"), "{said}");
    }
}

#[test]
fn a_disk_that_a_simulation_fills_behaves_like_one_that_is_full() {
    let directory = tempfile::tempdir().expect("a directory");
    let space = DiskSpace::default();
    let open = || {
        let options =
            SledOptions { reserve: 2 * 1024 * 1024, space: space.clone(), ..SledOptions::new(directory.path()) };
        run(SledStore::open(options, Arc::new(Threads))).expect("the store opens")
    };
    let store = open();
    run(store.commit(batch(0, 1_000))).expect("there is room");
    space.fill();
    run(store.commit(batch(1, 1_000))).expect("the ballast makes room for what comes first");
    for _ in 0..3 {
        assert_eq!(run(store.commit(batch(2, 1_000))), Err(StoreFailure::Full));
    }
    assert_eq!(whole_batches(&store), 2, "what was refused is not visible, what was acknowledged is");

    store.close();
    assert!(matches!(run(store.commit(batch(2, 1_000))), Err(StoreFailure::Failed(_))), "a closed store takes nothing");
    let store = open();
    assert_eq!(whole_batches(&store), 2, "a full store can be opened and read");
    assert_eq!(run(store.commit(batch(2, 1_000))), Err(StoreFailure::Full), "and is as full as before");

    space.clear();
    run(store.commit(batch(2, 1_000))).expect("there is room again");
    space.fill();
    run(store.commit(batch(3, 1_000))).expect("and ballast again");
    assert_eq!(whole_batches(&store), 4);
}
