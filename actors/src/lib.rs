//! Every entity of NTMobile as an actix actor.

pub mod account_server;
pub mod direction_coordinator;
pub mod dns;
pub mod driver;
pub mod engine;
pub mod events;
pub mod host;
#[cfg(test)]
mod ideal_network;
pub mod library;
pub mod name_server;
pub mod node;
pub mod notification_server;
pub mod relay_server;
pub mod resolution;
pub mod server;
pub mod supervise;
pub mod waiting_packets;
