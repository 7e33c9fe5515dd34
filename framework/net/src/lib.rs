//! The ports of an entity on the operating system: what `ntmobile_ports` asks for, on Linux.
//!
//! | port | here | how |
//! | --- | --- | --- |
//! | `net::Net` | [`net::OsNet`] | sockets of both families, addresses and their changes by netlink |
//! | `net::UdpPort` | [`udp::OsUdpPort`] | `recvmmsg` with GRO, `sendmsg` with GSO, the asked address answers |
//! | `clock::Clock` | [`clock::OsClock`] | `CLOCK_BOOTTIME`, which counts while the host is suspended |
//! | `compute::Compute` | [`compute::WorkerPool`] | as many threads as there are processors |
//! | `wire::entropy::Entropy` | [`entropy::SystemEntropy`] | the operating system's generator |
//! | DNS root servers | [`roots::root_hints`] | the thirteen that IANA publishes |
//! | application packets | [`packet_path::PacketPath`] | threads between a [`tun::Tun`] device and the network, by the train |
//! | the same in the kernel | [`kernel_path::KernelPath`] | its IPsec tables (XFRM), kept in step with the tunnel table |
//!
//! TLS legs need no port of their own: `ntmobile_ports::quic::TlsEndpoint` runs on [`udp::OsUdpPort`] and
//! [`clock::OsClock`] with `CryptoChoice::System`.
//!
//! [`namespace`] does work in another network namespace; [`readiness`] waits for many devices or a precise time.
//!
//! [`footprint`] is what a node with a virtual interface changes on its host, and how that is undone whatever happens to the
//! node; [`names`] answers the host's programs for the network's names. [`vpn_host`] is for a node that may change nothing itself.
//!
//! **Invariant:** this is the one crate that says `unsafe`, and each block says why it is sound. Nothing here knows the
//! protocol.

pub mod addresses;
pub mod clock;
pub mod compute;
pub mod echo;
pub mod entropy;
pub mod footprint;
pub mod kernel_path;
mod links;
pub mod names;
pub mod namespace;
pub mod net;
mod netlink;
pub mod packet_path;
pub mod readiness;
pub mod roots;
mod socket;
pub mod tcp;
pub mod tun;
pub mod udp;
pub mod vpn_host;
mod xfrm;
