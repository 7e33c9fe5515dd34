//! Who is no party to any connection: quinn drops what strangers send without a word, and somebody should count it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};

/// So many addresses are remembered, the latest: twice as many as clients may be connected.
const MOST_KNOWN: usize = 8_192;
/// The version of QUIC that is spoken (RFC 9000).
const VERSION: [u8; 4] = [0, 0, 0, 1];
/// Set in the first octet of a packet with a long header.
const LONG: u8 = 0x80;
/// Set in the first octet of every packet of that version.
const FIXED: u8 = 0x40;

/// Tells strangers' datagrams from those of connections, as far as can be seen without keys (RFC 8999): the former are no packets of
/// the version that is spoken, or come from where no connection was begun.
#[derive(Default)]
pub(super) struct Strangers {
    known: Mutex<Known>,
    tell: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct Known {
    addresses: BTreeSet<SocketAddr>,
    in_order: VecDeque<SocketAddr>,
}

impl Known {
    fn note(&mut self, address: SocketAddr) {
        if self.addresses.insert(address) {
            self.in_order.push_back(address);
        }
        if self.in_order.len() > MOST_KNOWN
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.addresses.remove(&oldest);
        }
    }
}

impl Strangers {
    /// Calls `tell` for every datagram of a stranger from now on. The first call counts.
    pub(super) fn tell(&self, tell: impl Fn() + Send + Sync + 'static) {
        // A second listener has nothing to hear: there is one entity behind a port.
        let _ = self.tell.set(Box::new(tell));
    }

    /// A datagram leaves.
    pub(super) fn sent(&self, to: SocketAddr, datagram: &[u8]) {
        if begins(datagram) {
            self.known().note(to);
        }
    }

    /// A datagram has come.
    pub(super) fn received(&self, from: SocketAddr, datagram: &[u8]) {
        if begins(datagram) {
            return self.known().note(from);
        }
        let is_packet = datagram.first().is_some_and(|first| first & LONG == 0 && first & FIXED != 0);
        // A server that does not speak the version that it was asked in says so under version 0.
        let is_negotiation =
            datagram.first().is_some_and(|first| first & LONG != 0) && version(datagram) == Some([0; 4]);
        let is_strange = !(is_packet || is_negotiation) || !self.known().addresses.contains(&from);
        if is_strange && let Some(tell) = self.tell.get() {
            tell();
        }
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this may belong to the beginning of a connection.
fn begins(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & LONG != 0 && first & FIXED != 0) && version(datagram) == Some(VERSION)
}

fn version(datagram: &[u8]) -> Option<[u8; 4]> {
    datagram.get(1..5)?.try_into().ok()
}

impl fmt::Debug for Strangers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Strangers(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn datagrams_of_no_connection_are_told_and_others_are_not() {
        let (strangers, told) = (Strangers::default(), Arc::new(AtomicU32::new(0)));
        let counter = Arc::clone(&told);
        strangers.tell(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let [client, server, nobody] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let (initial, short) = ([0xc0, 0, 0, 0, 1, 8], [0x41, 7, 7]);
        strangers.received(client, &initial);
        strangers.received(client, &short);
        strangers.sent(server, &initial);
        strangers.received(server, &short);
        strangers.received(server, &[0x80, 0, 0, 0, 0]);
        assert_eq!(told.load(Ordering::Relaxed), 0);
        strangers.sent(nobody, &short);
        for strange in [&[][..], &short, &[0x80, 0, 0, 0, 0], &[0xc0, 0, 0, 0, 2, 8], &[0x80, 0, 0, 0, 1], &[0xc0, 0]] {
            strangers.received(nobody, strange);
        }
        assert_eq!(told.load(Ordering::Relaxed), 6);
    }

    #[test]
    fn the_latest_are_remembered_and_no_more() {
        let strangers = Strangers::default();
        for port in 0..=u16::MAX {
            strangers.received(SocketAddr::from(([192, 0, 2, 1], port)), &[0xc0, 0, 0, 0, 1]);
        }
        let known = strangers.known();
        assert_eq!((known.addresses.len(), known.in_order.len()), (MOST_KNOWN, MOST_KNOWN));
        assert!(known.addresses.contains(&SocketAddr::from(([192, 0, 2, 1], u16::MAX))));
    }
}
