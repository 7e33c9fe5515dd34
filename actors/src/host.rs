//! The host that entities and applications run on: their whole world, simulated or real.

use crate::driver::Subscriber;
use crate::events::{Announcer, EntityEvent, Listener};
use crate::resolution::{Resolution, ResolutionPorts};
use crate::supervise::PanicPolicy;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::Net;
use ntmobile_telemetry::Recorder;
use ntmobile_wire::entropy::Entropy;
use std::net::SocketAddr;
use std::sync::Arc;

/// Gives everyone on a host a stream of randomness of its own, by the name of who draws; the same name never gets the same
/// stream twice.
pub type EntropySource = Arc<dyn Fn(&str) -> Box<dyn Entropy + Send> + Send + Sync>;

/// What a host is made of.
#[derive(Clone)]
pub struct HostParts {
    /// Its name in traces and counts.
    pub name: Arc<str>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Its network.
    pub net: Arc<dyn Net>,
    /// Randomness.
    pub entropy: EntropySource,
    /// Where spans and counts go.
    pub recorder: Recorder,
    /// Where the DNS root servers are.
    pub root_servers: Vec<SocketAddr>,
    /// What a panic in an entity leads to.
    pub panics: PanicPolicy,
}

/// A host. Clones are the same host: what runs on it shares its resolver.
#[derive(Clone)]
pub struct Host {
    parts: HostParts,
    resolution: Resolution,
    listener: Option<Listener>,
}

impl Host {
    /// Puts a host together and starts its resolver.
    ///
    /// # Panics
    /// When called outside an actix system.
    pub fn start(parts: HostParts) -> Self {
        let resolution = Resolution::start(ResolutionPorts {
            name: Arc::clone(&parts.name),
            clock: Arc::clone(&parts.clock),
            net: Arc::clone(&parts.net),
            entropy: (parts.entropy)(&format!("{}/dns", parts.name)),
            recorder: parts.recorder.clone(),
            root_servers: parts.root_servers.clone(),
        });
        Self { parts, resolution, listener: None }
    }

    /// The same host, with somebody who hears of every event of the entities that are started on it from now on.
    pub fn with_listener(mut self, listener: Listener) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Who hears of an entity's events: the host's listener, then whoever subscribed to this one entity.
    pub(crate) fn announcing<E: Clone + Into<EntityEvent> + 'static>(
        &self,
        entity: &Arc<str>,
        then: impl Into<Option<Box<dyn Subscriber<E>>>>,
    ) -> Box<dyn Subscriber<E>> {
        Box::new(Announcer { entity: Arc::clone(entity), listener: self.listener.clone(), then: then.into() })
    }

    /// Its name in traces and counts.
    pub fn name(&self) -> &Arc<str> {
        &self.parts.name
    }

    /// Time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.parts.clock
    }

    /// Its network.
    pub fn net(&self) -> &Arc<dyn Net> {
        &self.parts.net
    }

    /// A stream of randomness for whoever is called `who`.
    pub fn entropy(&self, who: &str) -> Box<dyn Entropy + Send> {
        (self.parts.entropy)(who)
    }

    /// Where spans and counts go.
    pub fn recorder(&self) -> &Recorder {
        &self.parts.recorder
    }

    /// Its resolver.
    pub fn resolution(&self) -> &Resolution {
        &self.resolution
    }

    /// What a panic in an entity leads to.
    pub fn panics(&self) -> PanicPolicy {
        self.parts.panics
    }
}
