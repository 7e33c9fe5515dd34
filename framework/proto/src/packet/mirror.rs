//! A table of somebody else's that is kept in step with the tunnel table: the kernel's, where it carries the packets.
//!
//! **Invariant:** a tunnel that is mirrored seals nothing here. Its sequence numbers are the mirror's, and a key that two seal
//! under repeats nonces.

use super::settings::TunnelSettings;
use super::tunnel::{Counters, OutboundRefusal, Tunnel};
use crate::machine::PacketNotice;
use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Carries the packets of a table's tunnels in its place. It is told of every change when it has been made, by whoever makes
/// it, and must not wait; a tunnel is named by the SPI towards us that it was installed with.
pub trait Mirror: Send + Sync {
    /// A tunnel is there: packets of `spi_in` are opened under `incoming`, those of `spi_out` sealed under `outgoing`.
    fn installed(&self, settings: &TunnelSettings, incoming: &EspKey, outgoing: &EspKey);

    /// The tunnel takes packets of one more generation.
    fn accepts(&self, tunnel: Spi, spi: Spi, key: &EspKey);

    /// The tunnel seals its packets so from now on.
    fn sends(&self, tunnel: Spi, spi: Spi, key: &EspKey);

    /// The tunnel's outer packets go elsewhere from now on.
    fn moved(&self, tunnel: Spi, next_hop: SocketAddr);

    /// Applications' packets to this address take this tunnel from now on, or none.
    fn leads(&self, address: IpAddr, tunnel: Option<Spi>);

    /// Says something to the peer's control port through the tunnel, before it returns: the tunnel may end next. `false` where it
    /// cannot be said through this one.
    fn control(&self, tunnel: &TunnelSettings, message: &[u8]) -> bool;

    /// The tunnel has ended.
    fn removed(&self, tunnel: Spi);
}

/// What has passed through a mirrored tunnel since it was installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Applications' packets.
    pub applications: Counters,
    /// Authentic packets of every kind.
    pub received: u64,
    /// How many have come under the newest generation.
    pub newest_generation: u32,
    /// How many have been sealed under the present one.
    pub sealed: u32,
}

impl Tunnel {
    /// Says something to the peer's control port: returns what is to be sent where, or nothing where a mirror has said it.
    pub fn say(&self, message: &[u8]) -> Result<Option<(SocketAddr, Bytes)>, OutboundRefusal> {
        match &self.mirror.0 {
            Some(mirror) if mirror.control(self.settings(), message) => Ok(None),
            Some(_) => Err(OutboundRefusal::CarriedElsewhere),
            None => self.control(message).map(Some),
        }
    }

    /// A key under which a mirror seals is not to be used here too.
    pub(super) fn seals_here(&self) -> Result<(), OutboundRefusal> {
        if self.mirror.is_some() { Err(OutboundRefusal::CarriedElsewhere) } else { Ok(()) }
    }

    /// Takes note of what has passed through a mirrored tunnel: its mirror counts, and asks from time to time. What it tells is
    /// as exact as it asks often.
    pub fn note_passage(&self, now: Instant, passage: &Passage) -> Vec<PacketNotice> {
        let Passage { applications, received, newest_generation, sealed } = *passage;
        let state = self.state.load();
        state.sealer.advance(sealed);
        let is_more = |counter: &AtomicU64, now: u64| counter.fetch_max(now, Ordering::Relaxed) < now;
        let has_sent = is_more(&self.packets_out, applications.packets_out);
        let has_come = is_more(&self.packets_in, applications.packets_in);
        self.bytes_in.fetch_max(applications.bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_max(applications.bytes_out, Ordering::Relaxed);
        if has_sent || has_come {
            self.last_used.fetch_max(now.0, Ordering::Relaxed);
        }
        if is_more(&self.received_elsewhere, received) {
            self.last_received.fetch_max(now.0, Ordering::Relaxed);
            self.unanswered.store(0, Ordering::Relaxed);
        } else if has_sent && self.unanswered.load(Ordering::Relaxed) == 0 {
            self.unanswered.store(now.0.max(1), Ordering::Relaxed);
        }
        let Some(newest) = state.generations.first().filter(|_| newest_generation > 0) else { return Vec::new() };
        if newest.highest.fetch_max(newest_generation, Ordering::Relaxed) > 0 {
            return Vec::new();
        }
        vec![PacketNotice::Proved { tunnel: self.settings().spi_in }]
    }
}

/// A mirror, or none.
#[derive(Clone, Default)]
pub(super) struct MaybeMirror(pub(super) Option<Arc<dyn Mirror>>);

impl MaybeMirror {
    pub(super) fn tell(&self, tell: impl FnOnce(&dyn Mirror)) {
        if let Some(mirror) = &self.0 {
            tell(&**mirror);
        }
    }

    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}

impl fmt::Debug for MaybeMirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Mirror" } else { "no Mirror" })
    }
}
