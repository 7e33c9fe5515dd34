//! Named suite `netns_internet`: the emulated internet between namespaces of the real kernel, seen by real sockets and programs.
//!
//! Needs root, and `ip`, `nft`, `ping`, `python3` and `tshark`, which `.ci/run` installs. No test depends on how fast the machine
//! is: delays are checked from below, and what has to come is waited for with patience.

mod capture;
mod changes;
mod nats;
mod packets;
mod routers;
mod site;
