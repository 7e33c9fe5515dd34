//! How much a machine holds: the size of each of its tables, for metrics and for whoever wants to see that memory is bounded.

use std::collections::BTreeMap;

/// The number of entries of each table, by the table's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes(BTreeMap<&'static str, usize>);

impl Sizes {
    /// Adds a table.
    #[must_use]
    pub fn with(mut self, table: &'static str, entries: usize) -> Self {
        self.0.insert(table, entries);
        self
    }

    /// Adds the tables of a part.
    #[must_use]
    pub fn join(mut self, part: Self) -> Self {
        self.0.extend(part.0);
        self
    }

    /// The number of entries of a table; 0 for one that the machine does not have.
    pub fn of(&self, table: &str) -> usize {
        self.0.get(table).copied().unwrap_or_default()
    }

    /// Every table with its number of entries, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, usize)> {
        self.0.iter().map(|(table, entries)| (*table, *entries))
    }
}
