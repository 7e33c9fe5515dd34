//! What other implementations rely on, tested from outside.

mod arbitrary;
mod independent;
mod keys;
mod largest;
mod messages;
mod packets;
mod properties;
mod samples;
mod vectors;
