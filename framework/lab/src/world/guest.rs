//! Somebody in a scenario's world who is no part of it: a host at the core of the internet with sockets of its own, who may
//! also send packets in other people's names. For tests of what such people can do.

use super::internet::Internet;
use super::topology::CORE;
use ntmobile_ports::net::Net;
use ntmobile_proto::time::Instant;
use ntmobile_sim::World;
use ntmobile_sim::entropy::SimEntropy;
use ntmobile_sim::network::{BuildError, LinkRecord, NodeKind, Packet};
use ntmobile_sim::ports::clock::SimClock;
use ntmobile_sim::ports::host::SimHost;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use tokio::io::AsyncWriteExt;

/// What a guest does while the world lives.
pub(super) type Visit = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A guest's means.
#[derive(Debug)]
pub struct Guest {
    world: World,
    host: SimHost,
    hosts: Vec<(String, Vec<IpAddr>)>,
}

impl Guest {
    pub(super) fn arrive(name: &str, internet: &Internet) -> Result<Self, BuildError> {
        let world = internet.world.clone();
        let node = world.network(|network| {
            let core = network.nodes().find(|node| network.node_name(*node) == CORE);
            let node = network.add_node(name, NodeKind::Host)?;
            if let Some(core) = core {
                network.attach(node, core, LinkRecord::default())?;
            }
            Ok::<_, BuildError>(node)
        })?;
        let topology = internet.topology.borrow();
        let hosts =
            topology.hosts().map(|(name, place)| (name.to_owned(), world.host(place.node).addresses())).collect();
        Ok(Self { host: world.host(node), hosts, world: world.clone() })
    }

    /// Its own host.
    pub fn host(&self) -> &SimHost {
        &self.host
    }

    /// Everybody else's hosts and the addresses that they have at the beginning.
    pub fn hosts(&self) -> &[(String, Vec<IpAddr>)] {
        &self.hosts
    }

    /// The world's time.
    pub fn clock(&self) -> SimClock {
        self.world.clock()
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// Chance of its own, which follows from the world's seed.
    pub fn entropy(&self) -> SimEntropy {
        self.world.entropy("guest")
    }

    /// Opens a TCP connection, says this and hangs up; whether anybody listens, it does not care.
    pub async fn shout(&self, to: SocketAddr, words: &[u8]) {
        if let Ok(mut connection) = self.host.connect_tcp(to).await {
            // They may have hung up already.
            let _ = connection.write_all(words).await;
        }
    }

    /// Sends a packet whatever source it bears. Nothing is said of where it ends.
    pub fn forge(&self, packet: Packet) {
        let (now, node) = (self.world.now(), self.host.node());
        self.world.network(|network| network.forge(now, node, packet));
    }
}
