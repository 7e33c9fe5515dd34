//! Whose the entries of a table are that many share, so that whoever has the most makes room when it is full.

use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};

/// The entries of one table, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Shares {
    held: BTreeMap<Fqdn, BTreeSet<u64>>,
}

impl Shares {
    pub(super) fn add(&mut self, whose: &Fqdn, entry: u64) {
        self.held.entry(whose.clone()).or_default().insert(entry);
    }

    pub(super) fn remove(&mut self, whose: &Fqdn, entry: u64) {
        if let Some(entries) = self.held.get_mut(whose) {
            entries.remove(&entry);
            if entries.is_empty() {
                self.held.remove(whose);
            }
        }
    }

    /// Which entry makes room for one more of theirs in a full table: the newest of whoever has the most. `None` where they
    /// would then have as many themselves.
    pub(super) fn to_make_room_for(&self, whose: &Fqdn) -> Option<u64> {
        let own = self.held.get(whose).map_or(0, BTreeSet::len);
        let (_, most) = self.held.iter().max_by_key(|(_, entries)| entries.len())?;
        most.last().copied().filter(|_| own + 1 < most.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_the_most_makes_room_until_all_have_as_many() {
        let [many, few] = ["dc.u1.example", "dc.u2.example"].map(|name| Fqdn::parse(name).expect("a sound name"));
        let mut shares = Shares::default();
        (0..6).for_each(|entry| shares.add(&many, entry));
        let mut next = 6;
        while let Some(entry) = shares.to_make_room_for(&few) {
            shares.remove(&many, entry);
            shares.add(&few, next);
            next += 1;
        }
        assert_eq!(shares.held[&many], (0..3).collect());
        assert_eq!(shares.held[&few], (6..9).collect());
        assert_eq!(shares.to_make_room_for(&many), None);
    }
}
