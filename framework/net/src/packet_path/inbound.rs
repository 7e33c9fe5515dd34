//! From the network to the device: receive a train, tell ESP from signalling, open in place, join, write.

use super::Shared;
use super::port::Lane;
use super::reception::Reception;
use super::socket::ReceivedTrain;
use super::upward::Event;
use crate::tun::Queue;
use crate::tun::offload::{Coalescer, Mergeable};
use bytes::Bytes;
use ntmobile_ports::net::Received;
use ntmobile_proto::packet::{Arrival, InboundRefusal};
use ntmobile_proto::time::Instant;
use ntmobile_wire::datagram::{Datagram, classify};
use ntmobile_wire::identifier::Spi;
use std::io::IoSlice;

/// The incoming side of one thread.
pub(super) struct Inbound {
    reception: Reception,
}

impl Inbound {
    pub(super) fn new() -> Self {
        Self { reception: Reception::new() }
    }

    /// Receives what there is, within a turn. Returns whether there may be more.
    pub(super) fn turn(&mut self, shared: &Shared, lane: Lane<'_>, queue: Option<&Queue>) -> bool {
        let mut is_more = false;
        for socket in lane.sockets() {
            is_more |= self.reception.turn(socket, &shared.counters, |train, datagrams| {
                let now = shared.clock.now();
                Delivery { shared, lane, queue, now, train: *train }.deliver(datagrams);
            });
        }
        is_more
    }
}

/// The datagrams of `train` that begin it and are of the same kind as the first; what they are, and how many octets.
pub(super) fn run(datagrams: &[u8], stride: usize) -> (Datagram, usize) {
    let mut chunks = datagrams.chunks(stride);
    let Some(first) = chunks.next() else { return (Datagram::Malformed, 0) };
    let kind = classify(first);
    let same = chunks.take_while(|datagram| classify(datagram) == kind);
    (kind, same.fold(first.len(), |length, datagram| length + datagram.len()))
}

/// What becomes of one train.
struct Delivery<'a> {
    shared: &'a Shared,
    lane: Lane<'a>,
    queue: Option<&'a Queue>,
    now: Instant,
    train: ReceivedTrain,
}

impl Delivery<'_> {
    fn deliver(&mut self, mut datagrams: &mut [u8]) {
        let stride = self.train.stride;
        let mut coalescer = Coalescer::new(self.queue.map_or(Mergeable::default(), Queue::mergeable));
        while !datagrams.is_empty() {
            let (kind, length) = run(datagrams, stride);
            let (same, rest) = datagrams.split_at_mut(length);
            datagrams = rest;
            match kind {
                Datagram::Esp(spi) => self.open(spi, same, &mut coalescer),
                Datagram::Signalling => {
                    same.chunks(stride).for_each(|datagram| self.shared.signal(&self.train, datagram));
                }
                Datagram::Keepalive => {}
                Datagram::Malformed => self.shared.counters.malformed.add(same.len().div_ceil(stride) as u64),
            }
        }
        coalescer.finish(|parts| self.write(parts));
    }

    /// Opens packets of one SPI and has them joined and written.
    fn open<'a>(&self, spi: Spi, packets: &'a mut [u8], coalescer: &mut Coalescer<'a>) {
        let counters = &self.shared.counters;
        let table = self.shared.table.load();
        let Some(tunnel) = table.receiving(spi) else {
            if let Some(answer) = table.source_unknown(self.now, spi, self.train.stride) {
                // Its sender repeats its packets; the next one will be answered if this answer is lost.
                let _ = self.lane.answer(&self.train, &answer);
            }
            return counters.unknown_spi.add(packets.len().div_ceil(self.train.stride) as u64);
        };
        let is_ambiguous = table.is_ambiguous();
        let notices =
            tunnel.arrive(self.now, self.train.from, spi, packets, self.train.stride, |arrival| match arrival {
                Ok(Arrival::Packet(packet)) => {
                    if is_ambiguous {
                        self.shared.remember(&table, tunnel.settings().application, packet);
                    }
                    coalescer.push(packet, |parts| self.write(parts));
                }
                Ok(Arrival::Control(message)) => {
                    let (tunnel, bytes) = (tunnel.settings().spi_in, Bytes::copy_from_slice(message));
                    self.shared.tell(Event::Control { tunnel, bytes });
                }
                Ok(Arrival::Nothing) => {}
                Err(InboundRefusal::Malformed) => counters.malformed.add(1),
                Err(InboundRefusal::UnknownSpi(_)) => counters.unknown_spi.add(1),
                Err(InboundRefusal::Esp(_)) => counters.refused.add(1),
                Err(InboundRefusal::ForeignInner) => counters.foreign_inner.add(1),
            });
        for notice in notices {
            self.shared.tell(Event::Notice(notice));
        }
    }

    fn write(&self, parts: &[IoSlice<'_>]) {
        let written = self.queue.is_some_and(|queue| queue.write(parts).is_ok());
        let counter = if written { &self.shared.counters.written } else { &self.shared.counters.unwritten };
        counter.add(1);
    }
}

impl Shared {
    /// Hands a signalling datagram up.
    pub(super) fn signal(&self, train: &ReceivedTrain, datagram: &[u8]) {
        self.port.remember(train);
        let received = Received { from: train.from, to: train.to, bytes: Bytes::copy_from_slice(datagram) };
        if self.signalling.try_send(received).is_err() {
            self.counters.signalling_overload.add(1);
        }
    }

    /// Hands an event up.
    pub(super) fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.counters.events_overload.add(1);
        }
    }
}
