//! Where a namespace is attached: a device in it that stands for one interface of the model.

use ntmobile_net::namespace::NetworkNamespace;
use ntmobile_net::tun::{PlainTun, PlainTunSettings, TunError};
use ntmobile_sim::network::{InterfaceId, Network, Prefix};
use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// How many packets may wait in a device for the emulated internet to take them: some 20 ms at a million a second.
const QUEUE_LENGTH: u32 = 20_000;

/// The largest packet that a device of the kernel takes.
const LARGEST_MTU: usize = 65_535;

/// Why a namespace could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The namespace cannot be entered.
    #[error("the namespace {namespace} cannot be entered (this needs CAP_SYS_ADMIN): {source}")]
    Enter {
        /// Which.
        namespace: String,
        /// Why.
        source: io::Error,
    },
    /// The device cannot be made.
    #[error(transparent)]
    Device(#[from] TunError),
    /// The kernel refuses an address or a route.
    #[error("{device} gets no {what}: {source}")]
    Refused {
        /// The device.
        device: String,
        /// What it was to get.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// The device cannot be watched.
    #[error("{device} cannot be watched: {source}")]
    Watch {
        /// The device.
        device: String,
        /// Why not.
        source: io::Error,
    },
    /// The model's interface is attached already, or is gone.
    #[error("the interface {0} is attached already or gone")]
    NotFree(String),
}

/// How a namespace is attached.
#[derive(Clone, Debug)]
pub struct AttachSettings {
    /// What its device is called.
    pub device: String,
    /// With which metric its default routes are entered: among several devices of a namespace, the smallest wins. `None` for
    /// no default routes.
    pub default_metric: Option<u32>,
}

impl AttachSettings {
    /// A device of this name, by which everything leaves that has no better route.
    pub fn device(name: &str) -> Self {
        Self { device: name.to_owned(), default_metric: Some(0) }
    }
}

/// What the model says of an interface that a device has to have, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) name: String,
    pub(super) addresses: Vec<(IpAddr, Prefix)>,
    pub(super) mtu: u32,
    pub(super) is_link_up: bool,
}

impl Shape {
    pub(super) fn of(network: &Network, interface: InterfaceId) -> Self {
        Self {
            name: network.interface_name(interface).to_owned(),
            addresses: network.interface_networks(interface).collect(),
            mtu: network.interface_mtu(interface).min(LARGEST_MTU) as u32,
            is_link_up: network.is_link_up(interface),
        }
    }
}

/// A device that stands for an interface.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) interface: InterfaceId,
    pub(super) tun: PlainTun,
    namespace: NetworkNamespace,
    /// What the device was last told to be.
    shape: Mutex<Shape>,
}

impl Attachment {
    /// Makes the device, with the interface's addresses and MTU.
    pub(super) fn make(
        interface: InterfaceId,
        shape: Shape,
        namespace: NetworkNamespace,
        settings: &AttachSettings,
    ) -> Result<Self, AttachError> {
        let made = namespace.enter(|| Self::device(&shape, settings));
        let enter = |source| AttachError::Enter { namespace: namespace.path().display().to_string(), source };
        let tun = made.map_err(enter)??;
        Ok(Self { interface, tun, namespace, shape: Mutex::new(shape) })
    }

    /// In the namespace.
    fn device(shape: &Shape, settings: &AttachSettings) -> Result<PlainTun, AttachError> {
        let name = settings.device.clone();
        let tun = PlainTun::create(&PlainTunSettings { name, mtu: shape.mtu, queue_length: QUEUE_LENGTH })?;
        let refused = |what: String| {
            let device = tun.name().to_owned();
            move |source| AttachError::Refused { device, what, source }
        };
        for (address, prefix) in &shape.addresses {
            tun.add_address(*address, prefix.length()).map_err(refused(format!("address {address}")))?;
        }
        let first_of =
            |ipv4| shape.addresses.iter().map(|(address, _)| *address).find(|address| address.is_ipv4() == ipv4);
        if let Some(metric) = settings.default_metric {
            for address in [first_of(true), first_of(false)].into_iter().flatten() {
                tun.add_default_route(address, metric).map_err(refused("default route".into()))?;
            }
        }
        if !shape.is_link_up {
            tun.set_carrier(false).map_err(refused("pulled cable".into()))?;
        }
        Ok(tun)
    }

    /// Follows the model: the cable is pulled or plugged in, the MTU is another.
    pub(super) fn follow(&self, shape: Shape) -> io::Result<()> {
        let mut told = self.shape.lock().unwrap_or_else(PoisonError::into_inner);
        if shape.is_link_up != told.is_link_up {
            self.tun.set_carrier(shape.is_link_up)?;
        }
        if shape.mtu != told.mtu {
            self.namespace.enter(|| self.tun.set_mtu(shape.mtu))??;
        }
        *told = shape;
        Ok(())
    }

    /// How many packets were lost because nobody took them in time.
    pub(super) fn lost(&self) -> u64 {
        // A device that somebody has removed can tell no more.
        self.namespace.enter(|| self.tun.lost()).and_then(|lost| lost).unwrap_or_default()
    }
}
