//! The DC's nodes: what is known of each, and the permanent addresses.

use crate::endpoint::{Peer, Ticket};
use crate::sizes::Sizes;
use crate::time::Instant;
use ntmobile_wire::address::{Leg, VirtualAddresses};
use ntmobile_wire::identifier::{ApplicationId, KeyId};
use ntmobile_wire::message::{AuthenticationResponse, NodeInformation, NotificationAssignment, Reachability};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Legs kept per node: one per address family.
const LEGS: usize = 2;

/// What a DC knows of one application of one node.
#[derive(Debug)]
pub(super) struct NodeRecord {
    /// The K_ntmdc that it is spoken to under.
    pub(super) key: KeyId,
    /// Every K_ntmdc that it may speak under, the newest last.
    pub(super) keys: Vec<KeyId>,
    /// Where and how it is registered.
    pub(super) registration: Option<Registration>,
    /// Its Notification Server and K_ntmns, with the key's end.
    pub(super) notification: Option<(NotificationAssignment, Instant)>,
    /// What the AS said of it at its last login here (`via-dc`).
    pub(super) vouched: Option<Vouched>,
    /// Deliveries that it has been woken for, oldest first.
    pub(super) waiting: VecDeque<u64>,
}

/// What the AS said of a node at its last login here, so that a re-login needs no AS.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    pub(super) response: AuthenticationResponse,
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
    fn new(key: KeyId) -> Self {
        Self { key, keys: Vec::new(), registration: None, notification: None, vouched: None, waiting: VecDeque::new() }
    }

    /// Lets go of the oldest keys that are neither in use nor `newest` until there are no more than `limit`.
    pub(super) fn make_room(&mut self, limit: usize, newest: KeyId) -> Vec<KeyId> {
        let mut surplus = self.keys.len().saturating_sub(limit.max(2));
        let in_use = self.key;
        self.keys
            .extract_if(.., |held| {
                let goes = surplus > 0 && *held != in_use && *held != newest;
                surplus -= usize::from(goes);
                goes
            })
            .collect()
    }

    /// The registration, while it holds.
    pub(super) fn registered(&self, now: Instant) -> Option<&Registration> {
        self.registration.as_ref().filter(|registration| registration.until > now)
    }
}

/// A place in the virtual prefixes.
#[derive(Clone, Copy, Debug)]
struct Allotted {
    index: u32,
    /// Whether it is on stable storage.
    is_stored: bool,
}

/// All nodes of a DC.
#[derive(Debug)]
pub(super) struct Nodes {
    records: BTreeMap<Peer, NodeRecord>,
    addresses: BTreeMap<Fqdn, Allotted>,
    next_address: u32,
    v4: (Ipv4Addr, u8),
    v6: Ipv6Addr,
}

impl Nodes {
    pub(super) fn new(v4: (Ipv4Addr, u8), v6: Ipv6Addr) -> Self {
        // The first address of the prefix stays free, as network addresses do.
        Self { records: BTreeMap::new(), addresses: BTreeMap::new(), next_address: 1, v4, v6 }
    }

    /// The record of an application that may speak under this key from now on.
    pub(super) fn entry(&mut self, peer: &Peer, key: KeyId) -> &mut NodeRecord {
        let record = self.records.entry(peer.clone()).or_insert_with(|| NodeRecord::new(key));
        record.keys.retain(|held| *held != key);
        record.keys.push(key);
        record
    }

    pub(super) fn remove(&mut self, peer: &Peer) -> Option<NodeRecord> {
        self.records.remove(peer)
    }

    /// How many applications of a node are known.
    pub(super) fn applications(&self, node: &Fqdn) -> usize {
        self.of(node).count()
    }

    fn of(&self, node: &Fqdn) -> impl Iterator<Item = (&Peer, &NodeRecord)> {
        let first = Peer { name: node.clone(), application: ApplicationId(0) };
        self.records.range(first..).take_while(move |(peer, _)| peer.name == *node)
    }

    /// How many applications are known, how many registrations there are, and how many places are allotted.
    pub(super) fn sizes(&self) -> Sizes {
        let registrations = self.records.values().filter(|record| record.registration.is_some()).count();
        Sizes::default()
            .with("applications", self.records.len())
            .with("registered", registrations)
            .with("addresses", self.addresses.len())
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
        let mut applications = self.of(node);
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

    /// The node's place in the virtual prefixes, allotting one where it has none. The second value says whether it is still
    /// to be stored; `None` when the IPv4 prefix is full.
    pub(super) fn allot(&mut self, node: &Fqdn) -> Option<(u32, bool)> {
        if let Some(allotted) = self.addresses.get(node) {
            return Some((allotted.index, !allotted.is_stored));
        }
        let index = self.next_address;
        // The last address is the prefix's broadcast address.
        if u64::from(index) + 1 >= 1 << (32 - u32::from(self.v4.1.min(31))) {
            return None;
        }
        self.next_address = index + 1;
        self.addresses.insert(node.clone(), Allotted { index, is_stored: false });
        Some((index, true))
    }

    /// The node's place is on stable storage.
    pub(super) fn address_is_stored(&mut self, node: &Fqdn) {
        if let Some(allotted) = self.addresses.get_mut(node) {
            allotted.is_stored = true;
        }
    }

    /// Puts back what an earlier process had allotted.
    pub(super) fn restore_address(&mut self, node: Fqdn, index: u32) {
        self.next_address = self.next_address.max(index.saturating_add(1));
        self.addresses.insert(node, Allotted { index, is_stored: true });
    }

    /// The permanent addresses of a node, if it has them.
    pub(super) fn addresses(&self, node: &Fqdn) -> Option<VirtualAddresses> {
        self.addresses.get(node).map(|allotted| self.addresses_at(allotted.index))
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
