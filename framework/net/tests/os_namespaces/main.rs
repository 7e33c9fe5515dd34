//! The operating system's ports where the network changes: each test makes namespaces and moves cables and addresses in
//! them. Needs root; run with `cargo test -p ntmobile-net --test os_namespaces -- --ignored`.

mod addresses;
mod footprint;
mod names;
mod namespace;
mod paths;
