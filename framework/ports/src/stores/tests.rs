//! One suite for all stores, and what only a disk can do: fill up, be damaged, be locked, lose its process.

mod conformance;
mod crash;
mod damage;
mod full;

use super::{SledOptions, SledStore};
use crate::compute::{Compute, Job};
use crate::store::Store;
use bytes::Bytes;
use futures::future::BoxFuture;
use ntmobile_proto::machine::{StoreFailure, Write};
use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn write(table: &'static str, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Write {
    let value = Bytes::copy_from_slice(value.as_ref());
    Write { table, key: Bytes::copy_from_slice(key.as_ref()), value: Some(value) }
}

fn delete(table: &'static str, key: impl AsRef<[u8]>) -> Write {
    Write { table, key: Bytes::copy_from_slice(key.as_ref()), value: None }
}

/// Every job has a thread of its own.
struct Threads;

impl Compute for Threads {
    fn run(&self, job: Job) -> BoxFuture<'static, ()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            job();
            sender.send(()).expect("the job is waited for");
        });
        Box::pin(async move { receiver.await.expect("the job has run") })
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

fn open(path: &Path) -> SledStore {
    let options = SledOptions { reserve: 2 * 1024 * 1024, ..SledOptions::new(path.to_owned()) };
    run(SledStore::open(options, Arc::new(Threads))).expect("the store opens")
}

/// The batch of number `n`: the same in two tables, so that a torn batch shows.
fn batch(n: u64, size: usize) -> Vec<Write> {
    let value = vec![n as u8; size];
    vec![write("left", n.to_be_bytes(), &value), write("right", n.to_be_bytes(), &value)]
}

/// How many numbered batches there are, all of them whole and none missing in between.
fn whole_batches(store: &dyn Store) -> u64 {
    let records = run(store.load()).expect("the store can be read");
    let (left, right): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.table == "left");
    assert_eq!(left.len(), right.len(), "a batch is torn");
    for (n, (left, right)) in left.iter().zip(&right).enumerate() {
        assert_eq!((&left.key[..], &right.key[..]), (&(n as u64).to_be_bytes()[..], &(n as u64).to_be_bytes()[..]));
        assert_eq!(left.value, right.value);
        assert!(left.value.iter().all(|byte| *byte == n as u8));
    }
    left.len() as u64
}

/// Commits numbered batches from `from` on until one is refused; returns its number and why.
fn commit_until_refused(store: &dyn Store, from: u64, size: usize) -> (u64, StoreFailure) {
    let refused = |n| run(store.commit(batch(n, size))).err().map(|failure| (n, failure));
    (from..from + 100_000).find_map(refused).expect("the disk is small")
}

const CHILD: &str = "NTM_STORE_TEST";

/// This test program once more, to run the one test `name` in the role of a child.
fn child(name: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own program"));
    command.args(["--exact", "--nocapture", name]).env(CHILD, path).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}
