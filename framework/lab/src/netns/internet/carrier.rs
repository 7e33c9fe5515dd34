//! The thread that carries: takes packets out of devices into the model, and hands over what is due.

use super::attachment::Attachment;
use super::punctuality::Lateness;
use super::time::RealTime;
use super::{Edge, Refused};
use bytes::Bytes;
use ntmobile_net::readiness::{Readiness, favour_this_thread};
use ntmobile_sim::clocked::{ClockedNetwork, HandedOut};
use ntmobile_sim::network::{AdmissionError, InterfaceId, Network, Packet};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many packets are taken from one device before what is due meanwhile is handed over.
const BATCH: usize = 32;

/// How many packets may be on their way at once; what comes then is lost and counted, so that memory is bounded.
const MOST_ON_THE_WAY: usize = 200_000;

/// The largest packet.
const LARGEST: usize = 65_536;

/// What the thread and those who ask and change share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) time: RealTime,
    pub(super) readiness: Readiness,
    /// Held while somebody but the thread waits for the state, which the thread takes again and again.
    turn: Mutex<()>,
    state: Mutex<State>,
}

/// The model, and what is attached to it.
#[derive(Debug)]
pub(super) struct State {
    pub(super) network: ClockedNetwork,
    /// By the number of their interface.
    pub(super) attachments: BTreeMap<u64, Arc<Attachment>>,
    pub(super) edge: Edge,
    pub(super) lateness: Lateness,
    /// What devices had lost that are gone.
    pub(super) lost_before: u64,
    /// Whether new attachments are captured, too.
    pub(super) is_capturing: bool,
    /// Whether the thread is to end.
    pub(super) is_over: bool,
}

impl Shared {
    pub(super) fn new(network: Network) -> io::Result<Self> {
        Ok(Self {
            time: RealTime::start(),
            readiness: Readiness::new()?,
            turn: Mutex::new(()),
            state: Mutex::new(State {
                network: ClockedNetwork::new(network),
                attachments: BTreeMap::new(),
                edge: Edge::default(),
                lateness: Lateness::default(),
                lost_before: 0,
                is_capturing: false,
                is_over: false,
            }),
        })
    }

    /// The state, in turn. A panic under the lock has already ended the thread, which is told at the end.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries until told to end.
    pub(super) fn carry(&self) -> io::Result<()> {
        // Without the right to it, packets are late more often; how late, is measured anyway.
        let _as_anybody = favour_this_thread();
        let (mut ready, mut buffers) = (Vec::new(), Buffers::default());
        loop {
            let next = {
                let mut state = self.state();
                if state.is_over {
                    return Ok(());
                }
                state.hand_over(&self.time, &mut buffers);
                for token in ready.drain(..) {
                    state.take_in(token, self, &mut buffers);
                    state.hand_over(&self.time, &mut buffers);
                }
                state.network.next_at()
            };
            self.readiness.wait(next.map(|at| self.time.on_the_machine(at)), &mut ready)?;
        }
    }
}

/// Room for one packet in each direction.
struct Buffers {
    incoming: Box<[u8]>,
    outgoing: Vec<u8>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { incoming: vec![0; LARGEST].into(), outgoing: Vec::with_capacity(LARGEST) }
    }
}

/// By what a device is told of; the reverse is looking it up.
pub(super) fn token(interface: InterfaceId) -> u64 {
    interface.number() as u64
}

impl State {
    /// Takes some of a device's packets into the model.
    fn take_in(&mut self, number: u64, shared: &Shared, buffers: &mut Buffers) {
        let Some(attachment) = self.attachments.get(&number) else { return };
        for _ in 0..BATCH {
            let length = match attachment.tun.read(&mut buffers.incoming) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    // Somebody has removed it from outside; it would be told of for ever.
                    let _it_is_gone = shared.readiness.unwatch(attachment.tun.as_fd());
                    return;
                }
            };
            match Packet::admit(&Bytes::copy_from_slice(&buffers.incoming[..length])) {
                Ok(_) if self.network.on_the_way() >= MOST_ON_THE_WAY => self.edge.lost += 1,
                Ok(packet) => {
                    self.edge.taken_in += 1;
                    self.network.emit(shared.time.now(), attachment.interface, packet);
                }
                Err(why) => self.edge.refused.count(&why),
            }
        }
    }

    /// Hands over everything that is due.
    fn hand_over(&mut self, time: &RealTime, buffers: &mut Buffers) {
        loop {
            let now = time.now();
            if self.network.next_at().is_none_or(|at| at > now) {
                return;
            }
            for HandedOut { at, interface, packet } in self.network.advance(now) {
                let Some(attachment) = self.attachments.get(&token(interface)) else { continue };
                buffers.outgoing.clear();
                packet.encode(&mut buffers.outgoing);
                match attachment.tun.write(&buffers.outgoing) {
                    Ok(()) => self.lateness.record(time.now().since(at)),
                    Err(error) if is_want_of_room(&error) => self.edge.lost += 1,
                    Err(_) => self.edge.undeliverable += 1,
                }
            }
        }
    }
}

/// Whether the kernel had no room for a packet, rather than no use for it.
fn is_want_of_room(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::Interrupted)
}

impl Refused {
    fn count(&mut self, why: &AdmissionError) {
        match why {
            AdmissionError::Malformed(_) => self.malformed += 1,
            AdmissionError::UnknownTransport(_) => self.unknown_transport += 1,
            AdmissionError::LinkScope(..) => self.link_scope += 1,
        }
    }
}
