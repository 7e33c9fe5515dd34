//! Names, addresses, keys, messages, codecs and ESP framing: everything two NTMobile implementations must agree on.
//!
//! This crate is pure: no clock, no chance, no sockets, no async. Randomness is an argument ([`entropy::Entropy`]).

pub mod address;
pub mod entropy;
pub mod identifier;
pub mod key;
pub mod message;
pub mod name;
pub mod trace_context;
