//! The relay table: an RS forwards ESP packets by their SPI, without any key, between two legs that have proved their
//! addresses.
//!
//! An address changes by a message authenticated under K_tun, never by an ESP packet, and nothing is sent to an address
//! that has not proved itself: so nobody turns a relay against a third party.

use crate::time::Instant;
use ntmobile_wire::datagram::{Datagram, classify};
use ntmobile_wire::identifier::Spi;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

/// *Source Unknown* is sent for one leg at most this often.
const ANSWER_INTERVAL: Duration = Duration::from_millis(200);

/// What has been forwarded towards one leg.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LegCounters {
    /// Packets.
    pub packets: u64,
    /// Octets of outer UDP payload.
    pub bytes: u64,
}

/// One end's side of a relayed tunnel.
#[derive(Debug)]
struct Leg {
    /// SPI of packets towards this end.
    spi: Spi,
    /// Where this end is, once proved.
    address: Mutex<Option<SocketAddr>>,
    packets: AtomicU64,
    bytes: AtomicU64,
    /// When *Source Unknown* may be sent next on behalf of this leg, in nanoseconds.
    answer_from: AtomicU64,
}

impl Leg {
    fn new(spi: Spi) -> Self {
        Self {
            spi,
            address: Mutex::new(None),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            answer_from: AtomicU64::new(0),
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        *self.address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether *Source Unknown* may be sent now; if so, not again for a while.
    fn may_answer(&self, now: Instant) -> bool {
        let next = (now + ANSWER_INTERVAL).0;
        self.answer_from
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |from| (from <= now.0).then_some(next))
            .is_ok()
    }
}

/// A relayed tunnel: two legs.
#[derive(Debug)]
pub struct Relay {
    legs: [Leg; 2],
    last_used: AtomicU64,
}

impl Relay {
    /// When a packet was last forwarded, or the relay was installed.
    pub fn last_used(&self) -> Instant {
        Instant(self.last_used.load(Ordering::Relaxed))
    }

    /// Where the end is that packets of `spi` go to, once it has proved it.
    pub fn address(&self, spi: Spi) -> Option<SocketAddr> {
        self.towards(spi).address()
    }

    /// What has been forwarded towards the end that packets of `spi` go to.
    pub fn counters(&self, spi: Spi) -> LegCounters {
        let leg = self.towards(spi);
        LegCounters { packets: leg.packets.load(Ordering::Relaxed), bytes: leg.bytes.load(Ordering::Relaxed) }
    }

    fn towards(&self, spi: Spi) -> &Leg {
        let [first, second] = &self.legs;
        if first.spi.identifier() == spi.identifier() { first } else { second }
    }

    /// The leg that packets of `spi` come from.
    fn behind(&self, spi: Spi) -> &Leg {
        let [first, second] = &self.legs;
        if first.spi.identifier() == spi.identifier() { second } else { first }
    }
}

/// Why a packet was dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is not an ESP packet.
    Malformed,
    /// No tunnel that is relayed here has its SPI.
    UnknownSpi,
    /// The end it goes to has not proved its address yet.
    NoLeg,
    /// Its source is unknown, and that was said a moment ago.
    AnsweredAlready,
}

/// What to do with an ESP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// Send it there as it is.
    To(SocketAddr),
    /// Drop it and send *Source Unknown* for this SPI back to where it came from.
    SourceUnknown(Spi),
    /// Drop it.
    Drop(Dropped),
}

/// The tunnels that an RS relays. Entries come and go with every negotiation, so they are changed in place; a reader holds
/// the lock for one look-up.
#[derive(Debug, Default)]
pub struct RelayTable {
    by_identifier: RwLock<BTreeMap<u32, Arc<Relay>>>,
}

impl RelayTable {
    /// A table without relays.
    pub fn new() -> Self {
        Self::default()
    }

    /// Installs a relay between the ends that `spi_mn` and `spi_cn` lead to; `None` if one of them is in use, or they are
    /// the same.
    pub fn install(&self, now: Instant, spi_mn: Spi, spi_cn: Spi) -> Option<Arc<Relay>> {
        let mut table = self.by_identifier.write().unwrap_or_else(PoisonError::into_inner);
        let identifiers = [spi_mn.identifier(), spi_cn.identifier()];
        if identifiers[0] == identifiers[1] || identifiers.iter().any(|identifier| table.contains_key(identifier)) {
            return None;
        }
        let relay = Relay { legs: [Leg::new(spi_mn), Leg::new(spi_cn)], last_used: AtomicU64::new(now.0) };
        let relay = Arc::new(relay);
        for identifier in identifiers {
            table.insert(identifier, Arc::clone(&relay));
        }
        Some(relay)
    }

    /// Notes that the end which packets of `spi` go to has proved this address under K_tun; `false` if there is no such
    /// relay.
    pub fn prove(&self, spi: Spi, address: SocketAddr) -> bool {
        let Some(relay) = self.get(spi) else { return false };
        *relay.towards(spi).address.lock().unwrap_or_else(PoisonError::into_inner) = Some(address);
        true
    }

    /// Removes the relay that has `spi` on either leg.
    pub fn remove(&self, spi: Spi) {
        let mut table = self.by_identifier.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(relay) = table.remove(&spi.identifier()) {
            table.remove(&relay.behind(spi).spi.identifier());
        }
    }

    /// The relay that has `spi` on either leg.
    pub fn get(&self, spi: Spi) -> Option<Arc<Relay>> {
        self.by_identifier.read().unwrap_or_else(PoisonError::into_inner).get(&spi.identifier()).cloned()
    }

    /// How many tunnels are relayed.
    pub fn len(&self) -> usize {
        self.by_identifier.read().unwrap_or_else(PoisonError::into_inner).len() / 2
    }

    /// Whether none is relayed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides what becomes of an ESP packet.
    pub fn relay(&self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Relayed {
        let Datagram::Esp(spi) = classify(datagram) else { return Relayed::Drop(Dropped::Malformed) };
        self.relay_train(now, from, spi, 1, datagram.len() as u64)
    }

    /// Decides what becomes of `packets` packets of `bytes` octets in all that have come together and bear the same SPI.
    pub fn relay_train(&self, now: Instant, from: SocketAddr, spi: Spi, packets: u64, bytes: u64) -> Relayed {
        let Some(relay) = self.get(spi) else { return Relayed::Drop(Dropped::UnknownSpi) };
        let sender = relay.behind(spi);
        if sender.address() != Some(from) {
            return if sender.may_answer(now) {
                Relayed::SourceUnknown(spi)
            } else {
                Relayed::Drop(Dropped::AnsweredAlready)
            };
        }
        let receiver = relay.towards(spi);
        let Some(to) = receiver.address() else { return Relayed::Drop(Dropped::NoLeg) };
        relay.last_used.fetch_max(now.0, Ordering::Relaxed);
        receiver.packets.fetch_add(packets, Ordering::Relaxed);
        receiver.bytes.fetch_add(bytes, Ordering::Relaxed);
        Relayed::To(to)
    }
}
