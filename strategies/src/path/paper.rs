//! `paper`: direct whenever one end can be reached, through an RS between different NATs and IP versions.
//!
//! IPv6 is looked at before IPv4, and the first pair of legs that allows a direct path decides: where both families do,
//! IPv6 has the fewer translators on the way. Within a family the legs are tried in the order that the nodes registered
//! them. A leg whose real and outer address are of different families (NAT64) never leads to a direct path.

use ntmobile_proto::policy::{PathChoice, PathPolicy, PathQuestion};
use ntmobile_wire::address::Leg;
use ntmobile_wire::message::{DirectionReason, NodeInformation, TunnelEnd};
use std::net::SocketAddr;

/// The most addresses that a Route Direction carries.
const CANDIDATES: usize = 8;

/// The papers' rule for the first path, with the attempt at private addresses behind one NAT.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paper;

impl PathPolicy for Paper {
    fn name(&self) -> &'static str {
        "paper"
    }

    fn choose(&self, PathQuestion { mn, cn, reason }: PathQuestion<'_>) -> PathChoice {
        if reason == DirectionReason::DirectFailed {
            return PathChoice::Relayed { because: "the direct path failed" };
        }
        let mut common = false;
        for v6 in [true, false] {
            for mn_leg in legs(mn, v6) {
                for cn_leg in legs(cn, v6) {
                    common = true;
                    if let Some(direct) = direct(mn_leg, cn, cn_leg) {
                        return direct;
                    }
                }
            }
        }
        let because =
            if common { "the ends are behind different NATs" } else { "the ends have no IP version in common" };
        PathChoice::Relayed { because }
    }
}

fn legs(node: &NodeInformation, v6: bool) -> impl Iterator<Item = Leg> {
    node.legs.iter().copied().filter(move |leg| leg.real.is_ipv6() == v6 && leg.outer.is_ipv6() == v6)
}

/// The direct path between two legs of one family, if the rule allows one.
fn direct(mn: Leg, cn: &NodeInformation, cn_leg: Leg) -> Option<PathChoice> {
    let (sender, candidates, because) = match (mn.is_translated(), cn_leg.is_translated()) {
        (false, false) => (TunnelEnd::Mn, vec![cn_leg.real], "both ends are reachable"),
        (true, false) => (TunnelEnd::Mn, vec![cn_leg.real], "only MN is behind a NAT"),
        (false, true) => (TunnelEnd::Cn, vec![mn.real], "only CN is behind a NAT"),
        (true, true) if mn.outer.ip() == cn_leg.outer.ip() => {
            (TunnelEnd::Mn, private_addresses(cn, cn_leg), "both ends are behind the same NAT")
        }
        (true, true) => return None,
    };
    (!candidates.is_empty()).then_some(PathChoice::Direct { sender, candidates, because })
}

/// Where a node may be found from inside its NAT: the leg's own address, then the others it told of the same family.
fn private_addresses(node: &NodeInformation, leg: Leg) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    for address in std::iter::once(leg.real).chain(node.real.iter().copied()) {
        let usable = address.is_ipv6() == leg.real.is_ipv6()
            && address.port() != 0
            && !address.ip().is_unspecified()
            && !address.ip().is_multicast()
            && !address.ip().is_loopback();
        if usable && !addresses.contains(&address) && addresses.len() < CANDIDATES {
            addresses.push(address);
        }
    }
    addresses
}
