//! The name service of a node with a virtual interface: the host's programs ask it for all names, it answers for the
//! network's nodes and passes everything else on, unchanged, to whom the host would have asked.
//!
//! | asked | answered |
//! | --- | --- |
//! | A or AAAA of a node | its virtual address, once the way to it stands; *server failure* if it cannot be had |
//! | HTTPS or SVCB of a node | no such record: what a program learns of a node's address it learns here |
//! | PTR of a virtual address | the node's name; *no such name* if nobody has it |
//! | anything else | what the host's own name servers say |
//!
//! **Only programs of this host are answered**: a query counts if it comes from a loopback address or from the very address
//! that it was sent to. So the listener may be a virtual address without becoming everybody's resolver.
//!
//! **Bounds**: so many queries under way, so many connections, so much time for each; beyond that datagrams are dropped and
//! connections closed, and programs ask again.
//!
//! [`Footprint`](crate::footprint::Footprint) leads the host's programs here, and knows whom the host would have asked.

mod query;
mod service;
mod upstream;

#[cfg(test)]
mod tests;

pub use service::NameService;

use futures::future::BoxFuture;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::name::Fqdn;
use std::net::IpAddr;
use std::time::Duration;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A node, which has these addresses here for at least so long.
    Node {
        /// Its addresses as this host knows them.
        addresses: VirtualAddresses,
        /// How long programs may keep them.
        lifetime: Duration,
    },
    /// A node that cannot be had now.
    Failed,
    /// Nothing of the network's.
    Elsewhere,
}

/// Whose an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A node's.
    Node(Fqdn),
    /// One of the network's that no node has that is known here.
    Nobody,
    /// None of the network's.
    Elsewhere,
}

/// The network's names. Programs wait for five seconds or so.
pub trait Names: Send + Sync {
    /// What a name stands for; a node's way is made ready before this completes.
    fn find(&self, name: Fqdn) -> BoxFuture<'static, Finding>;

    /// Whose an address is, as far as it is known without asking anybody.
    fn owner(&self, address: IpAddr) -> Owner;
}
