//! A node's routing table: static routes, the longest prefix wins.

use super::InterfaceId;
use super::prefix::{Prefix, bits, mask};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Out of this interface.
    Via(InterfaceId),
    /// To the node itself.
    Local,
    /// To a network directly attached, on which nobody has the address.
    Nobody,
}

/// All routes of one prefix length.
#[derive(Clone, Debug)]
struct Level {
    length: u8,
    mask: u128,
    routes: BTreeMap<u128, Target>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct RouteTable {
    v4: Vec<Level>,
    v6: Vec<Level>,
}

impl RouteTable {
    fn levels(&mut self, prefix: Prefix) -> &mut Vec<Level> {
        if prefix.is_ipv4() { &mut self.v4 } else { &mut self.v6 }
    }

    /// Adds a route; replaces the one to the same prefix.
    pub(super) fn insert(&mut self, prefix: Prefix, target: Target) {
        let levels = self.levels(prefix);
        let place = levels.partition_point(|level| level.length > prefix.length());
        if levels.get(place).is_none_or(|level| level.length != prefix.length()) {
            let level = Level { length: prefix.length(), mask: mask(prefix.length()), routes: BTreeMap::new() };
            levels.insert(place, level);
        }
        levels[place].routes.insert(bits(prefix.address()), target);
    }

    /// Removes the route to a prefix, if it leads to `target`.
    pub(super) fn remove(&mut self, prefix: Prefix, target: Target) {
        let levels = self.levels(prefix);
        let Some(place) = levels.iter().position(|level| level.length == prefix.length()) else { return };
        let key = bits(prefix.address());
        if levels[place].routes.get(&key) == Some(&target) {
            levels[place].routes.remove(&key);
        }
        if levels[place].routes.is_empty() {
            levels.remove(place);
        }
    }

    /// The route to an address.
    pub(super) fn lookup(&self, address: IpAddr) -> Option<Target> {
        let key = bits(address);
        let levels = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        levels.iter().find_map(|level| level.routes.get(&(key & level.mask)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins_and_removal_uncovers_the_next() {
        let mut table = RouteTable::default();
        let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
        let via = |number| Target::Via(InterfaceId(number));
        table.insert(Prefix::ALL_V4, via(0));
        table.insert(prefix("10.0.0.0/8"), via(1));
        table.insert(prefix("10.1.0.0/16"), via(2));
        table.insert(prefix("10.1.2.3/32"), Target::Local);
        let lookup = |table: &RouteTable, text: &str| table.lookup(text.parse().expect("an address"));
        assert_eq!(lookup(&table, "10.1.2.3"), Some(Target::Local));
        assert_eq!(lookup(&table, "10.1.2.4"), Some(via(2)));
        assert_eq!(lookup(&table, "10.2.0.1"), Some(via(1)));
        assert_eq!(lookup(&table, "192.0.2.1"), Some(via(0)));
        assert_eq!(lookup(&table, "2001:db8::1"), None);
        table.remove(prefix("10.1.0.0/16"), via(7));
        assert_eq!(lookup(&table, "10.1.2.4"), Some(via(2)));
        table.remove(prefix("10.1.0.0/16"), via(2));
        assert_eq!(lookup(&table, "10.1.2.4"), Some(via(1)));
    }
}
