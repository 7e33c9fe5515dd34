//! The packet path of an RS: trains in, trains out, by their SPI and without any key.

use super::Shared;
use super::inbound::{RECEIVE_BUFFER, receive, run};
use super::socket::{ReceivedTrain, TrainSocket};
use super::train::send;
use ntmobile_proto::packet::{Dropped, RelayTable, Relayed};
use ntmobile_wire::datagram::{Datagram, encode_source_unknown};
use ntmobile_wire::identifier::{Session, Spi, Transaction};
use ntmobile_wire::message::SourceUnknown;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What an RS forwards by in one life of its machine.
#[derive(Debug)]
pub(super) struct Forwarding {
    pub(super) table: Arc<RelayTable>,
    pub(super) session: Session,
}

/// The relaying side of one thread.
pub(super) struct Forwarder {
    buffer: Box<[u8]>,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; RECEIVE_BUFFER].into() }
    }

    /// Forwards one train. Returns whether there was any.
    pub(super) fn turn(&mut self, shared: &Shared, socket: &TrainSocket) -> bool {
        let ControlFlow::Continue(train) = receive(shared, socket, &mut self.buffer) else { return false };
        let Some(train) = train else { return true };
        let mut datagrams = &self.buffer[..train.length];
        while !datagrams.is_empty() {
            let (kind, length) = run(datagrams, train.stride);
            let (same, rest) = datagrams.split_at(length);
            datagrams = rest;
            match kind {
                Datagram::Esp(spi) => forward(spi, same, &train, shared, socket),
                Datagram::Signalling => same.chunks(train.stride).for_each(|datagram| shared.signal(&train, datagram)),
                Datagram::Keepalive => {}
                Datagram::Malformed => shared.counters.malformed.add(same.len().div_ceil(train.stride) as u64),
            }
        }
        true
    }
}

/// Forwards packets of one SPI.
fn forward(spi: Spi, packets: &[u8], train: &ReceivedTrain, shared: &Shared, socket: &TrainSocket) {
    let count = packets.len().div_ceil(train.stride);
    let counters = &shared.counters;
    let Some(forwarding) = &*shared.forwarding.load() else { return counters.not_ready.add(count as u64) };
    let now = shared.clock.now();
    match forwarding.table.relay_train(now, train.from, spi, count as u64, packets.len() as u64) {
        Relayed::To(to) => {
            send(socket, to, packets, train.stride, count, counters);
        }
        Relayed::SourceUnknown(spi) => answer(forwarding.session, spi, train.from, train.stride, shared, socket),
        Relayed::Drop(Dropped::Malformed) => counters.malformed.add(count as u64),
        Relayed::Drop(Dropped::UnknownSpi) => counters.unknown_spi.add(count as u64),
        Relayed::Drop(Dropped::NoLeg) => counters.no_leg.add(count as u64),
        Relayed::Drop(Dropped::AnsweredAlready) => counters.source_unknown_unsaid.add(count as u64),
    }
}

/// Tells a sender that its address has not proved itself, in no more octets than it sent.
fn answer(session: Session, spi: Spi, to: SocketAddr, limit: usize, shared: &Shared, socket: &TrainSocket) {
    // Nobody answers it, so its number means nothing.
    let datagram = encode_source_unknown(Transaction(0), session, &SourceUnknown { spi });
    let said = datagram.len() <= limit && socket.send(to, &datagram).is_ok();
    let counter = if said { &shared.counters.source_unknown } else { &shared.counters.source_unknown_unsaid };
    counter.add(1);
}
