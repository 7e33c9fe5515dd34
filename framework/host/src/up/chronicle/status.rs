//! What a node tells of itself: the answer to `"Status"` at its control socket, and what `--json` prints. Fields are added, never
//! renamed or taken away.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A node, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Its virtual IPv4 address.
    pub v4: Ipv4Addr,
    /// Its virtual IPv6 address.
    pub v6: Ipv6Addr,
    /// Its interface.
    pub interface: String,
    /// Its process.
    pub process: u32,
    /// For how many seconds it has been up.
    pub up_s: u64,
    /// The host's own addresses, the preferred one first.
    pub addresses: Vec<IpAddr>,
    /// Where its DC saw it last, if it has moved since it joined.
    pub seen_at: Option<SocketAddr>,
    /// Its peers, by name.
    pub peers: Vec<PeerStatus>,
}

/// A peer, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its name.
    pub name: String,
    /// The addresses that programs here know it by.
    pub addresses: Vec<IpAddr>,
    /// Its tunnel, if it stands.
    pub tunnel: Option<TunnelStatus>,
    /// What was tried when the tunnel was last built or moved, or was to be: the first attempt first.
    pub attempts: Vec<AttemptStatus>,
    /// What happened, the oldest first.
    pub happenings: Vec<Happening>,
}

/// A tunnel, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatus {
    /// The relay, where the path goes through one.
    pub relay: Option<String>,
    /// Why it goes through one.
    pub relayed_because: Option<String>,
    /// Where packets are sent to.
    pub next_hop: SocketAddr,
    /// For how many seconds there has been a tunnel to the peer, whatever ways it has gone.
    pub since_s: u64,
    /// For how many seconds it has gone this way.
    pub path_since_s: u64,
    /// How many microseconds a round trip inside it took when that was last measured, which is once a minute.
    pub round_trip_us: Option<u64>,
    /// How many milliseconds its last move took, from when this end knew until packets went the new way.
    pub handover_ms: Option<u64>,
    /// The largest packet of an application that goes in one piece, as far as this host knows the path.
    pub room: Option<usize>,
    /// Packets received.
    pub packets_in: u64,
    /// Octets received.
    pub bytes_in: u64,
    /// Packets sent.
    pub packets_out: u64,
    /// Octets sent.
    pub bytes_out: u64,
}

/// One way to a peer that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptStatus {
    /// How many seconds ago the tunnel was built in which it ended, or was given up.
    pub ago_s: u64,
    /// Why a tunnel was asked for: `new-tunnel`, `handover` or `direct-failed`.
    pub reason: String,
    /// The relay, where it went through one.
    pub relay: Option<String>,
    /// Where the next hop was to be found, best first.
    pub candidates: Vec<SocketAddr>,
    /// Whether it was for this end to begin; else it was called.
    pub is_ours: bool,
    /// How many milliseconds it took.
    pub took_ms: u64,
    /// The candidate that answered or called.
    pub answered: Option<SocketAddr>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Something that happened to the tunnel to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// How many seconds ago.
    pub ago_s: u64,
    /// What.
    pub what: String,
}
