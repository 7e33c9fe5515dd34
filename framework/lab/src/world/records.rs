//! A scenario's links, NATs and firewalls in the simulator's terms.

use crate::scenario::network::{Dependence, Firewall, Fragments, Link, Nat, PortAllocation, Refresh};
use ntmobile_sim::network::{self as sim, FirewallRecord, LinkRecord, NatRecord};

/// A link, one direction of it.
pub(super) fn link_record(link: &Link) -> LinkRecord {
    let defaults = LinkRecord::default();
    LinkRecord {
        delay: link.delay.duration(),
        jitter: link.jitter.duration(),
        loss: link.loss.probability(),
        duplication: link.duplication.probability(),
        reordering: link.reordering.probability(),
        rate: link.rate.map(|rate| rate.0),
        queue_bytes: link.queue.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        mtu: link.mtu.map_or(defaults.mtu, |size| usize::try_from(size.0).unwrap_or(usize::MAX)),
        ..defaults
    }
}

/// A NAT.
pub(super) fn nat_record(nat: &Nat) -> NatRecord {
    NatRecord {
        mapping: dependence(nat.mapping),
        filtering: dependence(nat.filtering),
        ports: match nat.ports {
            PortAllocation::Preserving => sim::PortAllocation::Preserving,
            PortAllocation::Sequential => sim::PortAllocation::Sequential,
            PortAllocation::Random => sim::PortAllocation::Random,
        },
        expiry: nat.expiry.duration(),
        refresh: match nat.refresh {
            Refresh::Outbound => sim::Refresh::Outbound,
            Refresh::Both => sim::Refresh::Both,
        },
        hairpin: if nat.hairpin { sim::Hairpin::ExternalSource } else { sim::Hairpin::Off },
        fragments: match nat.fragments {
            Fragments::Reassemble => sim::Fragments::Reassemble,
            Fragments::Drop => sim::Fragments::Drop,
        },
        addresses: nat.addresses,
        ..NatRecord::default()
    }
}

fn dependence(dependence: Dependence) -> sim::Dependence {
    match dependence {
        Dependence::EndpointIndependent => sim::Dependence::EndpointIndependent,
        Dependence::AddressDependent => sim::Dependence::AddressDependent,
        Dependence::AddressAndPortDependent => sim::Dependence::AddressAndPortDependent,
    }
}

/// A firewall; `None` for one that lets everything through.
pub(super) fn firewall_record(firewall: Firewall) -> Option<FirewallRecord> {
    match firewall {
        Firewall::Open => None,
        Firewall::Stateful => Some(FirewallRecord::default()),
        Firewall::BlocksUdp => Some(FirewallRecord { blocks_udp: true, stateful: false, ..FirewallRecord::default() }),
    }
}
