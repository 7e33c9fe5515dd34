//! `memory`: records that live as long as the simulation.

use crate::store::Store;
use async_trait::async_trait;
use bytes::Bytes;
use ntmobile_proto::machine::{Record, StoreFailure, Write};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records in memory. Clones share them: a simulated server that is restarted with a clone finds what it had stored.
#[derive(Clone)]
pub struct MemoryStore {
    contents: Arc<Mutex<Contents>>,
}

struct Contents {
    records: BTreeMap<(&'static str, Bytes), Bytes>,
    capacity: usize,
}

impl Contents {
    /// Bytes of all keys and values.
    fn size(&self) -> usize {
        self.records.iter().map(|((_, key), value)| key.len() + value.len()).sum()
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_capacity(usize::MAX)
    }
}

impl MemoryStore {
    /// Never full.
    pub fn new() -> Self {
        Self::default()
    }

    /// Full when keys and values together would exceed `capacity` bytes: a small disk, simulated.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { contents: Arc::new(Mutex::new(Contents { records: BTreeMap::new(), capacity })) }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        let contents = self.contents();
        let records = contents.records.iter().map(|((table, key), value)| Record {
            table: (*table).to_owned(),
            key: key.clone(),
            value: value.clone(),
        });
        Ok(records.collect())
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreFailure> {
        let mut contents = self.contents();
        let mut before = Vec::with_capacity(writes.len());
        for write in writes {
            let place = (write.table, write.key);
            let old = match write.value {
                Some(value) => contents.records.insert(place.clone(), value),
                None => contents.records.remove(&place),
            };
            before.push((place, old));
        }
        if contents.capacity == usize::MAX || contents.size() <= contents.capacity {
            return Ok(());
        }
        for (place, old) in before.into_iter().rev() {
            match old {
                Some(value) => contents.records.insert(place, value),
                None => contents.records.remove(&place),
            };
        }
        Err(StoreFailure::Full)
    }
}
