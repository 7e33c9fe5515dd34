//! The stores: `memory` for simulations, `sled` for one machine that must not forget.
//!
//! Both keep the promise of [`crate::store::Store`] as far as they can be told by the same suite of tests: a batch is there
//! altogether or not at all, it is there for good once it is acknowledged, and batches take effect in the order in which they
//! were committed.

mod ballast;
mod database;
mod memory;
mod sled;
mod space;
mod witness;

#[cfg(test)]
mod tests;

pub use memory::MemoryStore;
pub use sled::{OpenError, SledOptions, SledStore};
pub use space::DiskSpace;
