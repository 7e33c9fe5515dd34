//! The host's own addresses: which are of use to others, which is best, and when that changes.
//!
//! **Usable** is an address of an interface that is up and has a carrier, unless it is a loopback, link-local or multicast
//! address, an IPv6 address that is not yet verified, failed to be or is about to go, or belongs to a virtual interface of
//! ours. Where ports are opened on chosen addresses, only those are.
//!
//! **Order**: first the address that the kernel would send from to the wide network, IPv6 before IPv4; then the others of
//! interfaces that lead there; then the rest.
//!
//! **Changes** are told by the kernel (netlink groups of links, addresses and routes of both families). A cable that is
//! plugged in makes many of them, so they are read once when they have been quiet for a tenth of a second, and only what makes
//! a difference is passed on: another set or order of addresses, or another way to the wide network. That takes less than a
//! second, but for carriers that come and go: of those the kernel itself tells at most once in a second.

mod snapshot;
mod watch;

use crate::net::NetOptions;
use futures::future::BoxFuture;
use snapshot::{Snapshot, View};
use std::io;
use std::net::IpAddr;
use thiserror::Error;
use watch::Watcher;

/// Why the host's addresses cannot be had.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The kernel does not answer.
    #[error("the host's addresses cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The kernel does not tell of changes.
    #[error("the host's addresses cannot be watched: {0}")]
    Watch(#[source] io::Error),
}

/// The addresses of the namespace in which it was made.
#[derive(Debug)]
pub(crate) struct Addresses {
    view: View,
    watcher: Watcher,
}

impl Addresses {
    /// Begins to watch: whatever changes from now on is told.
    pub(crate) fn watch(options: &NetOptions) -> Result<Self, ReadError> {
        let view = View::new(options);
        let watcher = Watcher::new(view.clone())?;
        Ok(Self { view, watcher })
    }

    /// The usable addresses now, the best first.
    pub(crate) fn now(&self) -> Vec<IpAddr> {
        match Snapshot::read(&self.view) {
            Ok(snapshot) => snapshot.addresses,
            Err(error) => {
                // The kernel answered when we were made; the next change tells whether it does again.
                tracing::warn!(%error, "the host's addresses cannot be read");
                Vec::new()
            }
        }
    }

    /// Completes when there have been more changes than `seen`.
    pub(crate) fn change(&self, seen: u64) -> BoxFuture<'static, u64> {
        self.watcher.change(seen)
    }
}
