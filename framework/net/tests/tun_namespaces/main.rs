//! The packet path between two namespaces, with devices that applications use. Needs root; run with
//! `cargo test -p ntmobile-net --test tun_namespaces -- --ignored`.

mod devices;
#[path = "../os_namespaces/namespace.rs"]
mod namespace;
mod packets;
mod pair;
