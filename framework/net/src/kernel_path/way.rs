//! The policies of one peer: what may come from it, and what leads to it.

use super::ledger::{CONTROL_FIRST, LAST};
use crate::xfrm::{Action, Direction, Policy, PolicyId, Selector, UdpPorts};
use ntmobile_proto::packet::{CONTROL_PORT, TunnelSettings};
use ntmobile_wire::address::VirtualAddresses;
use std::net::IpAddr;

/// A peer, by the pair of virtual addresses at each end.
pub(super) struct Way {
    /// What the states of packets from it are known by.
    pub(super) request: u32,
    local: VirtualAddresses,
    remote: VirtualAddresses,
    /// Its IPv4 address collides with another's here: the kernel does not translate, so only IPv6 leads to it.
    is_v6_only: bool,
    /// The tunnel that leads there, by its identifier.
    pub(super) leading: Option<u32>,
}

impl Way {
    pub(super) fn new(request: u32, settings: &TunnelSettings) -> Self {
        let (local, remote) = (settings.local, settings.remote);
        Self { request, local, remote, is_v6_only: settings.alias.is_some(), leading: None }
    }

    /// Whether a tunnel goes between the same addresses.
    pub(super) fn is_for(&self, settings: &TunnelSettings) -> bool {
        let same = self.local == settings.local && self.remote == settings.remote;
        same && self.is_v6_only == settings.alias.is_some()
    }

    /// Whether it leads to this address.
    pub(super) fn is_to(&self, address: IpAddr) -> bool {
        address == self.remote.v6 || (!self.is_v6_only && address == self.remote.v4)
    }

    /// Our address and the peer's, of each family.
    fn pairs(&self) -> impl Iterator<Item = (IpAddr, IpAddr)> + use<> {
        let v4 = (!self.is_v6_only).then_some((self.local.v4.into(), self.remote.v4.into()));
        [(self.local.v6.into(), self.remote.v6.into())].into_iter().chain(v4)
    }

    /// What may come: through a state of this peer alone.
    pub(super) fn incoming(&self, interface: u32) -> Vec<Policy> {
        let action = Action::Tunnel { request: self.request, ends: None };
        let ids = self.incoming_ids(interface);
        ids.map(|id| Policy { id, priority: LAST, action: action.clone() }).collect()
    }

    fn incoming_ids(&self, interface: u32) -> impl Iterator<Item = PolicyId> + use<> {
        let selectors = self.pairs().map(|(ours, theirs)| Selector::between(theirs, ours));
        selectors.map(move |selector| PolicyId { selector, direction: Direction::In, interface })
    }

    /// What leads there: through the states of this request, between these outer addresses.
    pub(super) fn outgoing(&self, interface: u32, request: u32, ends: (Option<IpAddr>, IpAddr)) -> Vec<Policy> {
        let action = Action::Tunnel { request, ends: Some(ends) };
        let ids = self.outgoing_ids(interface);
        ids.map(|(id, priority)| Policy { id, priority, action: action.clone() }).collect()
    }

    fn outgoing_ids(&self, interface: u32) -> impl Iterator<Item = (PolicyId, u32)> + use<> {
        let udp = Some(UdpPorts { source: Some(CONTROL_PORT), destination: Some(CONTROL_PORT) });
        let control = Selector { udp, ..Selector::between(self.local.v6.into(), self.remote.v6.into()) };
        let all = self.pairs().map(|(ours, theirs)| (Selector::between(ours, theirs), LAST));
        let all = std::iter::once((control, CONTROL_FIRST)).chain(all);
        all.map(move |(selector, priority)| (PolicyId { selector, direction: Direction::Out, interface }, priority))
    }

    /// All of them.
    pub(super) fn all(&self, interface: u32) -> Vec<PolicyId> {
        self.incoming_ids(interface).chain(self.outgoing_ids(interface).map(|(id, _)| id)).collect()
    }
}
