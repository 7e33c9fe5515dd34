//! The process is gone from one moment to the next, or another one is there already.

use super::*;
use crate::stores::OpenError;
use std::io::{BufRead, BufReader};

#[test]
fn a_store_that_was_closed_opens_with_everything() {
    let directory = tempfile::tempdir().expect("a directory");
    for start in [0, 10, 20] {
        let store = open(directory.path());
        assert_eq!(whole_batches(&store), start);
        for n in start..start + 10 {
            run(store.commit(batch(n, 100))).expect("the store takes it");
        }
    }
    assert_eq!(whole_batches(&open(directory.path())), 30);
}

/// Not a test of its own: the child of the tests below commits until it is killed.
#[test]
fn committing_child() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let store = open(Path::new(&path));
    for n in whole_batches(&store).. {
        run(store.commit(batch(n, 700))).expect("the store takes it");
        println!("acknowledged {n}");
    }
}

#[test]
fn what_was_acknowledged_survives_the_death_of_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    for kill_after in [1, 40, 150] {
        let mut child = child("stores::tests::crash::committing_child", directory.path()).spawn().expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let number = |line: String| line.split("acknowledged ").nth(1).and_then(|n| n.parse::<u64>().ok());
        let mut acknowledged = lines.by_ref().filter_map(number).take(kill_after).last();
        child.kill().expect("it was alive");
        acknowledged = lines.filter_map(number).last().or(acknowledged);
        child.wait().expect("it is dead");
        let stored = whole_batches(&open(directory.path()));
        let acknowledged = acknowledged.expect("something was acknowledged") + 1;
        assert!(stored >= acknowledged, "{stored} of {acknowledged} batches are left");
        assert!(stored <= acknowledged + 1, "at most the one under way can be there unacknowledged");
    }
}

#[test]
fn a_store_that_another_process_has_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut child = child("stores::tests::crash::committing_child", directory.path()).spawn().expect("a child");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("acknowledged")), "the child has opened the store");
    let refused = run(SledStore::open(SledOptions::new(directory.path()), Arc::new(Threads))).err();
    child.kill().expect("it was alive");
    child.wait().expect("it is dead");
    assert_eq!(refused, Some(OpenError::Locked(directory.path().to_owned())));
    open(directory.path());
}
