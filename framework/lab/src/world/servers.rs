//! The servers of a world: AS, and for each domain its DC, RSs and NSs. Each is started from its store, at the beginning and
//! again after it has failed.

use super::credentials::{Credentials, CredentialsError};
use super::internet::{EquipmentError, Internet};
use super::nodes::choices;
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use crate::scenario::units::parse_prefix;
use ntmobile_actors::account_server::AccountServerParts;
use ntmobile_actors::direction_coordinator::{self, CoordinatorEntity};
use ntmobile_actors::driver::{Driven, Handle};
use ntmobile_actors::server::{NOTIFICATION_PORT, SIGNALLING_PORT, ServerParts, StartError, TLS_PORT};
use ntmobile_actors::{account_server, notification_server, relay_server};
use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::direction_coordinator::{DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::notification_server::{NotificationServer, NotificationServerConfig};
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_proto::shared_keys::Coordinators;
use ntmobile_proto::sizes::Sizes;
use ntmobile_strategies::{Registry, UnknownStrategy};
use ntmobile_wire::key::Secret;
use ntmobile_wire::name::Fqdn;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use thiserror::Error;

/// Why a server cannot be started.
#[derive(Debug, Error)]
pub enum ServerError {
    /// It lacks something.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The AS has no accounts.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// A strategy is unknown.
    #[error(transparent)]
    Strategy(#[from] UnknownStrategy),
    /// There is no such server.
    #[error("there is no server {0:?}")]
    NoServer(String),
}

/// A server that runs; it stops when this is dropped.
enum Running {
    Account(Handle<AccountServer>),
    Coordinator(CoordinatorEntity),
    Relay(Handle<RelayServer>),
    Notification(Handle<NotificationServer>),
}

impl Running {
    fn weigh(&self) -> Weighing {
        match self {
            Self::Account(handle) => weighing(handle),
            Self::Coordinator(coordinator) => weighing(&coordinator.handle),
            Self::Relay(handle) => weighing(handle),
            Self::Notification(handle) => weighing(handle),
        }
    }
}

/// What will be known of how much a machine holds.
type Weighing = Pin<Box<dyn Future<Output = Option<Sizes>>>>;

fn weighing<M: Driven>(handle: &Handle<M>) -> Weighing {
    let handle = handle.clone();
    Box::pin(async move { handle.sizes().await })
}

/// All servers.
pub(super) struct Servers {
    scenario: Rc<Scenario>,
    internet: Rc<Internet>,
    credentials: Rc<Credentials>,
    /// The seed of the network's voucher key: the AS's, whichever of its lives it is in.
    voucher_seed: Secret,
    drawn_prefixes: BTreeMap<String, Ipv6Addr>,
    running: RefCell<BTreeMap<String, Running>>,
}

impl Servers {
    /// Starts all of them.
    pub(super) async fn start(
        scenario: Rc<Scenario>,
        internet: Rc<Internet>,
        credentials: Rc<Credentials>,
    ) -> Result<Rc<Self>, ServerError> {
        let voucher_seed = Secret::draw(&mut internet.world.entropy("voucher key"));
        let drawn_prefixes = draw_prefixes(&scenario, &internet);
        let running = RefCell::default();
        let servers = Rc::new(Self { scenario, internet, credentials, voucher_seed, drawn_prefixes, running });
        for name in servers.scenario.servers() {
            servers.start_one(&name).await?;
        }
        Ok(servers)
    }

    /// Its power goes out: it forgets what it has not stored, and tells nobody.
    pub(super) fn fail(&self, name: &str) -> Result<(), ServerError> {
        self.internet.crash(&self.full_name(name))?;
        self.running.borrow_mut().remove(name);
        Ok(())
    }

    /// It starts again from its store.
    pub(super) async fn restart(&self, name: &str) -> Result<(), ServerError> {
        if self.running.borrow().contains_key(name) {
            self.fail(name)?;
        }
        self.internet.machine(&self.full_name(name))?.restart();
        self.start_one(name).await
    }

    /// Something else on its host fills the disk, or is removed again.
    pub(super) fn set_disk_full(&self, name: &str, is_full: bool) -> Result<(), ServerError> {
        let filled = self.internet.disks.set_full(&self.full_name(name), is_full);
        Ok(filled.map_err(EquipmentError::from)?)
    }

    /// How much each of those that run holds.
    pub(super) async fn sizes(&self) -> BTreeMap<String, Sizes> {
        let weighing: Vec<_> =
            self.running.borrow().iter().map(|(name, running)| (name.clone(), running.weigh())).collect();
        let mut sizes = BTreeMap::new();
        for (name, weighing) in weighing {
            sizes.extend(weighing.await.map(|weighed| (name, weighed)));
        }
        sizes
    }

    fn full_name(&self, name: &str) -> String {
        if name == "as" { self.scenario.account_server_name() } else { name.to_owned() }
    }

    async fn start_one(&self, name: &str) -> Result<(), ServerError> {
        let running = match name.split_once('.') {
            None => Running::Account(self.account_server().await?),
            Some(("dc", domain)) => Running::Coordinator(self.coordinator(name, domain).await?),
            Some((server, domain)) if server.starts_with("rs") => Running::Relay(self.relay(name, domain).await?),
            Some((server, domain)) if server.starts_with("ns") => {
                Running::Notification(self.notification(name, domain).await?)
            }
            Some(_) => return Err(ServerError::NoServer(name.to_owned())),
        };
        self.running.borrow_mut().insert(name.to_owned(), running);
        Ok(())
    }

    /// What every server is given.
    async fn parts(
        &self,
        (name, role): (&str, CertificateRole),
        storage: &str,
    ) -> Result<(ServerParts, ntmobile_actors::host::Host), EquipmentError> {
        let host = self.internet.host(name)?;
        let tls = self.internet.server_tls(name, role, &host)?;
        let store = self.internet.server_store(name, storage).await?;
        Ok((ServerParts { signalling_port: SIGNALLING_PORT, tls, store }, host))
    }

    async fn account_server(&self) -> Result<Handle<AccountServer>, ServerError> {
        let name = self.scenario.account_server_name();
        let (parts, host) =
            self.parts((&name, CertificateRole::AccountServer), self.scenario.at_account_server(Kind::Storage)).await?;
        let authenticators = self.credentials.authenticators(&self.scenario, Arc::clone(&parts.store)).await?;
        let own = AccountServerParts { name: fqdn(&name)?, voucher_seed: self.voucher_seed.clone(), authenticators };
        Ok(account_server::start(AccountServerConfig::default(), own, parts, host).await?)
    }

    async fn coordinator(&self, name: &str, domain: &str) -> Result<CoordinatorEntity, ServerError> {
        let (parts, host) = self.parts((name, CertificateRole::DirectionCoordinator), self.storage(domain)).await?;
        let account_server = fqdn(&self.scenario.account_server_name())?;
        let zone_name = fqdn(domain)?;
        let chosen = choices(&self.scenario, |kind| self.scenario.at_domain(kind, domain));
        let strategies = Registry::builtin().choose(&chosen)?;
        let prefixes = (self.virtual_ipv4(&zone_name), self.virtual_ipv6(domain));
        let mut config =
            DirectionCoordinatorConfig::new(fqdn(name)?, zone_name, account_server.clone(), prefixes, strategies);
        for server in self.scenario.servers().iter().filter(|server| server.ends_with(&format!(".{domain}"))) {
            let own = self.own_server(server)?;
            match server.get(..2) {
                Some("rs") => config.relays.push(own),
                Some("ns") => config.notification_servers.push(own),
                _ => {}
            }
        }
        let addresses = self.internet.addresses(account_server.as_str())?;
        let zone = direction_coordinator::zone(&config, (SIGNALLING_PORT, TLS_PORT), host.net().addresses())
            .with_account_server(&account_server, &addresses, TLS_PORT);
        Ok(direction_coordinator::start(config, zone, parts, Box::new(|_event| {}), host).await?)
    }

    fn own_server(&self, name: &str) -> Result<OwnServer, EquipmentError> {
        Ok(OwnServer {
            name: fqdn(name)?,
            signalling: self.internet.dual_stack(name, SIGNALLING_PORT)?,
            tls: self.internet.dual_stack(name, TLS_PORT)?,
            notification: self.internet.dual_stack(name, NOTIFICATION_PORT)?,
        })
    }

    async fn relay(&self, name: &str, domain: &str) -> Result<Handle<RelayServer>, ServerError> {
        let (parts, host) = self.parts((name, CertificateRole::RelayServer), self.storage(domain)).await?;
        let mut config = RelayServerConfig::new(fqdn(name)?);
        config.coordinators = only_the_coordinator_of(domain)?;
        Ok(relay_server::start(config, parts, host).await?)
    }

    async fn notification(&self, name: &str, domain: &str) -> Result<Handle<NotificationServer>, ServerError> {
        let (parts, host) = self.parts((name, CertificateRole::NotificationServer), self.storage(domain)).await?;
        let mut config = NotificationServerConfig::new(fqdn(name)?);
        config.coordinators = only_the_coordinator_of(domain)?;
        Ok(notification_server::start(config, NOTIFICATION_PORT, parts, host).await?)
    }

    fn storage(&self, domain: &str) -> &str {
        self.scenario.at_domain(Kind::Storage, domain).unwrap_or_else(|| Kind::Storage.default_name())
    }

    /// The domain's virtual IPv4 prefix: as the scenario says, or the /20 of 100.64.0.0/10 that its name hashes to.
    fn virtual_ipv4(&self, domain: &Fqdn) -> (Ipv4Addr, u8) {
        let chosen = self.scenario.domain.get(domain.as_str()).and_then(|table| table.virtual_ipv4.as_deref());
        chosen.and_then(parse_prefix).unwrap_or_else(|| direction_coordinator::default_virtual_ipv4(domain))
    }

    /// The domain's virtual IPv6 /64: as the scenario says, or the one of RFC 4193 that was drawn for it.
    fn virtual_ipv6(&self, domain: &str) -> Ipv6Addr {
        let chosen = self.scenario.domain.get(domain).and_then(|table| table.virtual_ipv6.as_deref());
        let chosen: Option<(Ipv6Addr, u8)> = chosen.and_then(parse_prefix);
        chosen.map_or_else(|| self.drawn_prefixes[domain], |(address, _)| address)
    }
}

/// A /64 of a random /48 for each domain (RFC 4193).
fn draw_prefixes(scenario: &Scenario, internet: &Internet) -> BTreeMap<String, Ipv6Addr> {
    let prefix = |domain: &String| {
        direction_coordinator::draw_virtual_ipv6(&mut internet.world.entropy(&format!("{domain} virtual prefix")))
    };
    scenario.domain.keys().map(|domain| (domain.clone(), prefix(domain))).collect()
}

fn fqdn(text: &str) -> Result<Fqdn, EquipmentError> {
    Ok(Fqdn::parse(text)?)
}

/// A domain's RSs and NSs work for its own DC: nodes that log in with a certificate hold one of the same authority.
fn only_the_coordinator_of(domain: &str) -> Result<Coordinators, EquipmentError> {
    let coordinator = fqdn(&format!("dc.{domain}"))?;
    Ok(Coordinators { admitted: Some(BTreeSet::from([coordinator])), ..Coordinators::default() })
}
