//! A whole network in one simulation: DNS root, top-level domain, an AS, two domains with a DC, an RS and an NS each, and
//! devices behind NATs or in the open.

use ntmobile_actors::account_server::{self, AccountServerParts};
use ntmobile_actors::dns::ZoneRecords;
use ntmobile_actors::driver::Handle;
use ntmobile_actors::host::{Host, HostParts};
use ntmobile_actors::library::{Device, JoinError, Node, Password};
use ntmobile_actors::name_server::NameServer;
use ntmobile_actors::server::{NOTIFICATION_PORT, SIGNALLING_PORT, ServerParts, TLS_PORT};
use ntmobile_actors::supervise::PanicPolicy;
use ntmobile_actors::{direction_coordinator, notification_server, relay_server};
use ntmobile_auth_plugins::{AccountBook, Cost, Entry, HashedPassword, Ingredients, Registry as Authenticators};
use ntmobile_ports::certificate::NetworkAuthority;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::compute::Inline;
use ntmobile_ports::net::Net;
use ntmobile_ports::quic::{TlsEndpoint, TlsOptions};
use ntmobile_ports::store::Store;
use ntmobile_ports::stores::{MemoryStore, SledOptions, SledStore};
use ntmobile_proto::account_server::{AccountServer, AccountServerConfig};
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::direction_coordinator::{DirectionCoordinatorConfig, OwnServer};
use ntmobile_proto::notification_server::{NotificationServer, NotificationServerConfig};
use ntmobile_proto::relay_server::{RelayServer, RelayServerConfig};
use ntmobile_proto::time::UnixTime;
use ntmobile_sim::network::{LinkRecord, NatRecord, NodeId, NodeKind};
use ntmobile_sim::ports::host::SimHost;
use ntmobile_sim::{Simulation, World};
use ntmobile_strategies::{Choices, Registry};
use ntmobile_telemetry::{MemoryFile, Recorder, Timeline};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::key::{Secret, SecretText};
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::{Account, Fqdn};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The first and the third have chosen the same virtual IPv4 prefix.
pub(crate) const DOMAINS: [&str; 3] = ["u1.example", "u2.example", "u3.example"];
const AS: &str = "as.example";
const DAY: Duration = Duration::from_secs(86_400);

/// Any server that runs; it stops when this is dropped.
pub(crate) enum Server {
    Names(NameServer),
    Account(#[expect(dead_code, reason = "held to keep it running")] Handle<AccountServer>),
    Coordinator(#[expect(dead_code, reason = "held to keep it running")] direction_coordinator::CoordinatorEntity),
    Relay(#[expect(dead_code, reason = "held to keep it running")] Handle<RelayServer>),
    Notification(#[expect(dead_code, reason = "held to keep it running")] Handle<NotificationServer>),
}

/// The network and everything in it.
pub(crate) struct Scene {
    pub(crate) world: World,
    core: NodeId,
    authority: NetworkAuthority,
    recorder: Recorder,
    records: MemoryFile,
    choices: Choices,
    hosts: RefCell<BTreeMap<String, SimHost>>,
    stores: RefCell<BTreeMap<String, MemoryStore>>,
    /// Where stores are that last; where there is none they are in memory.
    disk: Option<tempfile::TempDir>,
    pub(crate) servers: RefCell<BTreeMap<String, Server>>,
}

pub(crate) fn name(text: &str) -> Fqdn {
    text.parse().expect("a test knows its names")
}

/// The part that a host plays, by its name.
fn role_of(host: &str) -> CertificateRole {
    match host.split('.').next() {
        Some("as") => CertificateRole::AccountServer,
        Some("dc") => CertificateRole::DirectionCoordinator,
        Some("rs") => CertificateRole::RelayServer,
        Some("ns") => CertificateRole::NotificationServer,
        _ => CertificateRole::Node,
    }
}

/// Runs a test in a network whose servers have started and keep what they store in memory.
pub(crate) fn run<F: Future<Output = ()> + 'static>(choices: Choices, test: impl FnOnce(Scene) -> F + 'static) {
    run_on(None, choices, test);
}

/// Runs a test in a network whose servers have started.
pub(crate) fn run_on<F: Future<Output = ()> + 'static>(
    disk: Option<tempfile::TempDir>,
    choices: Choices,
    test: impl FnOnce(Scene) -> F + 'static,
) {
    let mut simulation = Simulation::new(5).with_time_limit(DAY);
    let world = simulation.world();
    simulation
        .run(async move {
            let scene = Scene::new(world, choices, disk);
            scene.start_servers().await;
            test(scene).await;
        })
        .unwrap();
}

impl Scene {
    fn new(world: World, choices: Choices, disk: Option<tempfile::TempDir>) -> Self {
        let wall = world.clock().wall();
        let authority = NetworkAuthority::from_seed([9; 32], wall).unwrap();
        let (recorder, records) = Recorder::in_memory(Timeline::new(UnixTime(wall.0), DAY).unwrap());
        let core = world.network(|network| {
            let core = network.add_node("core", NodeKind::Router).unwrap();
            network.serve(core, "203.0.113.0/24".parse().unwrap()).unwrap();
            network.serve(core, "2001:db8::/64".parse().unwrap()).unwrap();
            core
        });
        let scene = Self {
            world,
            core,
            authority,
            recorder,
            records,
            choices,
            hosts: RefCell::default(),
            stores: RefCell::default(),
            disk,
            servers: RefCell::default(),
        };
        for server in ["root", "tld", AS] {
            scene.add_host(server, core);
        }
        for domain in DOMAINS {
            for server in ["dc", "rs", "ns"] {
                scene.add_host(&format!("{server}.{domain}"), core);
            }
        }
        scene
    }

    fn add_host(&self, name: &str, at: NodeId) {
        let node = self.world.network(|network| {
            let node = network.add_node(name, NodeKind::Host).unwrap();
            network.attach(node, at, LinkRecord::with_delay(Duration::from_millis(5))).unwrap();
            node
        });
        self.hosts.borrow_mut().insert(name.to_owned(), self.world.host(node));
    }

    /// A network of its own behind a NAT.
    pub(crate) fn nat(&self, name: &str) -> NodeId {
        self.world.network(|network| {
            let nat = network.add_node(name, NodeKind::Nat(NatRecord::default())).unwrap();
            network.attach(nat, self.core, LinkRecord::with_delay(Duration::from_millis(5))).unwrap();
            network.serve(nat, "192.168.0.0/24".parse().unwrap()).unwrap();
            nat
        })
    }

    /// Where hosts have public addresses.
    pub(crate) fn open(&self) -> NodeId {
        self.core
    }

    /// Somebody who does not belong to the network.
    pub(crate) fn stranger(&self, name: &str) -> SimHost {
        self.add_host(name, self.core);
        self.sim_host(name)
    }

    pub(crate) fn sim_host(&self, name: &str) -> SimHost {
        self.hosts.borrow()[name].clone()
    }

    /// Takes a host from where it is to another network.
    pub(crate) fn move_host(&self, name: &str, to: NodeId) {
        let node = self.sim_host(name).node();
        self.world.network(|network| {
            for interface in network.interfaces(node).to_vec() {
                network.detach(interface);
            }
            network.attach(node, to, LinkRecord::with_delay(Duration::from_millis(5))).unwrap();
        });
    }

    fn addresses(&self, name: &str, port: u16) -> DualStack {
        let mut addresses = DualStack::default();
        for address in self.sim_host(name).addresses() {
            match SocketAddr::new(address, port) {
                SocketAddr::V4(v4) => addresses.v4 = Some(v4),
                SocketAddr::V6(v6) => addresses.v6 = Some(v6),
            }
        }
        addresses
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        let world = self.world.clone();
        let root = self.addresses("root", 53);
        Host::start(HostParts {
            name: name.into(),
            clock: Arc::new(self.world.clock()),
            net: Arc::new(self.sim_host(name)),
            entropy: Arc::new(move |who| Box::new(world.entropy(who))),
            recorder: self.recorder.clone(),
            root_servers: root.iter().collect(),
            panics: PanicPolicy::FailRun,
        })
    }

    fn tls(&self, bearer: &str, port: u16) -> Arc<TlsEndpoint> {
        let serves = port != 0;
        let wall = self.world.clock().wall();
        let identity = serves.then(|| self.authority.issue(&name(bearer), role_of(bearer), 1, wall, DAY * 30).unwrap());
        let udp = self.sim_host(bearer).bind_udp(port).unwrap();
        let (clock, trust) = (Arc::new(self.world.clock()), self.authority.trust().unwrap());
        let crypto = self.world.tls_crypto(bearer);
        Arc::new(TlsEndpoint::new(udp, clock, identity, trust, crypto, TlsOptions::default()).unwrap())
    }

    async fn store(&self, name: &str) -> Arc<dyn Store> {
        let Some(disk) = &self.disk else {
            return Arc::new(self.stores.borrow_mut().entry(name.to_owned()).or_default().clone());
        };
        let options = SledOptions { reserve: 2 << 20, ..SledOptions::new(disk.path().join(name)) };
        Arc::new(SledStore::open(options, Arc::new(Inline)).await.unwrap())
    }

    async fn parts(&self, name: &str) -> ServerParts {
        ServerParts { signalling_port: SIGNALLING_PORT, tls: self.tls(name, TLS_PORT), store: self.store(name).await }
    }

    async fn start_servers(&self) {
        let mut root = ZoneRecords::new(None, vec![name("a.root")]);
        let mut tld = ZoneRecords::new(Some(name("example")), vec![name("ns.example")]);
        let at = |host: &str| self.sim_host(host).addresses();
        root = root.with_delegation(&name("example"), &name("ns.example"), &at("tld"));
        // More addresses than fit a datagram.
        let many: Vec<IpAddr> = (1..=100).map(|last| IpAddr::from([198, 51, 100, last])).collect();
        tld = tld.with_host(&name("ns.example"), &at("tld")).with_host(&name(AS), &at(AS));
        tld = tld.with_host(&name("many.example"), &many);
        for domain in DOMAINS {
            let dc = format!("dc.{domain}");
            tld = tld.with_delegation(&name(domain), &name(&dc), &at(&dc));
        }
        for (server, zone) in [("root", root), ("tld", tld)] {
            let names = NameServer::start(server, vec![zone], &self.host(server)).unwrap();
            self.servers.borrow_mut().insert(server.to_owned(), Server::Names(names));
        }
        self.start(AS).await;
        for domain in DOMAINS {
            for server in ["dc", "rs", "ns"] {
                self.start(&format!("{server}.{domain}")).await;
            }
        }
    }

    /// Waits until a name server answers no more.
    pub(crate) async fn name_server_ended(&self, server: &str) {
        let ended = match self.servers.borrow().get(server) {
            Some(Server::Names(names)) => names.ended(),
            _ => panic!("{server} is no name server"),
        };
        ended.await;
    }

    /// Starts a server from what its store holds.
    pub(crate) async fn start(&self, server: &str) {
        let (parts, host) = (self.parts(server).await, self.host(server));
        let running = match server.split_once('.') {
            Some(("as", _)) => {
                let accounts = AccountBook::load(Arc::clone(&parts.store)).await.unwrap();
                for user in ["alice", "bob", "carol"] {
                    for domain in DOMAINS {
                        let password = HashedPassword::new(&SecretText::new(user), Cost::SIMULATION, [1; 16]);
                        let account = Account::parse(&format!("{user}@{domain}")).unwrap();
                        accounts.put(account, Entry::with_password(password)).await.unwrap();
                    }
                }
                let ingredients =
                    Ingredients { accounts: Arc::new(accounts), compute: Arc::new(Inline), cost: Cost::SIMULATION };
                let own = AccountServerParts {
                    name: name(server),
                    voucher_seed: Secret::from_bytes([3; 32]),
                    authenticators: Authenticators::builtin().make_all(&ingredients),
                };
                Server::Account(account_server::start(AccountServerConfig::default(), own, parts, host).await.unwrap())
            }
            Some(("dc", domain)) => Server::Coordinator(self.coordinator(server, domain, parts, host).await),
            Some(("rs", _)) => {
                let config = RelayServerConfig::new(name(server));
                Server::Relay(relay_server::start(config, parts, host).await.unwrap())
            }
            _ => {
                let config = NotificationServerConfig::new(name(server));
                let started = notification_server::start(config, NOTIFICATION_PORT, parts, host).await;
                Server::Notification(started.unwrap())
            }
        };
        self.servers.borrow_mut().insert(server.to_owned(), running);
    }

    async fn coordinator(
        &self,
        server: &str,
        domain: &str,
        parts: ServerParts,
        host: Host,
    ) -> direction_coordinator::CoordinatorEntity {
        let number = DOMAINS.iter().position(|known| *known == domain).unwrap();
        let prefixes = (
            (format!("100.64.{}.0", 16 * (number % 2)).parse().unwrap(), 20),
            format!("fd00:0:0:{}::", number + 1).parse().unwrap(),
        );
        let strategies = Registry::builtin().choose(&self.choices).unwrap();
        let mut config = DirectionCoordinatorConfig::new(name(server), name(domain), name(AS), prefixes, strategies);
        for (kind, list) in [("rs", &mut config.relays), ("ns", &mut config.notification_servers)] {
            let own = format!("{kind}.{domain}");
            list.push(OwnServer {
                name: name(&own),
                signalling: self.addresses(&own, SIGNALLING_PORT),
                tls: self.addresses(&own, TLS_PORT),
                notification: self.addresses(&own, NOTIFICATION_PORT),
            });
        }
        let account_server = self.sim_host(AS).addresses();
        let zone = direction_coordinator::zone(&config, (SIGNALLING_PORT, TLS_PORT), host.net().addresses());
        let zone = zone.with_account_server(&name(AS), &account_server, TLS_PORT);
        direction_coordinator::start(config, zone, parts, Box::new(|_| {}), host).await.unwrap()
    }

    /// Takes a server's power away: it forgets what it has not stored.
    pub(crate) fn crash(&self, server: &str) {
        self.sim_host(server).crash();
        self.servers.borrow_mut().remove(server);
    }

    /// Gives it power again and starts it.
    pub(crate) async fn restart(&self, server: &str) {
        self.sim_host(server).restart();
        self.start(server).await;
    }

    /// Puts a device into a network.
    pub(crate) fn device(&self, node: &str, at: NodeId) -> Device {
        self.add_host(node, at);
        let stores = MemoryStore::new();
        Device {
            host: self.host(node),
            tls: self.tls(node, 0),
            stores: Arc::new(move |_application| Arc::new(stores.clone())),
            account_server: name(AS),
            account_server_addresses: None,
            strategies: Registry::builtin().choose(&self.choices).unwrap(),
            suite: CipherSuite::Aes128Gcm,
            key_log: None,
        }
    }

    /// Puts `user`'s device into a network and lets it join its domain.
    pub(crate) async fn join(&self, user: &str, domain: &str, at: NodeId) -> Result<Node, JoinError> {
        let device = self.device(&format!("{user}.{domain}"), at);
        Node::join(&device, &format!("{user}@{domain}"), Password::new(user)).await
    }

    /// Everything that was recorded so far.
    pub(crate) fn recorded(&self) -> String {
        self.recorder.finish(self.world.now()).expect("all is recorded");
        String::from_utf8(self.records.bytes()).unwrap()
    }
}
