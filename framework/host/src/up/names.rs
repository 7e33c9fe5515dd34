//! Which names are the network's, and what they stand for: a program that asks for a node's name has the tunnel built.
//!
//! `alice.u1.example` may be a node's name if `u1.example` is a domain of the network: then DNS says where its DC is
//! (`_ntm._udp.u1.example`). What is found out about a domain is remembered for a while, so that ordinary names cost one question
//! more for each domain, not for each name. Where the DNS root does not answer, ordinary names hardly wait for it.

use super::ground::Ground;
use super::interface::Interface;
use futures::FutureExt;
use futures::future::BoxFuture;
use ntmobile_actors::engine::{Engine, LookupError};
use ntmobile_actors::resolution::Resolution;
use ntmobile_net::names::{Finding, Names, Owner};
use ntmobile_proto::machine::{Lookup, LookupFailure};
use ntmobile_proto::node::ConnectError;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long programs may keep an address; it stays the node's, but a local one does so only while there is a tunnel.
const LIFETIME: Duration = Duration::from_secs(60);
/// So many domains are remembered. Beyond, all are forgotten; DNS is asked again.
const DOMAINS: usize = 4_096;
/// How long it is remembered what a domain is.
const MEMORY: Duration = Duration::from_secs(300);
/// How long it is remembered that DNS did not tell.
const SHORT_MEMORY: Duration = Duration::from_secs(30);
/// How long DNS may take to tell what a domain is.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same where it has not told of the last one.
const LITTLE_PATIENCE: Duration = Duration::from_millis(250);

/// The network's names on this host.
pub(crate) struct NetworkNames<G> {
    shared: Arc<Shared<G>>,
}

struct Shared<G> {
    engine: Engine,
    interface: Arc<Interface<G>>,
    resolution: Resolution,
    domains: Mutex<BTreeMap<Fqdn, Known>>,
    /// Whether DNS said nothing about the last domain.
    is_silent: AtomicBool,
}

/// What is remembered of a domain.
#[derive(Clone, Copy)]
struct Known {
    is_ours: bool,
    until: Instant,
}

impl<G: Ground> NetworkNames<G> {
    pub(crate) fn new(engine: Engine, interface: Arc<Interface<G>>, resolution: Resolution) -> Self {
        let (domains, is_silent) = (Mutex::default(), AtomicBool::new(false));
        Self { shared: Arc::new(Shared { engine, interface, resolution, domains, is_silent }) }
    }
}

impl<G: Ground> Names for NetworkNames<G> {
    fn find(&self, name: Fqdn) -> BoxFuture<'static, Finding> {
        let shared = Arc::clone(&self.shared);
        async move { shared.find(&name).await }.boxed()
    }

    fn owner(&self, address: IpAddr) -> Owner {
        let own = self.shared.engine.addresses();
        if address == own.v4 || address == own.v6 {
            return Owner::Node(self.shared.engine.name().clone());
        }
        self.shared.interface.met(address).map_or(Owner::Elsewhere, |peer| Owner::Node(peer.name))
    }
}

impl<G: Ground> Shared<G> {
    async fn find(&self, name: &Fqdn) -> Finding {
        if name == self.engine.name() {
            return Finding::Node { addresses: self.engine.addresses(), lifetime: LIFETIME };
        }
        let Some(domain) = name.parent() else { return Finding::Elsewhere };
        if !self.is_ours(domain).await {
            return Finding::Elsewhere;
        }
        match self.engine.connect(name, ApplicationId(0)).await {
            Ok(connection) => {
                // The program must not send before its packets lead into the tunnel.
                self.interface.settled().await;
                Finding::Node { addresses: connection.addresses, lifetime: LIFETIME }
            }
            // A server's name, or nobody's: the domain's DNS knows.
            Err(LookupError::Tunnel(ConnectError::NoSuchName(_))) => Finding::Elsewhere,
            Err(error) => {
                tracing::info!(%name, %error, "a program asked for a node that cannot be had now");
                Finding::Failed
            }
        }
    }

    /// Whether a domain is one of the network's.
    async fn is_ours(&self, domain: Fqdn) -> bool {
        if self.engine.name().parent().is_some_and(|own| own == domain) {
            return true;
        }
        let now = Instant::now();
        if let Some(known) = self.lock().get(&domain).filter(|known| now < known.until) {
            return known.is_ours;
        }
        let patience = if self.is_silent.load(Ordering::Relaxed) { LITTLE_PATIENCE } else { PATIENCE };
        let asked = timeout(patience, self.resolution.server(Lookup::DirectionCoordinator(domain.clone()), None)).await;
        let (is_ours, memory, is_silent) = match asked {
            Ok(Ok(_)) => (true, MEMORY, false),
            Ok(Err(LookupFailure::TimedOut)) | Err(_) => (false, SHORT_MEMORY, true),
            Ok(Err(_)) => (false, MEMORY, false),
        };
        self.is_silent.store(is_silent, Ordering::Relaxed);
        let mut domains = self.lock();
        if domains.len() >= DOMAINS {
            domains.clear();
        }
        domains.insert(domain, Known { is_ours, until: now + memory });
        is_ours
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Fqdn, Known>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
