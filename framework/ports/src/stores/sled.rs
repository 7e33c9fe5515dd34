//! `sled`: records on one machine's disk, embedded.

use super::database::Database;
use super::space::DiskSpace;
use crate::compute::{self, Compute};
use crate::store::Store;
use async_trait::async_trait;
use ntmobile_proto::machine::{Record, StoreFailure, Write};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;
use tokio::sync::oneshot;

/// Why a store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process; stop it or choose another directory")]
    Locked(PathBuf),
    /// What is there cannot be read.
    #[error("{0} is damaged, restore it from a copy or remove it to begin anew: {1}")]
    Corrupt(PathBuf, String),
    /// The disk is so full that the store cannot even be opened.
    #[error("the disk of {0} is full")]
    Full(PathBuf),
    /// The operating system refused.
    #[error("{0} cannot be used: {1}")]
    Unusable(PathBuf, String),
}

/// Where, and how much space is held back.
#[derive(Clone, Debug)]
pub struct SledOptions {
    /// A directory of the store's own; it is created if it is missing.
    pub path: PathBuf,
    /// Bytes that the store occupies beforehand, so that a full disk never interrupts a write. At least 2 MiB; a batch may
    /// be a quarter of it.
    pub reserve: u64,
    /// The space on its disk: what the system has, unless a simulation fills it.
    pub space: DiskSpace,
}

impl SledOptions {
    /// Holds 16 MiB back.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reserve: 16 * 1024 * 1024, space: DiskSpace::default() }
    }
}

/// Records in a sled database. What it acknowledges would survive the power going out.
#[derive(Clone)]
pub struct SledStore {
    compute: Arc<dyn Compute>,
    shared: Arc<Shared>,
}

struct Shared {
    /// Batches in the order in which they were committed.
    queue: Mutex<VecDeque<Queued>>,
    /// None once it is closed.
    database: Mutex<Option<Database>>,
}

struct Queued {
    writes: Vec<Write>,
    answer: oneshot::Sender<Result<(), StoreFailure>>,
}

impl SledStore {
    /// Opens or creates a store; it reads all of it, to find damage at once.
    pub async fn open(options: SledOptions, compute: Arc<dyn Compute>) -> Result<Self, OpenError> {
        let (database, _) = compute::run(&*compute, move || Database::open(options)).await?;
        let shared = Shared { queue: Mutex::default(), database: Mutex::new(Some(database)) };
        Ok(Self { compute, shared: Arc::new(shared) })
    }

    /// Closes the database at once, whoever still holds the store: what is queued is not written, every operation fails from
    /// now on, and the directory can be opened again.
    pub fn close(&self) {
        *self.shared.database() = None;
    }
}

impl Shared {
    fn database(&self) -> MutexGuard<'_, Option<Database>> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes everything that is queued, with one flush for all of it: while one flush is under way, others queue up.
    fn write_queued(&self) {
        let mut database = self.database();
        let queued: Vec<Queued> = self.queue.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        let (batches, answers): (Vec<_>, Vec<_>) =
            queued.into_iter().map(|queued| (queued.writes, queued.answer)).unzip();
        if batches.is_empty() {
            return;
        }
        let results = match &mut *database {
            Some(database) => database.write(&batches),
            None => batches.iter().map(|_| Err(closed())).collect(),
        };
        for (answer, result) in answers.into_iter().zip(results) {
            // Whoever does not wait any more does not want to know.
            let _nobody_waits = answer.send(result);
        }
    }
}

fn closed() -> StoreFailure {
    StoreFailure::Failed("the store is closed".to_owned())
}

#[async_trait]
impl Store for SledStore {
    async fn load(&self) -> Result<Vec<Record>, StoreFailure> {
        let shared = Arc::clone(&self.shared);
        compute::run(&*self.compute, move || shared.database().as_ref().map_or_else(|| Err(closed()), Database::load))
            .await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreFailure> {
        let (answer, answered) = oneshot::channel();
        self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(Queued { writes, answer });
        let shared = Arc::clone(&self.shared);
        self.compute.run(Box::new(move || shared.write_queued())).await;
        answered.await.unwrap_or_else(|_| Err(StoreFailure::Failed("the store has stopped".to_owned())))
    }
}
