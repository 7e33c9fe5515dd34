//! What servers and nodes keep across a restart: records in memory, and sled databases in a directory that goes with the world.

use ntmobile_ports::compute::Inline;
use ntmobile_ports::store::Store;
use ntmobile_ports::stores::{DiskSpace, MemoryStore, OpenError, SledOptions, SledStore};
use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use thiserror::Error;

/// Why a store is not to be had.
#[derive(Debug, Error)]
pub enum DiskError {
    /// There is no directory for the world's databases.
    #[error("no temporary directory for the servers' databases: {0}")]
    NoDirectory(#[source] io::Error),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It has no disk.
    #[error("{0} keeps its records in memory and has no disk; choose its storage \"sled\"")]
    NoDisk(String),
}

/// Every store of a world, by the host that keeps it.
#[derive(Default)]
pub(super) struct Disks {
    memory: RefCell<BTreeMap<String, Arc<MemoryStore>>>,
    disks: RefCell<BTreeMap<String, Disk>>,
    /// Removed when the world is gone; not made before somebody needs it.
    directory: OnceCell<TempDir>,
}

/// One server's disk.
#[derive(Default)]
struct Disk {
    space: DiskSpace,
    /// The database that the running server has open.
    open: Option<SledStore>,
}

impl Disks {
    /// Records in memory, the same ones again after a restart.
    pub(super) fn memory_store(&self, host: &str) -> Arc<dyn Store> {
        Arc::clone(self.memory.borrow_mut().entry(host.to_owned()).or_default()) as Arc<dyn Store>
    }

    /// The database in the host's own directory, opened anew.
    pub(super) async fn sled_store(&self, host: &str) -> Result<Arc<dyn Store>, DiskError> {
        let path = self.directory()?.join(host);
        self.power_off(host);
        let space = self.disks.borrow_mut().entry(host.to_owned()).or_default().space.clone();
        let store = SledStore::open(SledOptions { space, ..SledOptions::new(path) }, Arc::new(Inline)).await?;
        if let Some(disk) = self.disks.borrow_mut().get_mut(host) {
            disk.open = Some(store.clone());
        }
        Ok(Arc::new(store))
    }

    /// The host's power goes out: what it has not written by now stays unwritten.
    pub(super) fn power_off(&self, host: &str) {
        if let Some(store) = self.disks.borrow_mut().get_mut(host).and_then(|disk| disk.open.take()) {
            store.close();
        }
    }

    /// Something else on the host fills its disk to the last byte, or is removed again.
    pub(super) fn set_full(&self, host: &str, is_full: bool) -> Result<(), DiskError> {
        let disks = self.disks.borrow();
        let disk = disks.get(host).ok_or_else(|| DiskError::NoDisk(host.to_owned()))?;
        if is_full {
            disk.space.fill();
        } else {
            disk.space.clear();
        }
        Ok(())
    }

    fn directory(&self) -> Result<&Path, DiskError> {
        if self.directory.get().is_none() {
            let made = tempfile::Builder::new().prefix("ntmobile-").tempdir().map_err(DiskError::NoDirectory)?;
            // There is one thread, and none was there.
            let _made = self.directory.set(made);
        }
        Ok(self.directory.get().expect("it was just made").path())
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        // Servers may still hold their stores: the databases have to be closed before their directory goes.
        for disk in self.disks.get_mut().values_mut() {
            if let Some(store) = disk.open.take() {
                store.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ntmobile_proto::machine::{StoreFailure, Write};

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    fn commit(store: &Arc<dyn Store>, key: &'static str) -> Result<(), StoreFailure> {
        wait(store.commit(vec![Write { table: "t", key: key.into(), value: Some(Bytes::new()) }]))
    }

    fn keys(store: &Arc<dyn Store>) -> Vec<Bytes> {
        wait(store.load()).expect("it can be read").into_iter().map(|record| record.key).collect()
    }

    #[test]
    fn a_database_is_closed_with_the_power_and_opened_from_its_directory() {
        let disks = Disks::default();
        let before = wait(disks.sled_store("dc")).expect("it opens");
        commit(&before, "a").expect("there is room");
        disks.power_off("dc");
        assert!(matches!(commit(&before, "b"), Err(StoreFailure::Failed(_))), "the old process writes no more");
        let after = wait(disks.sled_store("dc")).expect("it opens while somebody still holds the old one");
        assert_eq!(keys(&after), ["a"]);
    }

    #[test]
    fn a_full_disk_stays_full_over_a_restart_and_its_directory_goes_with_the_world() {
        let disks = Disks::default();
        let store = wait(disks.sled_store("dc")).expect("it opens");
        disks.set_full("dc", true).expect("it has a disk");
        commit(&store, "a").expect("the ballast makes room");
        assert_eq!(commit(&store, "b"), Err(StoreFailure::Full));
        let store = wait(disks.sled_store("dc")).expect("it opens");
        assert_eq!(commit(&store, "b"), Err(StoreFailure::Full));
        disks.set_full("dc", false).expect("it has a disk");
        commit(&store, "b").expect("there is room again");
        assert_eq!(keys(&store), ["a", "b"]);
        let directory = disks.directory().expect("it has one").to_owned();
        assert!(directory.is_dir());
        drop(disks);
        assert!(!directory.exists(), "although somebody holds the store");
    }

    #[test]
    fn memory_has_no_disk_to_fill() {
        let disks = Disks::default();
        let store = disks.memory_store("dc");
        commit(&store, "a").expect("there is room");
        assert_eq!(keys(&disks.memory_store("dc")), ["a"]);
        assert!(matches!(disks.set_full("dc", true), Err(DiskError::NoDisk(_))));
    }
}
