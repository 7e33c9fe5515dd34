//! Datagrams that leave together: what a task sends in one turn goes out when the turn is over, one call for each run of
//! datagrams to the same destination.
//!
//! **Order** is kept: whatever is sent leaves after everything that was sent before.

use super::sockets::Sockets;
use ntmobile_ports::net::NetError;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// So many datagrams leave in one call at most: every kernel that cuts takes as many.
const MOST: usize = 64;
/// The most bytes of one call: what one IPv4 packet can carry of UDP.
const LONGEST_TRAIN: usize = 65_507;
/// Longer datagrams leave alone: links that could carry them whole are rare, and cutting needs whole ones.
const LONGEST: usize = 1_452;

pub(super) struct Outbox {
    sockets: Arc<Sockets>,
    train: Mutex<Train>,
    /// Wakes the task that comes after the turn.
    turn: Arc<Notify>,
}

/// Datagrams of the same length to the same destination, the last one maybe shorter.
struct Train {
    /// Somebody's turn is under way: its first datagram has left.
    is_turn: bool,
    to: SocketAddr,
    stride: usize,
    count: usize,
    bytes: Vec<u8>,
}

impl Outbox {
    /// Opens one, and starts the task that ends turns. Must be called within a tokio runtime.
    pub(super) fn open(sockets: Arc<Sockets>) -> Arc<Self> {
        let to = (Ipv4Addr::UNSPECIFIED, 0).into();
        let train = Mutex::new(Train { is_turn: false, to, stride: 0, count: 0, bytes: Vec::new() });
        let turn = Arc::new(Notify::new());
        let outbox = Arc::new(Self { sockets, train, turn: Arc::clone(&turn) });
        let port = Arc::downgrade(&outbox);
        tokio::spawn(async move {
            loop {
                turn.notified().await;
                let Some(outbox) = port.upgrade() else { return };
                outbox.end_turn();
            }
        });
        outbox
    }

    /// Sends the first datagram of a turn; lets the others wait for its end.
    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) -> Result<(), NetError> {
        let mut train = self.train.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !std::mem::replace(&mut train.is_turn, true);
        if is_first {
            self.turn.notify_one();
        }
        if is_first || bytes.is_empty() || bytes.len() > LONGEST {
            train.depart(&self.sockets);
            return self.sockets.answer(to, bytes, None);
        }
        if !train.has_room_for(to, bytes) {
            train.depart(&self.sockets);
        }
        train.take(to, bytes);
        Ok(())
    }

    /// Sends everything that waits.
    pub(super) fn depart(&self) {
        self.train.lock().unwrap_or_else(PoisonError::into_inner).depart(&self.sockets);
    }

    /// Sends everything that waits, and lets the task end.
    pub(super) fn close(&self) {
        self.depart();
        self.turn.notify_one();
    }

    fn end_turn(&self) {
        let mut train = self.train.lock().unwrap_or_else(PoisonError::into_inner);
        train.depart(&self.sockets);
        train.is_turn = false;
    }
}

impl Train {
    fn has_room_for(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let is_whole = self.bytes.len() == self.count * self.stride;
        self.count == 0
            || (to == self.to
                && bytes.len() <= self.stride
                && is_whole
                && self.count < MOST
                && self.bytes.len() + bytes.len() <= LONGEST_TRAIN)
    }

    fn take(&mut self, to: SocketAddr, bytes: &[u8]) {
        if self.count == 0 {
            (self.to, self.stride) = (to, bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        self.count += 1;
    }

    /// Whoever sent these has been told that they are on their way; what cannot leave is lost, as on the way, and the next
    /// turn's first datagram tells.
    fn depart(&mut self, sockets: &Sockets) {
        if self.count == 0 {
            return;
        }
        let segment = u16::try_from(self.stride).ok().filter(|_| self.count > 1);
        let _lost = sockets.answer(self.to, &self.bytes, segment);
        self.bytes.clear();
        self.count = 0;
    }
}
