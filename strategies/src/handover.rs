//! What a node does about its tunnels when it has moved.

mod resignal;

pub use resignal::Resignal;
