//! Real networks on one machine: small internets of network namespaces with NATs of several kinds ([`namespaces`]), the
//! network's own programs in them ([`network`], [`node`]). Suites and experiments
//! share it. Needs root.

pub mod namespaces;
pub mod nat;
pub mod network;
pub mod node;
pub mod process;
pub mod program;
