//! The packet path as data shared with signalling: which packet goes through which tunnel, and what a tunnel or a relay
//! does with it.
//!
//! Signalling writes ([`TunnelTable::install`], [`TunnelTable::activate`], [`Tunnel::move_to`], [`RelayTable::prove`]); the packet path reads
//! ([`TunnelTable::outbound`], [`TunnelTable::inbound`], [`RelayTable::relay`]) from any thread, without a mailbox. Only
//! [`PacketNotice`](crate::machine::PacketNotice)s go up.

mod flows;
mod inner;
mod key_log;
mod mirror;
mod relay;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod train;
mod tunnel;

pub use flows::{Direction, Flow, Flows};
pub use inner::{CONTROL_PORT, InnerHeader, control_packet};
pub use key_log::KeyLog;
pub use mirror::{Mirror, Passage};
pub use relay::{Dropped, LegCounters, Relay, RelayTable, Relayed};
pub use settings::TunnelSettings;
pub use table::{InstallError, TunnelTable};
pub use train::{Arrival, Departure, PathLimit};
pub use tunnel::{Carried, Counters, GENERATION_OVERLAP, Inbound, InboundRefusal, OutboundRefusal, Tunnel};
