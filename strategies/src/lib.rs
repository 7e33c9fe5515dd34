//! The named protocol strategies, one file each, and the registry that knows them by name.
//!
//! Every strategy implements one small synchronous trait of [`ntmobile_proto::policy`]. A scenario file chooses one of each
//! [`Kind`] by name; [`Registry::choose`] turns the [`Choices`] into the [`Strategies`](ntmobile_proto::policy::Strategies)
//! that an entity runs with.

pub mod agreement;
pub mod handover;
pub mod login;
pub mod movement;
pub mod path;
pub mod protection;
pub mod reachability;
pub mod registry;
pub mod relay_handshake;

pub use registry::{Choices, Kind, Registry, UnknownStrategy};
