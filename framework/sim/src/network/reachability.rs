//! Which prefixes are reached through which node: what attaching and detaching does to the routing tables.

use super::nat::Ipv6Passage;
use super::prefix::Prefix;
use super::route::Target;
use super::{InterfaceId, Network, NodeId, Role};
use std::collections::BTreeSet;

impl Network {
    /// The default route of each family leads out of the first uplink that has an address of it.
    pub(super) fn set_default_routes(&mut self, node: NodeId) {
        for default in [Prefix::ALL_V4, Prefix::ALL_V6] {
            let first = self.node(node).uplinks.iter().copied().find(|uplink| {
                self.interface(*uplink).addresses.iter().any(|assigned| default.contains(assigned.address))
            });
            if let Some(uplink) = first {
                self.node_mut(node).routes.insert(default, Target::Via(uplink));
            }
        }
    }

    /// The prefixes behind the node that those above it may know of.
    pub(super) fn shown_above(&self, node: NodeId) -> BTreeSet<Prefix> {
        let prefixes = self.node(node).behind.iter().map(|(prefix, _)| *prefix);
        prefixes.filter(|prefix| self.is_shown_above(node, *prefix)).collect()
    }

    /// A NAT hides what it translates, and what it does not let pass.
    fn is_shown_above(&self, node: NodeId, prefix: Prefix) -> bool {
        match &self.node(node).role {
            Role::Host => false,
            Role::Router | Role::Firewall(_) => true,
            Role::Nat(nat) => !prefix.is_ipv4() && nat.record.ipv6 != Ipv6Passage::Blocked,
        }
    }

    /// Lets a node, and those above it, know by which way a prefix is reached; `None` for its own. The way announced last
    /// is taken.
    pub(super) fn announce(&mut self, node: NodeId, prefix: Prefix, by: Option<InterfaceId>) {
        let place = self.node_mut(node);
        if let Some(interface) = by {
            place.routes.insert(prefix, Target::Via(interface));
        }
        let is_news = place.behind.iter().all(|(known, _)| *known != prefix);
        place.behind.push((prefix, by));
        // Those above already send a whole served prefix here, single addresses of it included.
        let is_covered = place.pools.iter().any(|pool| {
            let served = pool.prefix();
            served.contains(prefix.address()) && served.length() < prefix.length()
        });
        if is_news && !is_covered && self.is_shown_above(node, prefix) {
            for uplink in self.node(node).uplinks.clone() {
                let upper = self.interface(uplink).peer;
                self.announce(self.interface(upper).node, prefix, Some(upper));
            }
        }
    }

    /// Takes an announcement back. Another way to the prefix, if there is one, takes its place.
    pub(super) fn withdraw(&mut self, node: NodeId, prefix: Prefix, by: InterfaceId) {
        let place = self.node_mut(node);
        let Some(at) = place.behind.iter().position(|entry| *entry == (prefix, Some(by))) else { return };
        place.behind.remove(at);
        place.routes.remove(prefix, Target::Via(by));
        match place.behind.iter().rev().find(|(known, _)| *known == prefix) {
            Some((_, Some(other))) => place.routes.insert(prefix, Target::Via(*other)),
            Some((_, None)) => {}
            None => {
                for uplink in self.node(node).uplinks.clone() {
                    let upper = self.interface(uplink).peer;
                    self.withdraw(self.interface(upper).node, prefix, upper);
                }
            }
        }
    }
}
