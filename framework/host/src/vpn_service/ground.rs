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
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

/// When what was not had is asked for again, unless something else is wanted before.
const AGAIN: Duration = Duration::from_secs(30);

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
    /// The routes to peers, as they are wanted.
    peers: BTreeSet<Subnet>,
    /// The addresses of the device that is in place.
    confirmed_addresses: Vec<Subnet>,
    /// The routes to peers that the host program says there are.
    confirmed_peers: BTreeSet<Subnet>,
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
    let surveyor = Surveyor {
        line,
        wishes: queue,
        fulfilled,
        device,
        peers: BTreeSet::new(),
        confirmed_addresses: Vec::new(),
        confirmed_peers: BTreeSet::new(),
    };
    (asked, surveyor)
}

impl Surveyor {
    /// Puts the first device in place; its name.
    pub(super) async fn first_device(&mut self, interface: &Interface<Asked>) -> Result<String, VpnServiceError> {
        let device = self.line.ask_for_device(self.device.clone()).await?;
        let name = put(device, interface)?;
        self.confirmed_addresses.clone_from(&self.device.addresses);
        Ok(name)
    }

    /// Asks for whatever is wanted, for as long as anything may be.
    pub(super) async fn survey(&mut self, interface: &Interface<Asked>) {
        let mut batch = Vec::new();
        loop {
            let is_lacking = self.is_lacking();
            let count = tokio::select! {
                count = self.wishes.recv_many(&mut batch, MOST_ROUTES) => match count {
                    0 => return std::future::pending().await,
                    count => count,
                },
                () = tokio::time::sleep(AGAIN), if is_lacking => 0,
            };
            if let Err(error) = self.fulfil(batch.drain(..), &|device| put(device, interface)).await {
                tracing::warn!(%error, "peers' addresses do not lead into their tunnels");
            }
            self.fulfilled.send_modify(|fulfilled| *fulfilled += count as u64);
        }
    }

    /// Whether anything is wanted that the host program has not confirmed.
    fn is_lacking(&self) -> bool {
        self.device.addresses != self.confirmed_addresses || self.peers != self.confirmed_peers
    }

    /// Asks for all that is wanted and not confirmed: first for what is wanted since the last time, so that what is refused
    /// again and again is in nobody's way.
    async fn fulfil(
        &mut self,
        wishes: impl Iterator<Item = Wish>,
        put: &impl Fn(OwnedFd) -> Result<String, TunError>,
    ) -> Result<(), SurveyError> {
        let mut new = BTreeSet::new();
        for wish in wishes {
            match wish {
                Wish::Address(address) => self.address(address),
                Wish::Route(address) => {
                    self.peers.insert(Subnet::host(address));
                    new.insert(Subnet::host(address));
                }
                Wish::Part(address) => {
                    self.peers.remove(&Subnet::host(address));
                    new.insert(Subnet::host(address));
                }
            }
        }
        let device =
            if self.device.addresses == self.confirmed_addresses { Ok(()) } else { self.ask_for_device(put).await };
        let mut refused = unless_refused(device)?;
        let (new, old): (Vec<Subnet>, Vec<Subnet>) =
            self.peers.symmetric_difference(&self.confirmed_peers).copied().partition(|route| new.contains(route));
        for routes in new.chunks(MOST_ROUTES).chain(old.chunks(MOST_ROUTES)) {
            let asked = self.ask_for_routes(routes, put).await;
            refused = refused.and(unless_refused(asked)?);
        }
        refused
    }

    async fn ask_for_device(&mut self, put: &impl Fn(OwnedFd) -> Result<String, TunError>) -> Result<(), SurveyError> {
        put(self.line.ask_for_device(self.device.clone()).await?)?;
        self.confirmed_addresses.clone_from(&self.device.addresses);
        // Another device knows nothing of the routes into the one before.
        self.confirmed_peers.clear();
        Ok(())
    }

    /// Has these routes be as they are wanted.
    async fn ask_for_routes(
        &mut self,
        routes: &[Subnet],
        put: &impl Fn(OwnedFd) -> Result<String, TunError>,
    ) -> Result<(), SurveyError> {
        let (add, remove): (Vec<Subnet>, Vec<Subnet>) =
            routes.iter().copied().partition(|route| self.peers.contains(route));
        let message = |request| EngineMessage::Routes { request, add: add.clone(), remove: remove.clone() };
        if let Some(device) = self.line.ask(message).await? {
            put(device)?;
        }
        self.confirmed_peers.extend(add);
        self.confirmed_peers.retain(|route| !remove.contains(route));
        Ok(())
    }

    /// Notes an address of the node's own, in the place of the one before.
    fn address(&mut self, address: IpAddr) {
        let subnet = Subnet::host(address);
        if !self.device.addresses.contains(&subnet) {
            self.device.addresses.retain(|other| other.prefix != subnet.prefix);
            self.device.addresses.push(subnet);
        }
    }
}

/// A refusal, which is in the way of nothing else; every other failure ends the attempt.
fn unless_refused(asked: Result<(), SurveyError>) -> Result<Result<(), SurveyError>, SurveyError> {
    match asked {
        Ok(()) | Err(SurveyError::Ask(AskError::Refused(_))) => Ok(asked),
        Err(error) => Err(error),
    }
}

/// Has packets pass by this device from now on; its name.
fn put(device: OwnedFd, interface: &Interface<Asked>) -> Result<String, TunError> {
    let device = Tun::adopt(device)?;
    let name = device.name().to_owned();
    interface.path().attach(device.into_queues());
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_net::vpn_host::{HostMessage, HostSocket, LONGEST, Network, VERSION};
    use std::net::Ipv4Addr;
    use std::os::fd::AsFd;

    /// A host program that refuses the first device and the first routes, and tells what it was asked for.
    fn refuse_first(socket: &HostSocket) -> Vec<String> {
        let say = |message: &HostMessage, device: Option<&std::fs::File>| {
            socket.send(&message.encode().expect("short"), device.map(AsFd::as_fd)).expect("the node listens");
        };
        say(&HostMessage::Hello { version: VERSION, network: Network::default() }, None);
        let null = std::fs::File::open("/dev/null").expect("there is one");
        let (mut asked, mut has_refused_device, mut has_refused_routes) = (Vec::new(), false, false);
        let mut buffer = vec![0; LONGEST];
        while let Ok(Some((length, _))) = socket.receive(&mut buffer) {
            let list = |subnets: &[Subnet]| subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            let (request, is_refused, device) = match EngineMessage::decode(&buffer[..length]).expect("understood") {
                EngineMessage::Device { request, device } => {
                    asked.push(format!("device {}", list(&device.addresses[1..])));
                    (request, !std::mem::replace(&mut has_refused_device, true), Some(&null))
                }
                EngineMessage::Routes { request, add, remove } => {
                    asked.push(format!("+{} -{}", list(&add), list(&remove)));
                    (request, !std::mem::replace(&mut has_refused_routes, true), None)
                }
                _ => continue,
            };
            if is_refused {
                say(&HostMessage::Refused { request, why: "not now".to_owned() }, None);
            } else {
                say(&HostMessage::Done { request }, device);
            }
        }
        asked
    }

    #[tokio::test]
    async fn what_was_refused_is_asked_for_again_behind_what_is_new() {
        let (ours, theirs) = HostSocket::pair().expect("a pair");
        let program = std::thread::spawn(move || refuse_first(&theirs));
        let line = Arc::new(Line::begin(ours).expect("the program says hello"));
        let address = |last: u8| IpAddr::from([100, 64, 0, last]);
        let addresses = VirtualAddresses { v4: Ipv4Addr::new(100, 64, 0, 1), v6: "fd00::1".parse().expect("one") };
        let tun = TunSettings { names: false, ..TunSettings::default() };
        let (_asked, mut surveyor) = new(&tun, addresses, line);
        surveyor.confirmed_addresses.clone_from(&surveyor.device.addresses);
        let put = |_device: OwnedFd| Ok("device".to_owned());

        let wishes = [Wish::Address(address(2)), Wish::Route(address(7))];
        let refused = surveyor.fulfil(wishes.into_iter(), &put).await;
        assert!(matches!(refused, Err(SurveyError::Ask(AskError::Refused(_)))), "{refused:?}");
        assert!(surveyor.is_lacking());
        surveyor.fulfil([Wish::Route(address(8))].into_iter(), &put).await.expect("nothing is refused any more");
        assert!(!surveyor.is_lacking());
        surveyor.fulfil([Wish::Part(address(7))].into_iter(), &put).await.expect("nor this");
        drop(surveyor);
        let expected = [
            "device 100.64.0.2/32",
            "+100.64.0.7/32 -",
            "device 100.64.0.2/32",
            "+100.64.0.8/32 -",
            "+100.64.0.7/32 -",
            "+ -100.64.0.7/32",
        ];
        assert_eq!(program.join().expect("it ended"), expected);
    }
}
