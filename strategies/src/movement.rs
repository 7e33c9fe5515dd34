//! How a node notices that it has moved.

mod event;
mod keepalive_failure;

pub use event::Event;
pub use keepalive_failure::KeepaliveFailure;
