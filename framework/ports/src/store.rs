//! Durable records. A batch is acknowledged only once it would survive the power going out.

use async_trait::async_trait;
use ntmobile_proto::machine::{Record, StoreFailure, Write};

/// Where an entity keeps what it must not forget.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything that is stored, ordered by table and key.
    async fn load(&self) -> Result<Vec<Record>, StoreFailure>;

    /// Writes a batch, all of it or nothing; returns once it is durable.
    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreFailure>;
}
