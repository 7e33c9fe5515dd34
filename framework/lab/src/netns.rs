//! The scenario on the real kernel: network namespaces, and processes in them.

pub mod internet;
