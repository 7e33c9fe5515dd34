//! Who carries the packets between the virtual interface and the network: threads of this process, or the kernel.

use super::UpError;
use crate::carriage;
use crate::settings::{Model, TunSettings};
use ntmobile_net::footprint::Footprint;
use ntmobile_net::kernel_path::KernelPath;
use ntmobile_net::net::NetOptions;
use ntmobile_net::packet_path::{Event, Failure, PacketPath, largest_super_packet};
use ntmobile_net::tun::{self, Queue, Tun};
use ntmobile_ports::clock::Clock;
use ntmobile_ports::net::UdpPort;
use ntmobile_proto::packet::{OutboundRefusal, TunnelTable};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The interface, made and without addresses.
pub(super) enum Made {
    /// A TUN device, for so many threads.
    Tun { device: Tun, threads: usize },
    /// An interface of the kernel's, by its number there.
    Kernel { number: u32 },
}

impl Made {
    /// Makes the interface that the settings ask for.
    pub(super) fn make(settings: &TunSettings, footprint: &mut Footprint) -> Result<Self, UpError> {
        match settings.model {
            Model::Tun => {
                let threads = carriage::threads(settings.threads);
                let largest = largest_super_packet(settings.mtu);
                let name = settings.interface.clone();
                let device = Tun::create(&tun::TunSettings { name, mtu: settings.mtu, queues: threads, largest })?;
                Ok(Self::Tun { device, threads })
            }
            Model::Kernel => {
                let number = footprint.make_kernel_interface()?;
                footprint.set_up(settings.mtu.into())?;
                Ok(Self::Kernel { number })
            }
        }
    }

    /// Opens the node's port and begins; what comes from a TUN device waits until [`Made::attach_to`].
    pub(super) fn start(
        &self,
        settings: &TunSettings,
        options: &NetOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<(Packets, mpsc::Receiver<Event>), UpError> {
        Ok(match self {
            Self::Tun { threads, .. } => {
                let (path, events) = PacketPath::node(settings.port, *threads, clock)?;
                (Packets::Tun(path), events)
            }
            Self::Kernel { number } => {
                let (path, events) = KernelPath::start(options, settings.port, (&settings.interface, *number), clock)?;
                (Packets::Kernel(path), events)
            }
        })
    }

    /// Applications' packets cross the interface from now on.
    pub(super) fn attach_to(self, packets: &Packets) {
        if let Self::Tun { device, .. } = self {
            packets.attach(device.into_queues());
        }
    }
}

/// The way of packets, running.
pub(crate) enum Packets {
    Tun(PacketPath),
    Kernel(KernelPath),
}

impl Packets {
    /// The node's port as signalling sees it.
    pub(crate) fn signalling(&self) -> Arc<dyn UdpPort> {
        match self {
            Self::Tun(path) => path.signalling(),
            Self::Kernel(path) => path.signalling(),
        }
    }

    /// Serves this TUN device from now on.
    pub(crate) fn attach(&self, queues: Vec<Queue>) {
        if let Self::Tun(path) = self {
            path.attach(queues);
        }
    }

    /// Hands packets to this address up; what the kernel carries does not come by here.
    pub(crate) fn set_aside(&self, address: IpAddr) {
        if let Self::Tun(path) = self {
            path.set_aside(address);
        }
    }

    /// Writes a packet to the TUN device; `false` if there is none.
    pub(crate) fn deliver(&self, packet: &[u8]) -> bool {
        match self {
            Self::Tun(path) => path.deliver(packet),
            Self::Kernel(_) => false,
        }
    }

    /// Waits until something has failed.
    pub(crate) async fn failed(&self) -> Failure {
        match self {
            Self::Tun(path) => path.failed().await,
            Self::Kernel(path) => path.failed().await,
        }
    }

    /// Whether farewells to peers need the interface: the kernel takes them into the tunnels by it.
    pub(super) fn leaves_by_interface(&self) -> bool {
        matches!(self, Self::Kernel(_))
    }

    /// A life of the machine begins: its tunnels are these.
    pub(super) fn use_tunnels(&self, tunnels: Arc<TunnelTable>) {
        match self {
            Self::Tun(path) => path.use_tunnels(tunnels),
            Self::Kernel(path) => path.use_tunnels(tunnels),
        }
    }

    /// Sends an application's packet that has waited here for its tunnel; in the kernel's way none waits here.
    pub(super) fn send(&self, packet: &[u8]) -> Result<(), OutboundRefusal> {
        match self {
            Self::Tun(path) => path.send(packet),
            Self::Kernel(_) => Err(OutboundRefusal::CarriedElsewhere),
        }
    }

    /// The host's addresses may have changed.
    pub(super) fn look(&self) {
        if let Self::Kernel(path) = self {
            path.look();
        }
    }

    /// What is counted, by the names that metrics give it.
    pub(crate) fn counted(&self) -> Vec<(&'static str, u64)> {
        match self {
            Self::Tun(path) => path.counters().named().collect(),
            Self::Kernel(path) => path.counted().into(),
        }
    }
}
