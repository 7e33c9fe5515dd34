//! What a killed node has left on its host, as it is told to whoever had it undone.

use std::fmt;

/// Something that was left, and is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remnant {
    /// The interface itself.
    Interface,
    /// Addresses of an interface that has outlived the node.
    Addresses,
    /// Routes to it.
    Routes,
    /// The node was whom the host's programs asked for names.
    Resolver,
}

impl fmt::Display for Remnant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interface => "the interface",
            Self::Addresses => "its addresses",
            Self::Routes => "its routes",
            Self::Resolver => "the host's resolver configuration",
        })
    }
}
