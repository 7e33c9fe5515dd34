//! Outgoing datagrams, gathered until they fill one system call.

use super::counters::Counters;
use super::port::{Lane, TrainError};
use super::socket::{LONGEST_TRAIN, MOST_DATAGRAMS};
use std::net::SocketAddr;

/// A train in the making: datagrams of one size to one place, of which the last may be shorter.
pub(super) struct Train {
    buffer: Box<[u8]>,
    used: usize,
    datagrams: usize,
    stride: usize,
    to: Option<SocketAddr>,
}

/// The path to this place did not carry a train; its datagrams went one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Narrow(pub(super) SocketAddr);

impl Train {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; LONGEST_TRAIN].into(), used: 0, datagrams: 0, stride: 0, to: None }
    }

    /// Whether a datagram of `length` octets to `to` can go in the same call as what is there.
    fn takes(&self, to: SocketAddr, length: usize) -> bool {
        let is_open = self.used == self.datagrams * self.stride && self.datagrams < MOST_DATAGRAMS;
        self.used == 0
            || (self.to == Some(to) && is_open && length <= self.stride && self.used + length <= LONGEST_TRAIN)
    }

    /// The place for a datagram of `length` octets to `to`; what could not go with it is sent first. `None` if no datagram is so
    /// long.
    pub(super) fn place(
        &mut self,
        to: SocketAddr,
        length: usize,
        lane: Lane<'_>,
        counters: &Counters,
    ) -> (Option<&mut [u8]>, Option<Narrow>) {
        let narrow = if self.takes(to, length) { None } else { self.send(lane, counters) };
        self.to = Some(to);
        (self.buffer.get_mut(self.used..self.used + length), narrow)
    }

    /// The datagram of `length` octets at the place given last is complete.
    pub(super) fn commit(&mut self, length: usize) {
        if self.used == 0 {
            self.stride = length;
        }
        self.used += length;
        self.datagrams += 1;
    }

    /// Sends what is there.
    pub(super) fn send(&mut self, lane: Lane<'_>, counters: &Counters) -> Option<Narrow> {
        let (used, datagrams) = (std::mem::take(&mut self.used), std::mem::take(&mut self.datagrams));
        let to = self.to.filter(|_| used > 0)?;
        send(lane, to, &self.buffer[..used], self.stride, datagrams, counters)
    }
}

/// Sends a train, or its datagrams one by one where that is all that can be done.
pub(super) fn send(
    lane: Lane<'_>,
    to: SocketAddr,
    train: &[u8],
    stride: usize,
    datagrams: usize,
    counters: &Counters,
) -> Option<Narrow> {
    let narrow = match lane.send_train(to, train, stride) {
        Ok(()) => {
            counters.sent.add(datagrams as u64);
            counters.trains_sent.add(1);
            return None;
        }
        Err(TrainError::Lost) => {
            counters.unsent.add(datagrams as u64);
            return None;
        }
        Err(TrainError::TooNarrow) => Some(Narrow(to)),
        Err(TrainError::NoSegmentation) => None,
    };
    for datagram in train.chunks(stride) {
        let counter = if lane.send(to, datagram).is_ok() { &counters.sent } else { &counters.unsent };
        counter.add(1);
    }
    narrow
}
