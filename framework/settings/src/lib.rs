//! Settings as people write them, for scenarios and for real hosts alike: layers of TOML, environment and command line, read
//! into types; and when something is wrong, what, where, and what was probably meant.

mod decode;
mod elements;
pub mod layers;
pub mod problem;
pub mod units;

pub use decode::join;
pub use layers::{Layers, Merged};
pub use problem::{Problem, SettingsError};
