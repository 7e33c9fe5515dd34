//! What comes at a socket, by the train: as the kernel has joined it, or joined here.
//!
//! A network device that joins datagrams hands them over by the dozen in one call. Where it does not, each takes a call of its own;
//! but those of one sender and one size that are there together are received one behind another, and go on as one train all
//! the same. Nothing waits for more to come, and order is kept.

use super::counters::Counters;
use super::socket::{LONGEST_TRAIN, MOST_DATAGRAMS, ReceivedTrain, TrainSocket};
use std::io;
use std::ops::ControlFlow;

/// So many trains are received before something else gets its turn.
const TURN: usize = 4;

/// Room for the longest train, and a third of the buffer.
const ROOM: usize = 65_536;

/// The receiving side of one thread.
pub(super) struct Reception {
    /// A train that begins in the first third ends in the second, and what turns out not to belong to it in the last.
    buffer: Box<[u8]>,
}

impl Reception {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; 3 * ROOM].into() }
    }

    /// Receives what there is, within a turn, and passes on each train. Returns whether there may be more.
    pub(super) fn turn(
        &mut self,
        socket: &TrainSocket,
        counters: &Counters,
        mut pass: impl FnMut(&ReceivedTrain, &mut [u8]),
    ) -> bool {
        let mut behind = None;
        for _ in 0..TURN {
            let (at, first) = match behind.take() {
                Some((at, train)) => (self.make_room(at, &train), train),
                None => match receive(socket, counters, &mut self.buffer[..ROOM]) {
                    ControlFlow::Break(()) => return false,
                    ControlFlow::Continue(None) => continue,
                    ControlFlow::Continue(Some(train)) => (0, train),
                },
            };
            let (train, end) = self.gather(at, first, socket, counters);
            pass(&train, &mut self.buffer[at..at + train.length]);
            match end {
                End::Drained => return false,
                End::Behind(next) => behind = Some((at + train.length, next)),
                End::Full => {}
            }
        }
        if let Some((at, train)) = behind {
            pass(&train, &mut self.buffer[at..at + train.length]);
        }
        true
    }

    /// Moves a train to the front if what may come behind it would find no room where it lies; returns where it lies then.
    fn make_room(&mut self, at: usize, train: &ReceivedTrain) -> usize {
        if at <= ROOM {
            return at;
        }
        self.buffer.copy_within(at..at + train.length, 0);
        0
    }

    /// Receives behind a train what belongs to it.
    fn gather(
        &mut self,
        at: usize,
        mut train: ReceivedTrain,
        socket: &TrainSocket,
        counters: &Counters,
    ) -> (ReceivedTrain, End) {
        // What the kernel has joined is as long as it gets.
        if train.length > train.stride {
            return (train, End::Full);
        }
        while is_open(&train) {
            let end = at + train.length;
            match receive(socket, counters, &mut self.buffer[end..end + ROOM]) {
                ControlFlow::Break(()) => return (train, End::Drained),
                ControlFlow::Continue(None) => break,
                ControlFlow::Continue(Some(next)) if belongs(&train, &next) => train.length += next.length,
                ControlFlow::Continue(Some(next)) => return (train, End::Behind(next)),
            }
        }
        (train, End::Full)
    }
}

/// Why a train ended.
enum End {
    /// It takes no more.
    Full,
    /// Nothing else was there.
    Drained,
    /// Something else lies behind it.
    Behind(ReceivedTrain),
}

/// Whether another datagram of the same size fits.
fn is_open(train: &ReceivedTrain) -> bool {
    let is_even = train.length.is_multiple_of(train.stride);
    is_even && train.length / train.stride < MOST_DATAGRAMS && train.length + train.stride <= LONGEST_TRAIN
}

/// Whether this is one datagram that can be the next of the train, or its shorter last.
fn belongs(train: &ReceivedTrain, next: &ReceivedTrain) -> bool {
    let is_alike = next.from == train.from && next.to == train.to;
    is_alike && next.length == next.stride && next.length <= train.stride
}

/// Receives a train, if there is one; errors of single datagrams are counted and passed over.
fn receive(socket: &TrainSocket, counters: &Counters, buffer: &mut [u8]) -> ControlFlow<(), Option<ReceivedTrain>> {
    match socket.receive(buffer) {
        Ok(train) => {
            counters.received.add(train.length.div_ceil(train.stride) as u64);
            counters.trains_received.add(1);
            ControlFlow::Continue(Some(train))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ControlFlow::Break(()),
        Err(_) => {
            // Truncated, or an ICMP error about something sent before: neither says anything about the next.
            counters.malformed.add(1);
            ControlFlow::Continue(None)
        }
    }
}
