//! The entity that a file describes, composed on the host's ports.

use super::{ServeError, ServerFile, admin};
use crate::accounts::{Office, from_hex, to_hex};
use crate::carriage;
use crate::equipment::Equipment;
use crate::files::{self, FileError, Present, Readers};
use crate::settings::{AccountServerFile, CoordinatorFile, NamesFile, NotificationServerFile, RelayServerFile};
use ntmobile_actors::account_server::AccountServerParts;
use ntmobile_actors::direction_coordinator::{self, CoordinatorEntity};
use ntmobile_actors::dns::ZoneRecords;
use ntmobile_actors::driver::Handle;
use ntmobile_actors::name_server::NameServer;
use ntmobile_actors::relay_server::{self, ForwardBy, RelayPort};
use ntmobile_actors::server::StartError;
use ntmobile_actors::{account_server, notification_server};
use ntmobile_auth_plugins::{AccountBook, Ingredients, Registry};
use ntmobile_net::entropy::SystemEntropy;
use ntmobile_net::packet_path::{PacketPath, PathError};
use ntmobile_ports::net::Net;
use ntmobile_proto::account_server::AccountServer;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::direction_coordinator::DirectionCoordinatorConfig;
use ntmobile_proto::notification_server::NotificationServer;
use ntmobile_proto::relay_server::RelayServer;
use ntmobile_wire::key::Secret;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The file in an AS's state directory with the seed of the network's voucher key.
const VOUCHER_SEED: &str = "voucher-seed";
/// The file in a DC's state directory with the virtual prefix that was drawn for its domain.
const VIRTUAL_IPV6: &str = "virtual-ipv6";

/// A server that runs; it stops when this is dropped.
pub(super) enum Entity {
    Account { handle: Handle<AccountServer>, office: Task },
    Coordinator { entity: Rc<CoordinatorEntity>, zone: Task },
    Relay { handle: Handle<RelayServer>, path: Arc<PacketPath>, counting: Task },
    Notification(Handle<NotificationServer>),
    Names { server: Rc<NameServer>, zone: Task },
}

/// Something that runs beside an entity, and ends with it.
pub(super) struct Task(JoinHandle<()>);

impl Task {
    fn spawn(task: impl Future<Output = ()> + 'static) -> Self {
        Self(actix_rt::spawn(task))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Entity {
    /// Starts what the file describes.
    pub(super) async fn start(file: &ServerFile, equipment: &Equipment) -> Result<Self, ServeError> {
        match file {
            ServerFile::Account(file) => account(file, equipment).await,
            ServerFile::Coordinator(file) => coordinator(file, equipment).await,
            ServerFile::Relay(file) => relay(file, equipment).await,
            ServerFile::Notification(file) => notification(file, equipment).await,
            ServerFile::Names(file) => names(file, equipment),
        }
    }

    /// Waits until it ends by itself; why it did.
    pub(super) async fn ended(&self) -> ServeError {
        match self {
            Self::Account { handle, .. } => ServeError::Ended(handle.ended().await),
            Self::Coordinator { entity, .. } => tokio::select! {
                end = entity.handle.ended() => ServeError::Ended(end),
                () = entity.name_server.ended() => ServeError::NameServerEnded,
            },
            Self::Relay { handle, path, .. } => tokio::select! {
                end = handle.ended() => ServeError::Ended(end),
                failure = path.failed() => ServeError::Carrying(failure),
            },
            Self::Notification(handle) => ServeError::Ended(handle.ended().await),
            Self::Names { server, .. } => {
                server.ended().await;
                ServeError::NameServerEnded
            }
        }
    }

    /// Stops it: its sockets are closed and its store has finished what was queued.
    pub(super) async fn stop(self) {
        match self {
            Self::Account { handle, office } => {
                drop(office);
                handle.stop().await;
            }
            Self::Coordinator { entity, zone } => {
                drop(zone);
                entity.handle.stop().await;
            }
            Self::Relay { handle, path, counting } => {
                drop(counting);
                handle.stop().await;
                drop(path);
            }
            Self::Notification(handle) => handle.stop().await,
            Self::Names { server, zone } => drop((server, zone)),
        }
    }
}

async fn account(file: &AccountServerFile, equipment: &Equipment) -> Result<Entity, ServeError> {
    let parts = equipment.server(&file.server, CertificateRole::AccountServer).await?;
    let book = Arc::new(AccountBook::load(Arc::clone(&parts.store)).await?);
    if book.entries().is_empty() {
        tracing::warn!("there is no account yet; open one: ntm account add alice@u1.example");
    }
    let compute = Arc::clone(&equipment.compute);
    let cost = file.accounts.cost().unwrap_or_default();
    let with = Ingredients { accounts: Arc::clone(&book), compute: Arc::clone(&compute), cost };
    let registry = Registry::builtin();
    let authenticators = match file.accounts.authentication.as_slice() {
        [] => registry.make_all(&with),
        named => named.iter().map(|name| registry.make(name, &with)).collect::<Result<_, _>>()?,
    };
    let voucher_seed = voucher_seed(&file.server.state())?;
    let own = AccountServerParts { name: file.server.name.0.clone(), voucher_seed, authenticators };
    let handle = account_server::start(file.config(), own, parts, equipment.host.clone()).await?;
    let office = Task::spawn(admin(file, Office::new(book, compute, cost))?);
    Ok(Entity::Account { handle, office })
}

/// The seed of the network's voucher key: the same for as long as the AS keeps its state.
fn voucher_seed(state: &Path) -> Result<Secret, FileError> {
    let path = state.join(VOUCHER_SEED);
    let text = kept(&path, || to_hex(Secret::draw(&mut SystemEntropy).expose()))?;
    from_hex(text.trim()).map(Secret::from_bytes).ok_or(FileError::Damaged(path))
}

/// What a file of the state directory says; it is written at the first start.
fn kept(path: &Path, make: impl FnOnce() -> String) -> Result<String, FileError> {
    if !path.exists() {
        files::write(path, make().as_bytes(), Readers::Owner, Present::Keep)?;
    }
    files::read_secret(path)
}

async fn coordinator(file: &CoordinatorFile, equipment: &Equipment) -> Result<Entity, ServeError> {
    let parts = equipment.server(&file.server, CertificateRole::DirectionCoordinator).await?;
    let virtual_v4 = match &file.domain.virtual_ipv4 {
        Some(prefix) => (prefix.0.0, prefix.0.1),
        None => direction_coordinator::default_virtual_ipv4(&file.domain.name),
    };
    let virtual_v6 = match &file.domain.virtual_ipv6 {
        Some(prefix) => prefix.0.0,
        None => drawn_virtual_ipv6(&file.server.state())?,
    };
    let config = file.config(virtual_v4, virtual_v6)?;
    tracing::info!(domain = %config.domain, virtual_v4 = %format_args!("{}/{}", virtual_v4.0, virtual_v4.1), virtual_v6 = %format_args!("{virtual_v6}/64"), "coordinates");
    let zone = zone(file, &config, equipment);
    let host = equipment.host.clone();
    let entity = direction_coordinator::start(config.clone(), zone, parts, Box::new(|_event| {}), host).await?;
    let entity = Rc::new(entity);
    let (watched, file, net) = (Rc::clone(&entity), file.clone(), Arc::clone(&equipment.net));
    let zone = Task::spawn(follow_addresses(net, move |addresses| {
        watched.name_server.dns().replace(zone_at(&file, &config, addresses))
    }));
    Ok(Entity::Coordinator { entity, zone })
}

/// The /64 that was drawn when the DC started for the first time.
fn drawn_virtual_ipv6(state: &Path) -> Result<Ipv6Addr, FileError> {
    let path = state.join(VIRTUAL_IPV6);
    let text = kept(&path, || direction_coordinator::draw_virtual_ipv6(&mut SystemEntropy).to_string())?;
    text.trim().parse().map_err(|_| FileError::Damaged(path))
}

fn zone(file: &CoordinatorFile, config: &DirectionCoordinatorConfig, equipment: &Equipment) -> ZoneRecords {
    zone_at(file, config, equipment.host.net().addresses())
}

/// The DC's zone while its interfaces have these addresses.
fn zone_at(file: &CoordinatorFile, config: &DirectionCoordinatorConfig, own: Vec<IpAddr>) -> ZoneRecords {
    let server = &file.server;
    let addresses = if server.addresses.is_empty() { own } else { server.addresses.clone() };
    let zone = direction_coordinator::zone(config, (server.signalling_port, server.tls_port), addresses);
    let account_server = &file.account_server;
    let mut zone = zone.with_account_server(&account_server.name, &account_server.addresses, account_server.tls_port);
    zone.ttl_s = u32::try_from(file.domain.dns_ttl.duration().as_secs()).unwrap_or(u32::MAX);
    zone
}

/// Puts the zone in force that belongs to the host's addresses, each time that they change.
async fn follow_addresses<E: std::fmt::Display>(
    net: Arc<impl Net>,
    replace: impl Fn(Vec<IpAddr>) -> Result<(), E> + 'static,
) {
    let mut seen = 0;
    let mut before = net.addresses();
    loop {
        seen = net.address_change(seen).await;
        let now = net.addresses();
        if now == before {
            continue;
        }
        tracing::info!(addresses = ?now, "the host's addresses have changed");
        if let Err(error) = replace(now.clone()) {
            tracing::error!(%error, "DNS goes on with the old addresses");
        }
        before = now;
    }
}

async fn relay(file: &RelayServerFile, equipment: &Equipment) -> Result<Entity, ServeError> {
    let parts = equipment.server(&file.server, CertificateRole::RelayServer).await?;
    let host = equipment.host.clone();
    let (options, threads) = (equipment.net.options(), carriage::threads(file.relay.threads));
    let path = PacketPath::relay(options, parts.signalling_port, threads, Arc::clone(host.clock()));
    let path = Arc::new(path.map_err(|error| match error {
        PathError::Port(error) => StartError::Signalling(error).into(),
        error => ServeError::Path(error),
    })?);
    let forwarding = Arc::clone(&path);
    let forward_by: ForwardBy = Box::new(move |table, session| forwarding.forward_by(table, session));
    let port = RelayPort { signalling: path.signalling(), forward_by };
    let handle = relay_server::start_beside(file.config(), parts, port, host.clone()).await?;
    let (counted, entity) = (Arc::clone(&path), file.server.name.0.clone());
    let counting = Task::spawn(async move {
        carriage::count(|| counted.counters().named().collect(), host.recorder(), entity.as_str()).await
    });
    Ok(Entity::Relay { handle, path, counting })
}

async fn notification(file: &NotificationServerFile, equipment: &Equipment) -> Result<Entity, ServeError> {
    let parts = equipment.server(&file.server, CertificateRole::NotificationServer).await?;
    let (config, port) = (file.config(), file.notification.port);
    Ok(Entity::Notification(notification_server::start(config, port, parts, equipment.host.clone()).await?))
}

fn names(file: &NamesFile, equipment: &Equipment) -> Result<Entity, ServeError> {
    let zone = file.zone(&equipment.host.net().addresses());
    let server = Rc::new(NameServer::start(file.names.server.as_str(), vec![zone], &equipment.host)?);
    let (watched, file, net) = (Rc::clone(&server), file.clone(), Arc::clone(&equipment.net));
    let zone = Task::spawn(follow_addresses(net, move |addresses| watched.dns().replace(file.zone(&addresses))));
    Ok(Entity::Names { server, zone })
}
