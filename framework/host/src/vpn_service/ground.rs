//! What a node without privilege stands on: a host program, which is asked for a device and for every address that is to lead into it.
//!
//! The node's actor only notes what is wanted ([`Asked`]); a task asks for it, as much at a time as is wanted by then, and puts the
//! device in place ([`Surveyor`]). A device that comes with an answer takes the place of the one before: a phone makes a new one
//! for every change.

use super::VpnServiceError;
use crate::settings::TunSettings;
use crate::up::ground::{Ground, GroundError};
use crate::up::interface::Interface;
use futures::future::BoxFuture;
use ntmobile_net::packet_path::largest_super_packet;
use ntmobile_net::tun::{Tun, TunError};
use ntmobile_net::vpn_host::{AskError, Device, EngineMessage, Line, MOST_ROUTES, Subnet};
use ntmobile_wire::address::VirtualAddresses;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// Something that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// The device has this address.
    Address(IpAddr),
    /// This address leads into it.
    Route(IpAddr),
    /// It does so no more.
    Part(IpAddr),
}

/// What the node's actor wants. There are no more wishes than addresses that an interface lets be met.
pub(super) struct Asked {
    wishes: mpsc::UnboundedSender<Wish>,
    count: u64,
    fulfilled: watch::Receiver<u64>,
}

/// Nobody asks any more.
#[derive(Debug, Error)]
#[error("the node is ending")]
struct Ending;

impl Asked {
    fn wish(&mut self, wish: Wish) -> Result<(), GroundError> {
        self.wishes.send(wish).map_err(|_ended| Ending)?;
        self.count += 1;
        Ok(())
    }
}

impl Ground for Asked {
    fn add_address(&mut self, address: IpAddr) -> Result<(), GroundError> {
        self.wish(Wish::Address(address))
    }

    fn lead(&mut self, address: IpAddr) -> Result<(), GroundError> {
        self.wish(Wish::Route(address))
    }

    fn part(&mut self, address: IpAddr) -> Result<(), GroundError> {
        self.wish(Wish::Part(address))
    }

    fn settled(&self) -> BoxFuture<'static, ()> {
        let (mut fulfilled, count) = (self.fulfilled.clone(), self.count);
        Box::pin(async move {
            // Whoever waits at the end waits for nothing.
            let _ended = fulfilled.wait_for(|fulfilled| *fulfilled >= count).await;
        })
    }
}

/// Why a device could not be put in place.
#[derive(Debug, Error)]
enum SurveyError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Tun(#[from] TunError),
}

/// Asks for what is wanted.
pub(super) struct Surveyor {
    line: Arc<Line>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    fulfilled: watch::Sender<u64>,
    /// The device as it is wanted, without the routes to peers.
    device: Device,
    /// The routes to peers.
    peers: BTreeSet<Subnet>,
}

/// The ground of a node that has these addresses, and who takes care of it.
pub(super) fn new(tun: &TunSettings, addresses: VirtualAddresses, line: Arc<Line>) -> (Asked, Surveyor) {
    let (wishes, queue) = mpsc::unbounded_channel();
    let (fulfilled, progress) = watch::channel(0);
    let name_servers: Vec<IpAddr> = tun.names.then_some(tun.name_server).into_iter().collect();
    let device = Device {
        name: tun.interface.clone(),
        addresses: vec![Subnet::host(addresses.v4.into()), Subnet::host(addresses.v6.into())],
        mtu: tun.mtu,
        largest: largest_super_packet(tun.mtu),
        routes: name_servers.iter().copied().map(Subnet::host).collect(),
        name_servers,
    };
    let asked = Asked { wishes, count: 0, fulfilled: progress };
    (asked, Surveyor { line, wishes: queue, fulfilled, device, peers: BTreeSet::new() })
}

impl Surveyor {
    /// Puts the first device in place; its name.
    pub(super) async fn first_device(&mut self, interface: &Interface<Asked>) -> Result<String, VpnServiceError> {
        let device = self.line.ask_for_device(self.device.clone()).await?;
        Ok(put(device, interface)?)
    }

    /// Asks for whatever is wanted, for as long as anything may be.
    pub(super) async fn survey(&mut self, interface: &Interface<Asked>) {
        let mut batch = Vec::new();
        loop {
            let count = self.wishes.recv_many(&mut batch, MOST_ROUTES).await;
            if count == 0 {
                return std::future::pending().await;
            }
            if let Err(error) = self.fulfil(batch.drain(..), interface).await {
                tracing::warn!(%error, "peers' addresses do not lead into their tunnels");
            }
            self.fulfilled.send_modify(|fulfilled| *fulfilled += count as u64);
        }
    }

    async fn fulfil(
        &mut self,
        wishes: impl Iterator<Item = Wish>,
        interface: &Interface<Asked>,
    ) -> Result<(), SurveyError> {
        let before = self.peers.clone();
        let mut is_another = false;
        for wish in wishes {
            match wish {
                Wish::Address(address) => is_another |= self.address(address),
                Wish::Route(address) => drop(self.peers.insert(Subnet::host(address))),
                Wish::Part(address) => drop(self.peers.remove(&Subnet::host(address))),
            }
        }
        let (mut add, mut remove): (Vec<_>, Vec<_>) =
            (self.peers.difference(&before).copied().collect(), before.difference(&self.peers).copied().collect());
        if is_another {
            // Another device knows nothing of the routes into the one before.
            put(self.line.ask_for_device(self.device.clone()).await?, interface)?;
            (add, remove) = (self.peers.iter().copied().collect(), Vec::new());
        }
        while !add.is_empty() || !remove.is_empty() {
            let add: Vec<Subnet> = add.drain(..add.len().min(MOST_ROUTES)).collect();
            let remove: Vec<Subnet> = remove.drain(..remove.len().min(MOST_ROUTES)).collect();
            let routes = |request| EngineMessage::Routes { request, add, remove };
            if let Some(device) = self.line.ask(routes).await? {
                put(device, interface)?;
            }
        }
        Ok(())
    }

    /// Notes an address of the node's own; whether it is another than before.
    fn address(&mut self, address: IpAddr) -> bool {
        let subnet = Subnet::host(address);
        if self.device.addresses.contains(&subnet) {
            return false;
        }
        self.device.addresses.retain(|other| other.prefix != subnet.prefix);
        self.device.addresses.push(subnet);
        true
    }
}

/// Has packets pass by this device from now on; its name.
fn put(device: OwnedFd, interface: &Interface<Asked>) -> Result<String, TunError> {
    let device = Tun::adopt(device)?;
    let name = device.name().to_owned();
    interface.path().attach(device.into_queues());
    Ok(name)
}
