//! TUN devices: where applications' packets leave the kernel and come back to it, by the super-packet in both directions.
//!
//! [`Tun::create`] makes a device in the present network namespace, with as many queues as there will be threads;
//! [`Tun::adopt`] takes one that somebody else made and handed over. [`offload`] cuts and joins what crosses it. Addresses and
//! routes are the business of others. [`PlainTun`] is the other kind: one packet a call, for who looks at each packet anyway.

mod device;
mod error;
mod link;
pub mod offload;
mod plain;

pub use device::{Queue, Tun, TunSettings};
pub use error::TunError;
pub use plain::{PlainTun, PlainTunSettings};
