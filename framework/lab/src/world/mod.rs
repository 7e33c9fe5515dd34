//! From a scenario to a world that can run: the internet it lies in, its servers and nodes, what happens in it.
//!
//! [`Life::prepare`] builds the internet; [`Life::live`] lets servers and nodes start, conversations and events take place,
//! until the scenario's time is over, and returns what was measured.

pub mod bound;
pub(crate) mod conclusion;
mod credentials;
mod disks;
mod events;
mod guest;
mod internet;
pub(crate) mod keys;
mod ledger;
mod life;
pub mod measure;
mod names;
pub(crate) mod nodes;
mod records;
mod servers;
pub mod stage;
pub mod topology;
pub(crate) mod traffic;

pub use guest::Guest;
pub use life::{Life, Lived, Recording, WorldError};
