//! The DC's nodes: what is known of each, and the permanent addresses.

use crate::endpoint::{Peer, Ticket};
use crate::time::Instant;
use ntmobile_wire::address::{Leg, VirtualAddresses};
use ntmobile_wire::identifier::{ApplicationId, KeyId};
use ntmobile_wire::message::{NodeInformation, NotificationAssignment, Reachability};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Legs kept per node: one per address family.
const LEGS: usize = 2;

/// What a DC knows of one application of one node.
#[derive(Debug)]
pub(super) struct NodeRecord {
    /// K_ntmdc.
    pub(super) key: KeyId,
    /// Where and how it is registered.
    pub(super) registration: Option<Registration>,
    /// Its Notification Server and K_ntmns, with the key's end.
    pub(super) notification: Option<(NotificationAssignment, Instant)>,
    /// What the AS said of it at its last login here (`via-dc`).
    pub(super) vouched: Option<super::login::Vouched>,
    /// Deliveries that it has been woken for, oldest first.
    pub(super) waiting: VecDeque<u64>,
}

/// A node's registration.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) legs: Vec<Leg>,
    pub(super) real: Vec<SocketAddr>,
    pub(super) reachability: Reachability,
    pub(super) epoch: u32,
    pub(super) session: ntmobile_wire::identifier::Session,
    pub(super) until: Instant,
}

impl Registration {
    /// Records how one address family reaches the node.
    pub(super) fn set_leg(&mut self, leg: Leg) {
        self.legs.retain(|known| known.outer.is_ipv4() != leg.outer.is_ipv4());
        self.legs.insert(0, leg);
        self.legs.truncate(LEGS);
    }
}

impl NodeRecord {
    pub(super) fn new(key: KeyId) -> Self {
        Self { key, registration: None, notification: None, vouched: None, waiting: VecDeque::new() }
    }

    /// The registration, while it holds.
    pub(super) fn registered(&self, now: Instant) -> Option<&Registration> {
        self.registration.as_ref().filter(|registration| registration.until > now)
    }
}

/// All nodes of a DC.
#[derive(Debug)]
pub(super) struct Nodes {
    records: BTreeMap<Peer, NodeRecord>,
    addresses: BTreeMap<Fqdn, u32>,
    next_address: u32,
    v4: (Ipv4Addr, u8),
    v6: Ipv6Addr,
}

impl Nodes {
    pub(super) fn new(v4: (Ipv4Addr, u8), v6: Ipv6Addr) -> Self {
        // The first address of the prefix stays free, as network addresses do.
        Self { records: BTreeMap::new(), addresses: BTreeMap::new(), next_address: 1, v4, v6 }
    }

    pub(super) fn insert(&mut self, peer: Peer, record: NodeRecord) {
        self.records.insert(peer, record);
    }

    pub(super) fn get(&self, peer: &Peer) -> Option<&NodeRecord> {
        self.records.get(peer)
    }

    pub(super) fn get_mut(&mut self, peer: &Peer) -> Option<&mut NodeRecord> {
        self.records.get_mut(peer)
    }

    /// The sender of a request, if it is a node of ours.
    pub(super) fn sender_mut(&mut self, ticket: &Ticket) -> Option<&mut NodeRecord> {
        self.records.get_mut(ticket.sender())
    }

    /// The application of a node that answers for the wanted one: 0 stands for the first that is registered.
    pub(super) fn find(&self, node: &Fqdn, wanted: ApplicationId, now: Instant) -> Option<(&Peer, &NodeRecord)> {
        let first = Peer { name: node.clone(), application: ApplicationId(0) };
        let mut applications = self.records.range(first..).take_while(|(peer, _)| peer.name == *node);
        if wanted != ApplicationId(0) {
            return applications.find(|(peer, _)| peer.application == wanted);
        }
        let mut fallback = None;
        for (peer, record) in applications {
            if record.registered(now).is_some() {
                return Some((peer, record));
            }
            fallback = fallback.or(Some((peer, record)));
        }
        fallback
    }

    /// The node's place in the virtual prefixes, allotting one where it has none. The second value says whether it is new;
    /// `None` when the IPv4 prefix is full.
    pub(super) fn allot(&mut self, node: &Fqdn) -> Option<(u32, bool)> {
        if let Some(index) = self.addresses.get(node) {
            return Some((*index, false));
        }
        let index = self.next_address;
        // The last address is the prefix's broadcast address.
        if u64::from(index) + 1 >= 1 << (32 - u32::from(self.v4.1.min(31))) {
            return None;
        }
        self.restore_address(node.clone(), index);
        Some((index, true))
    }

    /// Takes back an allotment that could not be stored.
    pub(super) fn forget_address(&mut self, node: &Fqdn) {
        self.addresses.remove(node);
    }

    /// Puts back what an earlier process had allotted.
    pub(super) fn restore_address(&mut self, node: Fqdn, index: u32) {
        self.next_address = self.next_address.max(index.saturating_add(1));
        self.addresses.insert(node, index);
    }

    /// The permanent addresses of a node, if it has them.
    pub(super) fn addresses(&self, node: &Fqdn) -> Option<VirtualAddresses> {
        self.addresses.get(node).map(|index| self.addresses_at(*index))
    }

    fn addresses_at(&self, index: u32) -> VirtualAddresses {
        VirtualAddresses {
            v4: Ipv4Addr::from(u32::from(self.v4.0).wrapping_add(index)),
            v6: Ipv6Addr::from(u128::from(self.v6) | u128::from(index)),
        }
    }

    /// What the DC that directs a tunnel is told of a node.
    pub(super) fn information(&self, peer: &Peer, now: Instant) -> Option<NodeInformation> {
        let registration = self.get(peer)?.registered(now)?;
        Some(NodeInformation {
            node: peer.name.clone(),
            application: peer.application,
            legs: registration.legs.clone(),
            real: registration.real.clone(),
            reachability: registration.reachability,
            addresses: self.addresses(&peer.name)?,
            session: registration.session,
        })
    }
}
