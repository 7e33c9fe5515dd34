//! An entity on a real host.
//!
//! The same actors and machines as in the simulator, composed on the operating system's ports, from a file: servers
//! ([`serve`]), the node that an application links in ([`node`]), and the one that unmodified applications use through a virtual
//! interface ([`up`]) or through a device that a host program hands over ([`vpn_service`]). Around them what running a network takes: its
//! certificate authority ([`authority`]), the accounts of its AS ([`accounts`]), health, logs and a shutdown that loses
//! nothing.
//!
//! **Invariant:** nothing here knows the protocol. A file becomes the settings of machines, the host becomes ports, and the
//! crate `actors` does the rest.

pub mod accounts;
pub mod authority;
mod carriage;
pub mod credentials;
mod equipment;
pub mod files;
pub mod health;
pub mod logging;
pub mod node;
pub mod serve;
pub mod service_manager;
pub mod settings;
mod signals;
pub mod up;
pub mod validity;
pub mod vpn_service;

pub use equipment::EquipmentError;
