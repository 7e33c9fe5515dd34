//! The async edges of an entity: everything an actor needs of the world, as traits that the simulated internet and the
//! operating system both implement. All are `Send + Sync` so that QUIC's driver can use them.

pub mod authenticator;
pub mod certificate;
pub mod clock;
pub mod compute;
pub mod net;
pub mod quic;
pub mod store;
pub mod stores;
pub mod tls;
