//! The entities as actors in a whole simulated network, with real DNS, TLS and TCP.

mod applications;
mod garbage;
mod liveness;
mod moving;
mod name_service;
mod restarting;
mod scene;
mod talking;
