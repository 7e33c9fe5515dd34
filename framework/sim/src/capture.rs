//! Captures of simulated traffic: a pcapng file in virtual time, and a configuration directory with which Wireshark reads
//! what is inside the tunnels.

mod pcapng;
mod wireshark;

pub use pcapng::Capture;
pub use wireshark::{EspAssociation, WiresharkConfiguration};
