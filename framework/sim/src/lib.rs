//! The simulated internet and its virtual time.

pub mod agenda;
pub mod capture;
pub mod clocked;
mod crypto;
pub mod entropy;
pub mod network;
pub mod ports;
pub mod runtime;
pub mod world;

pub use runtime::{Simulation, SimulationFailure};
pub use world::World;
