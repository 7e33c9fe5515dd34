//! The networks that a host goes through.

use ntmobile_testbed::nat::Nat;
use ntmobile_testbed::network::Network;

/// How packets to the peer go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    Relayed,
}

impl Way {
    /// As `ntm path` says it.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Direct => "directly, to ",
            Self::Relayed => "through rs1",
        }
    }
}

/// A network, or a place in one.
pub(crate) struct Station {
    pub(crate) name: &'static str,
    /// Goes there: Alice, or in the last one her peer.
    pub(crate) go: fn(&Network),
    /// How the peer, who is behind a symmetric NAT, is reached from there.
    pub(crate) way: Way,
    /// Somebody who has nothing to do with NTMobile.
    pub(crate) ordinary: &'static str,
}

const V4: &str = "203.0.113.110";

/// The way of the two; both begin behind symmetric NATs.
pub(crate) const STATIONS: [Station; 7] = [
    Station {
        name: "masquerade",
        go: |network| network.world.move_behind("cafe", "alice", "192.168.3", 10),
        way: Way::Relayed,
        ordinary: V4,
    },
    Station {
        name: "full-cone",
        go: |network| network.world.move_behind("hotel", "alice", "192.168.4", 10),
        way: Way::Relayed,
        ordinary: V4,
    },
    Station {
        name: "open",
        go: |network| network.world.move_into_the_open("alice", "203.0.113.120"),
        way: Way::Direct,
        ordinary: V4,
    },
    Station {
        name: "ipv6-only",
        go: |network| {
            network.world.move_into_the_open("alice", "2001:db8::120");
            network.write_resolver("alice", "nameserver 2001:db8::53\n");
        },
        way: Way::Relayed,
        ordinary: "2001:db8::53",
    },
    Station {
        name: "symmetric",
        go: |network| {
            network.world.move_behind("home", "alice", "192.168.1", 20);
            network.write_resolver("alice", "nameserver 203.0.113.53\n");
        },
        way: Way::Relayed,
        ordinary: V4,
    },
    Station {
        name: "open-again",
        go: |network| network.world.move_into_the_open("alice", "203.0.113.121"),
        way: Way::Direct,
        ordinary: V4,
    },
    Station {
        name: "peer-elsewhere",
        go: |network| network.world.move_behind("cafe", "bob", "192.168.3", 30),
        way: Way::Direct,
        ordinary: V4,
    },
];

/// The networks that are not there from the beginning.
pub(crate) fn build(network: &mut Network) {
    network.world.nat("cafe", "203.0.113.103", "192.168.3", Nat::Masquerade);
    network.world.nat("hotel", "203.0.113.104", "192.168.4", Nat::FullCone);
}
