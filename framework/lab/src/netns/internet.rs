//! The simulator's internet between real network namespaces, in real time.
//!
//! A namespace is attached to an interface of the model by a device ([`EmulatedInternet::attach`]): what its kernel sends
//! goes over the model's links, NATs and firewalls, and comes out of another namespace's device when it is due, or not at
//! all. Which host is attached is the caller's choice: one in whose network the model does all, NAT included; or a router of
//! the real kernel, whose NAT is the kernel's and whose networks lie behind it
//! ([`Network::delegate`](ntmobile_sim::network::Network::delegate)).
//!
//! The model is changed while it runs as the simulated one is, by [`EmulatedInternet::network`]: a host that is detached
//! loses its device, one that is attached elsewhere is given a new one, a link goes down or becomes slower, a NAT forgets.
//!
//! One thread carries everything. It hands a packet over when the model says, as exactly as the machine can; how exactly that
//! was is told by [`EmulatedInternet::account`], and a run on a machine that was too slow is known by
//! [`Punctuality::overload`].
//!
//! ```no_run
//! use ntmobile_lab::netns::internet::{AttachSettings, EmulatedInternet};
//! use ntmobile_net::namespace::NetworkNamespace;
//! use ntmobile_sim::network::{LinkRecord, NatRecord, Network, NodeKind};
//! use std::time::Duration;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut network = Network::new(7);
//! let core = network.add_node("core", NodeKind::Router)?;
//! network.serve(core, "203.0.113.0/24".parse()?)?;
//! let home = network.add_node("home", NodeKind::Nat(NatRecord::default()))?;
//! network.serve(home, "192.168.1.0/24".parse()?)?;
//! network.attach(home, core, LinkRecord::with_delay(Duration::from_millis(8)))?;
//! let alice = network.add_node("alice", NodeKind::Host)?;
//! let wifi = network.attach(alice, home, LinkRecord::default())?;
//!
//! let internet = EmulatedInternet::start(network)?;
//! internet.attach(wifi, NetworkNamespace::named("alice")?, &AttachSettings::device("wifi"))?;
//! // …
//! internet.network(|network| network.detach(wifi));   // the device is gone when this returns
//! println!("{:?}", internet.finish()?.punctuality);
//! # Ok(()) }
//! ```

mod attachment;
mod background;
mod carrier;
mod punctuality;
mod time;

pub use attachment::{AttachError, AttachSettings};
pub use punctuality::{LATE, LOST_ONE_IN, Overload, Punctuality, STALLED};

use attachment::{Attachment, Shape};
use background::Background;
use carrier::{Shared, State, token};
use ntmobile_net::namespace::NetworkNamespace;
use ntmobile_proto::time::{Instant, UnixTime};
use ntmobile_sim::capture::Capture;
use ntmobile_sim::network::{Counters, InterfaceId, Network};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use thiserror::Error;

/// What passed the edge between kernel and model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    /// Packets taken into the model.
    pub taken_in: u64,
    /// Packets that were not.
    pub refused: Refused,
    /// Packets that could not be handed over because the namespace's device did not take them: it is down or gone.
    pub undeliverable: u64,
    /// Packets lost for want of time or memory: too many on their way, or no room in the kernel.
    pub lost: u64,
}

/// Why packets were not taken into the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// They were none.
    pub malformed: u64,
    /// They carried what the model knows nothing of.
    pub unknown_transport: u64,
    /// They were for their own link alone.
    pub link_scope: u64,
}

/// What an emulated internet has done.
#[derive(Clone, Debug)]
pub struct Account {
    /// What became of packets within the model, all nodes together.
    pub totals: Counters,
    /// What passed its edge.
    pub edge: Edge,
    /// Whether the machine kept up.
    pub punctuality: Punctuality,
}

/// Why an emulated internet did not live to its end.
#[derive(Debug, Error)]
pub enum InternetError {
    /// It cannot wait, or its thread cannot be started.
    #[error("the emulated internet cannot run: {0}")]
    Io(#[from] io::Error),
    /// Its thread panicked.
    #[error("the emulated internet's thread panicked")]
    Panicked,
    /// The capture is not whole.
    #[error("the capture of the emulated internet is not whole: {0}")]
    Capture(io::Error),
}

/// The simulator's internet between namespaces. When it is dropped, its devices are gone.
#[derive(Debug)]
pub struct EmulatedInternet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
    /// Taken by whoever asks or changes something. What the kernel takes its time for is done under this lock, not under that
    /// of the state, so that packets go on meanwhile.
    control: Mutex<()>,
}

impl EmulatedInternet {
    /// Lets a network live in real time, with nothing attached to it yet.
    pub fn start(network: Network) -> Result<Self, InternetError> {
        let shared = Arc::new(Shared::new(network)?);
        let carrying = Arc::clone(&shared);
        let thread = thread::Builder::new().name("internet".into()).spawn(move || carrying.carry())?;
        Ok(Self { shared, thread: Some(thread), control: Mutex::new(()) })
    }

    /// Its time, which captures have, too.
    pub fn now(&self) -> Instant {
        self.shared.time.now()
    }

    /// When on the wall its time began.
    pub fn epoch(&self) -> UnixTime {
        self.shared.time.epoch
    }

    /// Whether it still carries packets. One that does not says why at [`EmulatedInternet::finish`].
    pub fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Makes a device in a namespace that stands for an interface of the model, with its addresses and MTU.
    pub fn attach(
        &self,
        interface: InterfaceId,
        namespace: NetworkNamespace,
        settings: &AttachSettings,
    ) -> Result<(), AttachError> {
        let _control = self.control();
        let shape = self.shape_if_free(interface)?;
        let attachment = Attachment::make(interface, shape, namespace, settings)?;
        let device = attachment.tun.name().to_owned();
        let mut state = self.shared.state();
        let is_capturing = state.is_capturing;
        state.network.act(self.now(), |network| {
            network.open(interface);
            if is_capturing {
                network.capture_also(interface);
            }
        });
        let watched = self.shared.readiness.watch(attachment.tun.as_fd(), token(interface));
        watched.map_err(|source| AttachError::Watch { device, source })?;
        state.attachments.insert(token(interface), Arc::new(attachment));
        Ok(())
    }

    fn shape_if_free(&self, interface: InterfaceId) -> Result<Shape, AttachError> {
        let state = self.shared.state();
        let network = state.network.network();
        let is_there = network.interfaces(network.node_of(interface)).contains(&interface);
        if !is_there || state.attachments.contains_key(&token(interface)) {
            return Err(AttachError::NotFree(network.interface_name(interface).to_owned()));
        }
        Ok(Shape::of(network, interface))
    }

    /// Asks or changes the network. Devices follow before this returns: that of an interface that is detached is gone, one
    /// whose link goes down has no carrier, and the MTU is the link's. Nothing else of the emulated internet may be asked
    /// inside.
    pub fn network<T>(&self, action: impl FnOnce(&mut Network) -> T) -> T {
        let _control = self.control();
        let mut state = self.shared.state();
        let value = state.network.act(self.now(), action);
        let State { network, attachments, .. } = &mut *state;
        let network = network.network();
        let gone: Vec<_> = attachments.extract_if(.., |_, attachment| !network.is_open(attachment.interface)).collect();
        let stayed: Vec<_> = attachments
            .values()
            .map(|attachment| (Arc::clone(attachment), Shape::of(network, attachment.interface)))
            .collect();
        drop(state);
        self.shared.readiness.wake();
        for (attachment, shape) in stayed {
            // One that refuses has been removed from outside: what it does not carry is counted where that happens.
            let _refused = attachment.follow(shape);
        }
        let lost: u64 = gone.iter().map(|(_, attachment)| attachment.lost()).sum();
        drop(gone);
        if lost > 0 {
            self.shared.state().lost_before += lost;
        }
        value
    }

    /// Writes all packets at the attachments, present and to come, as a pcapng file, until [`EmulatedInternet::finish_capture`].
    /// The sink is written to on a thread of its own: packets wait for no disk.
    pub fn start_capture(&self, sink: Box<dyn Write + Send>) -> io::Result<()> {
        let _control = self.control();
        let capture = Capture::new(Box::new(Background::new(sink)?), self.epoch());
        let mut state = self.shared.state();
        state.is_capturing = true;
        let attached: Vec<InterfaceId> = state.attachments.values().map(|attachment| attachment.interface).collect();
        state.network.act(self.now(), |network| network.start_capture(capture, attached));
        Ok(())
    }

    /// Ends the capture; says whether all of it was written.
    pub fn finish_capture(&self) -> io::Result<()> {
        let _control = self.control();
        let capture = {
            let mut state = self.shared.state();
            state.is_capturing = false;
            state.network.act(self.now(), Network::end_capture)
        };
        capture.map_or(Ok(()), Capture::finish)
    }

    /// What it has done so far, and how well the machine has kept up.
    pub fn account(&self) -> Account {
        let _control = self.control();
        let (attachments, mut account, lateness, lost) = {
            let state = self.shared.state();
            let attachments: Vec<_> = state.attachments.values().cloned().collect();
            let totals = state.network.network().totals();
            let account = Account { totals, edge: state.edge, punctuality: Punctuality::default() };
            (attachments, account, state.lateness.clone(), state.edge.lost + state.lost_before)
        };
        let in_devices: u64 = attachments.iter().map(|attachment| attachment.lost()).sum();
        account.punctuality = lateness.punctuality(lost + in_devices);
        account
    }

    /// Ends it: packets on their way are lost, the capture is finished, the devices are gone. Tells what was done.
    pub fn finish(mut self) -> Result<Account, InternetError> {
        self.end()?;
        self.finish_capture().map_err(InternetError::Capture)?;
        Ok(self.account())
    }

    fn end(&mut self) -> Result<(), InternetError> {
        self.shared.state().is_over = true;
        self.shared.readiness.wake();
        match self.thread.take().map(JoinHandle::join) {
            None => Ok(()),
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(_)) => Err(InternetError::Panicked),
        }
    }

    fn control(&self) -> MutexGuard<'_, ()> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EmulatedInternet {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `finish`.
        let _ended_already = self.end();
    }
}
