//! The simulated internet and its virtual time.

pub mod entropy;
pub mod ports;
pub mod runtime;
pub mod world;

pub use runtime::{Simulation, SimulationFailure};
pub use world::World;
