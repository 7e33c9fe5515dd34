//! From a scenario to a world that can run: the internet it lies in, its servers and nodes, what happens in it.

pub mod measure;
mod records;
pub mod topology;
