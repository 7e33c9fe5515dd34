//! The protocol as sans-IO machines: no sockets, no clock, no chance, no async.
//!
//! **Invariant:** a machine's next state and effects depend on its state and the arguments of the call alone. Time,
//! randomness and everything that arrives are arguments; everything that is to be done is an [`machine::Effect`].
//!
//! The run loop of whoever drives a machine:
//! 1. when something arrives, [`machine::Machine::handle`]; when somebody asks for something, [`machine::Machine::command`];
//! 2. carry out the effects, in order;
//! 3. sleep until [`machine::Machine::deadline`], then [`machine::Machine::expire`], and go on at 2.

pub mod account_server;
pub mod calls;
pub mod certificate;
pub mod deadlines;
pub mod direction_coordinator;
pub mod endpoint;
pub mod machine;
pub mod node;
pub mod notification_server;
pub mod packet;
pub mod policy;
pub mod relay_server;
mod repeated_requests;
pub mod resolver;
#[cfg(test)]
mod scripted;
pub mod shared_keys;
pub mod sizes;
mod stored_message;
pub mod time;
pub mod tls;
pub mod trace;
