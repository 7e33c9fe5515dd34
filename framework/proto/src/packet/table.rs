//! The tunnel table: which tunnel a packet belongs to. Signalling replaces the whole table when it changes one tunnel; the
//! packet path reads whatever table is there, and waits for nobody.

use super::inner::InnerHeader;
use super::key_log::{KeyLog, MaybeLog};
use super::mirror::{MaybeMirror, Mirror};
use super::settings::TunnelSettings;
use super::tunnel::{Inbound, InboundRefusal, OutboundRefusal, Tunnel};
use crate::time::Instant;
use arc_swap::ArcSwap;
use bytes::Bytes;
use ntmobile_wire::datagram::{Datagram, classify, encode_source_unknown};
use ntmobile_wire::esp::UnknownSuite;
use ntmobile_wire::identifier::{ApplicationId, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::SourceUnknown;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;

/// Why a tunnel was not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InstallError {
    /// Another tunnel has the identifier of `spi_in`: the DC should draw again.
    #[error("the {0:?} is in use")]
    SpiInUse(Spi),
    /// The cipher suite is not known.
    #[error(transparent)]
    Suite(#[from] UnknownSuite),
}

/// *Source Unknown* is sent at most this often.
const ANSWER_INTERVAL: Duration = Duration::from_millis(200);

/// One state of the table.
#[derive(Clone, Debug, Default)]
struct Snapshot {
    /// Every tunnel, by the identifier of the SPI towards us, which is the same in all generations.
    by_identifier: BTreeMap<u32, Arc<Tunnel>>,
    /// The tunnels that applications' packets may take, by the peer's address; the newest last.
    by_address: BTreeMap<IpAddr, Vec<Arc<Tunnel>>>,
    /// Whether a peer has tunnels of several applications.
    is_ambiguous: bool,
}

impl Snapshot {
    /// What applications call the ends of this tunnel.
    fn addresses(tunnel: &Tunnel) -> [IpAddr; 2] {
        let settings = tunnel.settings();
        [settings.alias.unwrap_or(settings.remote.v4).into(), settings.remote.v6.into()]
    }

    /// Looks whether an address alone says which tunnel is meant.
    fn look(&mut self) {
        let application = |tunnel: &Arc<Tunnel>| tunnel.settings().application;
        let differ =
            |tunnels: &Vec<Arc<Tunnel>>| tunnels.iter().any(|other| application(other) != application(&tunnels[0]));
        self.is_ambiguous = self.by_address.values().any(differ);
    }

    /// Takes the tunnel off the ways out.
    fn deactivate(&mut self, tunnel: &Arc<Tunnel>) {
        for address in Self::addresses(tunnel) {
            if let Some(tunnels) = self.by_address.get_mut(&address) {
                tunnels.retain(|other| !Arc::ptr_eq(other, tunnel));
                if tunnels.is_empty() {
                    self.by_address.remove(&address);
                }
            }
        }
    }
}

/// The tunnels of one endpoint.
#[derive(Debug)]
pub struct TunnelTable {
    /// What the endpoint's process calls itself where it answers for a tunnel that it does not have.
    session: Session,
    /// When *Source Unknown* may be sent next, in nanoseconds.
    answer_from: AtomicU64,
    snapshot: ArcSwap<Snapshot>,
    /// Held by whoever makes the next snapshot.
    writing: Mutex<()>,
    log: Mutex<MaybeLog>,
    mirror: Mutex<MaybeMirror>,
}

impl Default for TunnelTable {
    fn default() -> Self {
        Self::of(Session(0))
    }
}

impl TunnelTable {
    /// A table without tunnels.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of a process of this session.
    pub fn of(session: Session) -> Self {
        let answer_from = AtomicU64::new(0);
        let (snapshot, writing) = (ArcSwap::default(), Mutex::default());
        Self { session, answer_from, snapshot, writing, log: Mutex::default(), mirror: Mutex::default() }
    }

    /// Tells the keys of every tunnel that is installed from now on.
    pub fn log_keys(&self, log: Arc<dyn KeyLog>) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = MaybeLog(Some(log));
    }

    /// Has every tunnel that is installed from now on carried by somebody else.
    pub fn mirror(&self, mirror: Arc<dyn Mirror>) {
        *self.mirror.lock().unwrap_or_else(PoisonError::into_inner) = MaybeMirror(Some(mirror));
    }

    fn mirrored(&self) -> MaybeMirror {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the mirror which tunnel leads to this one's peer now.
    fn tell_ways(&self, tunnel: &Tunnel) {
        self.mirrored().tell(|mirror| {
            for address in Snapshot::addresses(tunnel) {
                mirror.leads(address, self.towards(address).map(|tunnel| tunnel.settings().spi_in));
            }
        });
    }

    /// Accepts what comes through a new tunnel under `k_mncn`. Nothing goes out through it until [`TunnelTable::activate`].
    pub fn install(
        &self,
        now: Instant,
        settings: TunnelSettings,
        k_mncn: &Secret,
    ) -> Result<Arc<Tunnel>, InstallError> {
        let spi = settings.spi_in;
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.change(|snapshot| {
            if snapshot.by_identifier.contains_key(&spi.identifier()) {
                return Err(InstallError::SpiInUse(spi));
            }
            let tunnel = Arc::new(Tunnel::new(now, settings, k_mncn, log, self.mirrored())?);
            snapshot.by_identifier.insert(spi.identifier(), Arc::clone(&tunnel));
            Ok(tunnel)
        })
    }

    /// Lets applications' packets go out through the tunnel, before all others to the same peer.
    pub fn activate(&self, tunnel: &Arc<Tunnel>) {
        self.change(|snapshot| {
            snapshot.deactivate(tunnel);
            if snapshot.by_identifier.contains_key(&tunnel.settings().spi_in.identifier()) {
                for address in Snapshot::addresses(tunnel) {
                    snapshot.by_address.entry(address).or_default().push(Arc::clone(tunnel));
                }
            }
        });
        self.tell_ways(tunnel);
    }

    /// Ends a tunnel in both directions.
    pub fn remove(&self, tunnel: &Arc<Tunnel>) {
        let spi_in = tunnel.settings().spi_in;
        let is_gone = self.change(|snapshot| {
            snapshot.deactivate(tunnel);
            let identifier = spi_in.identifier();
            let is_there = snapshot.by_identifier.get(&identifier).is_some_and(|other| Arc::ptr_eq(other, tunnel));
            if is_there {
                snapshot.by_identifier.remove(&identifier);
            }
            is_there
        });
        if is_gone {
            self.tell_ways(tunnel);
            self.mirrored().tell(|mirror| mirror.removed(spi_in));
        }
    }

    /// Whether a tunnel has this identifier already.
    pub fn is_in_use(&self, spi: Spi) -> bool {
        self.snapshot.load().by_identifier.contains_key(&spi.identifier())
    }

    /// The tunnel that receives under this SPI, whatever the generation.
    pub fn receiving(&self, spi: Spi) -> Option<Arc<Tunnel>> {
        self.snapshot.load().by_identifier.get(&spi.identifier()).cloned()
    }

    /// How many tunnels there are.
    pub fn len(&self) -> usize {
        self.snapshot.load().by_identifier.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every tunnel, ordered by identifier.
    pub fn tunnels(&self) -> Vec<Arc<Tunnel>> {
        self.snapshot.load().by_identifier.values().cloned().collect()
    }

    /// The tunnel that a packet to this address takes.
    pub fn towards(&self, destination: IpAddr) -> Option<Arc<Tunnel>> {
        self.snapshot.load().by_address.get(&destination)?.last().cloned()
    }

    /// The same, for a packet to one of the peer's applications; the newest where that application has none.
    pub fn towards_application(&self, destination: IpAddr, application: ApplicationId) -> Option<Arc<Tunnel>> {
        let snapshot = self.snapshot.load();
        let tunnels = snapshot.by_address.get(&destination)?;
        tunnels.iter().rfind(|tunnel| tunnel.settings().application == application).or(tunnels.last()).cloned()
    }

    /// Whether several applications of one peer have tunnels, so that an answer has to take the one that its question came by
    /// ([`Flows`](super::Flows)).
    pub fn is_ambiguous(&self) -> bool {
        self.snapshot.load().is_ambiguous
    }

    /// Whether several applications of the peer with this address have tunnels.
    pub fn is_ambiguous_towards(&self, destination: IpAddr) -> bool {
        let snapshot = self.snapshot.load();
        let tunnels = snapshot.by_address.get(&destination).map_or(&[][..], Vec::as_slice);
        tunnels.iter().any(|other| other.settings().application != tunnels[0].settings().application)
    }

    /// Seals an application's packet; returns where it goes.
    pub fn outbound(&self, now: Instant, packet: &[u8]) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        self.send(now, packet, |_| true)
    }

    /// The same, for a packet to one of the peer's applications: an answer takes the tunnel that the question came by.
    pub fn outbound_to(
        &self,
        now: Instant,
        application: ApplicationId,
        packet: &[u8],
    ) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        self.send(now, packet, |tunnel| tunnel.settings().application == application)
    }

    fn send(
        &self,
        now: Instant,
        packet: &[u8],
        suits: impl Fn(&Tunnel) -> bool,
    ) -> Result<(SocketAddr, Bytes), OutboundRefusal> {
        let header = InnerHeader::parse(packet).ok_or(OutboundRefusal::Malformed)?;
        let snapshot = self.snapshot.load();
        let tunnels = snapshot.by_address.get(&header.destination).map_or(&[][..], Vec::as_slice);
        let tunnel = tunnels.iter().rfind(|tunnel| suits(tunnel));
        tunnel.ok_or(OutboundRefusal::NoTunnel(header.destination))?.outbound(now, &header, packet)
    }

    /// Opens an ESP packet. The tunnel is found by its SPI alone, wherever it comes from.
    pub fn inbound(&self, now: Instant, from: SocketAddr, datagram: Bytes) -> Result<Inbound, InboundRefusal> {
        let Datagram::Esp(spi) = classify(&datagram) else { return Err(InboundRefusal::Malformed) };
        let snapshot = self.snapshot.load();
        let tunnel = snapshot.by_identifier.get(&spi.identifier()).ok_or(InboundRefusal::UnknownSpi(spi))?;
        tunnel.inbound(now, from, spi, datagram)
    }

    /// What to answer to an ESP packet of so many octets whose SPI no tunnel has: its sender may be left over from a process
    /// before this one, and would go on for ever. Nothing where that is said too often, or in more octets than came.
    pub fn source_unknown(&self, now: Instant, spi: Spi, octets: usize) -> Option<Bytes> {
        if self.is_in_use(spi) {
            // Of a generation that has ended: an answer would only make its sender ask in the one that has not.
            return None;
        }
        let answer = encode_source_unknown(Transaction(0), self.session, &SourceUnknown { spi });
        if answer.len() > octets {
            return None;
        }
        let next = (now + ANSWER_INTERVAL).0;
        let is_time = |from: u64| (from <= now.0).then_some(next);
        self.answer_from.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_time).is_ok().then_some(answer)
    }

    /// Makes the next snapshot from the present one.
    fn change<T>(&self, change: impl FnOnce(&mut Snapshot) -> T) -> T {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.snapshot.load());
        let result = change(&mut next);
        next.look();
        self.snapshot.store(Arc::new(next));
        result
    }
}
