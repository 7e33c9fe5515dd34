//! Names, addresses, keys, messages, codecs and ESP framing: everything two NTMobile implementations must agree on.
//!
//! This crate is pure: no clock, no chance, no sockets, no async. Randomness is an argument ([`entropy::Entropy`]).

pub mod address;
pub mod codec;
pub mod datagram;
pub mod entropy;
pub mod esp;
pub mod frame;
pub mod identifier;
pub mod key;
pub mod message;
pub mod name;
pub mod relogin;
pub mod replay;
pub mod sealed_key;
pub mod subkey;
pub mod trace_context;
pub mod voucher;
pub mod wrap;
