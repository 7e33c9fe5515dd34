//! Real networks on one machine: small internets of network namespaces with NATs of several kinds ([`namespaces`]), the
//! network's own programs in them ([`network`], [`node`]), traffic between them ([`site`]) and what disturbs it ([`disturbance`]). Suites and experiments
//! share it. Needs root.

pub mod conversation;
pub mod disturbance;
pub mod namespaces;
pub mod nat;
pub mod network;
pub mod node;
pub mod process;
pub mod program;
pub mod pulse;
pub mod site;
pub mod vpn;
