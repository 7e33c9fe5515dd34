//! The simulated side of the ports: what an entity holds of the world it lives in.

pub mod clock;
pub mod host;
mod udp;
