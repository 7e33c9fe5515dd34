//! The simulated internet of one run, and what every entity takes from it: a host, a TLS end, a store.

use super::disks::{DiskError, Disks};
use super::keys::KeyRing;
use super::topology::{ROOT_SERVER, Topology};
use crate::scenario::Scenario;
use ntmobile_actors::events::Listener;
use ntmobile_actors::host::{Host, HostParts};
use ntmobile_actors::server::{DNS_PORT, TLS_PORT};
use ntmobile_actors::supervise::PanicPolicy;
use ntmobile_ports::certificate::{CertificateError, Identity, NetworkAuthority};
use ntmobile_ports::net::{Net, NetError};
use ntmobile_ports::quic::{TlsEndpoint, TlsOptions, TlsSetupError};
use ntmobile_ports::store::Store;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::time::UnixTime;
use ntmobile_sim::World;
use ntmobile_sim::ports::host::SimHost;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::name::{Fqdn, NameError};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// How long certificates of a world are valid: longer than any run.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Why an entity does not get what it needs of its world.
#[derive(Debug, Error)]
pub enum EquipmentError {
    /// A name in the scenario is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There is no such host.
    #[error("there is no host {0:?}")]
    NoHost(String),
    /// A port is taken.
    #[error("{host}: {source}")]
    Port {
        /// On which host.
        host: String,
        /// Why.
        source: NetError,
    },
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A TLS end cannot be opened.
    #[error(transparent)]
    Tls(#[from] TlsSetupError),
    /// A store cannot be opened.
    #[error(transparent)]
    Store(#[from] DiskError),
}

/// The internet of one run.
pub(super) struct Internet {
    pub(super) world: World,
    pub(super) topology: RefCell<Topology>,
    pub(super) recorder: Recorder,
    authority: NetworkAuthority,
    epoch: UnixTime,
    root_servers: Vec<SocketAddr>,
    /// A number for each certificate, so that each is another.
    serial: RefCell<u64>,
    /// What servers and nodes keep across a restart.
    pub(super) disks: Disks,
    /// Who hears of what servers and nodes tell, if anybody does.
    pub(super) listener: Option<Listener>,
    /// Where packet keys go, if anybody is to read the packets.
    pub(super) key_log: Option<Arc<KeyRing>>,
}

impl Internet {
    pub(super) fn new(
        scenario: &Scenario,
        world: World,
        topology: Topology,
        recorder: Recorder,
    ) -> Result<Self, EquipmentError> {
        let epoch = UnixTime(scenario.world.epoch);
        let mut seed = [0; 32];
        world.entropy("network authority").fill(&mut seed);
        let mut internet = Self {
            world,
            topology: RefCell::new(topology),
            recorder,
            authority: NetworkAuthority::from_seed(seed, epoch)?,
            epoch,
            root_servers: Vec::new(),
            serial: RefCell::new(1),
            disks: Disks::default(),
            listener: None,
            key_log: None,
        };
        let root = internet.addresses(ROOT_SERVER)?;
        internet.root_servers = root.into_iter().map(|address| SocketAddr::new(address, DNS_PORT)).collect();
        Ok(internet)
    }

    /// A host of the simulated internet.
    pub(super) fn machine(&self, name: &str) -> Result<SimHost, EquipmentError> {
        let topology = self.topology.borrow();
        let place = topology.host(name).ok_or_else(|| EquipmentError::NoHost(name.to_owned()))?;
        Ok(self.world.host(place.node))
    }

    /// The same host as entities see it; its resolver starts anew.
    pub(super) fn host(&self, name: &str) -> Result<Host, EquipmentError> {
        let world = self.world.clone();
        let host = Host::start(HostParts {
            name: name.into(),
            clock: Arc::new(self.world.clock()),
            net: Arc::new(self.machine(name)?),
            entropy: Arc::new(move |who| Box::new(world.entropy(who)) as Box<dyn Entropy + Send>),
            recorder: self.recorder.clone(),
            root_servers: self.root_servers.clone(),
            panics: PanicPolicy::FailRun,
        });
        Ok(match &self.listener {
            Some(listener) => host.with_listener(Arc::clone(listener)),
            None => host,
        })
    }

    /// The addresses of a host.
    pub(super) fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, EquipmentError> {
        Ok(self.machine(name)?.addresses())
    }

    /// One address of each family of a host, with a port.
    pub(super) fn dual_stack(&self, name: &str, port: u16) -> Result<DualStack, EquipmentError> {
        Ok(DualStack::of(&self.addresses(name)?, port))
    }

    /// A certificate with which its bearer plays this part under this name.
    pub(super) fn identity(&self, name: &str, role: CertificateRole) -> Result<Identity, EquipmentError> {
        let mut serial = self.serial.borrow_mut();
        *serial += 1;
        Ok(self.authority.issue(&Fqdn::parse(name)?, role, *serial, self.epoch, CERTIFICATE_LIFETIME)?)
    }

    /// The TLS end of a server, on the port where everybody looks for it.
    pub(super) fn server_tls(
        &self,
        name: &str,
        role: CertificateRole,
        host: &Host,
    ) -> Result<Arc<TlsEndpoint>, EquipmentError> {
        self.tls(name, host, TLS_PORT, Some(self.identity(name, role)?), true)
    }

    /// The TLS end of a node: it calls, and shows a certificate if it has one.
    pub(super) fn node_tls(
        &self,
        name: &str,
        host: &Host,
        identity: Option<Identity>,
    ) -> Result<Arc<TlsEndpoint>, EquipmentError> {
        self.tls(name, host, 0, identity, false)
    }

    fn tls(
        &self,
        name: &str,
        host: &Host,
        port: u16,
        identity: Option<Identity>,
        serve: bool,
    ) -> Result<Arc<TlsEndpoint>, EquipmentError> {
        let port =
            host.net().bind_udp(port).map_err(|source| EquipmentError::Port { host: name.to_owned(), source })?;
        let options = TlsOptions { serve, ..TlsOptions::default() };
        let crypto = self.world.tls_crypto(name);
        let trust = self.authority.trust()?;
        let endpoint = TlsEndpoint::new(port, Arc::clone(host.clock()), identity, trust, crypto, options)?;
        let (recorder, name) = (host.recorder().clone(), Arc::clone(host.name()));
        endpoint.tell_strangers(move || recorder.count(&name, "tls.stranger", 1));
        Ok(Arc::new(endpoint))
    }

    /// The store of a server: what it kept is there again after a restart.
    pub(super) async fn server_store(&self, name: &str, plugin: &str) -> Result<Arc<dyn Store>, EquipmentError> {
        match plugin {
            "sled" => Ok(self.disks.sled_store(name).await?),
            _ => Ok(self.disks.memory_store(name)),
        }
    }

    /// A host's power goes out: every socket dies without a word, and nothing more is written.
    pub(super) fn crash(&self, name: &str) -> Result<(), EquipmentError> {
        self.machine(name)?.crash();
        self.disks.power_off(name);
        Ok(())
    }
}
