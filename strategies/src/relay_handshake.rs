//! How two ends meet at an RS.

mod forwarded;
mod rendezvous;

pub use forwarded::Forwarded;
pub use rendezvous::Rendezvous;
