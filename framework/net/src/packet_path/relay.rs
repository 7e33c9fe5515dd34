//! The packet path of an RS: trains in, trains out, by their SPI and without any key.

use super::Shared;
use super::inbound::run;
use super::port::Lane;
use super::reception::Reception;
use super::socket::ReceivedTrain;
use super::train::send;
use ntmobile_proto::packet::{Dropped, RelayTable, Relayed};
use ntmobile_wire::datagram::{Datagram, encode_source_unknown};
use ntmobile_wire::identifier::{Session, Spi, Transaction};
use ntmobile_wire::message::SourceUnknown;
use std::sync::Arc;

/// What an RS forwards by in one life of its machine.
#[derive(Debug)]
pub(super) struct Forwarding {
    pub(super) table: Arc<RelayTable>,
    pub(super) session: Session,
}

/// The relaying side of one thread.
pub(super) struct Forwarder {
    reception: Reception,
}

impl Forwarder {
    pub(super) fn new() -> Self {
        Self { reception: Reception::new() }
    }

    /// Forwards what there is at each socket, within a turn. Returns whether there may be more.
    pub(super) fn turn(&mut self, shared: &Shared, lane: Lane<'_>) -> bool {
        let mut is_more = false;
        for socket in lane.sockets() {
            is_more |=
                self.reception.turn(socket, &shared.counters, |train, datagrams| pass(train, datagrams, shared, lane));
        }
        is_more
    }
}

/// Passes on what a train consists of.
fn pass(train: &ReceivedTrain, mut datagrams: &[u8], shared: &Shared, lane: Lane<'_>) {
    while !datagrams.is_empty() {
        let (kind, length) = run(datagrams, train.stride);
        let (same, rest) = datagrams.split_at(length);
        datagrams = rest;
        match kind {
            Datagram::Esp(spi) => forward(spi, same, train, shared, lane),
            Datagram::Signalling => same.chunks(train.stride).for_each(|datagram| shared.signal(train, datagram)),
            Datagram::Keepalive => {}
            Datagram::Malformed => shared.counters.malformed.add(same.len().div_ceil(train.stride) as u64),
        }
    }
}

/// Forwards packets of one SPI.
fn forward(spi: Spi, packets: &[u8], train: &ReceivedTrain, shared: &Shared, lane: Lane<'_>) {
    let count = packets.len().div_ceil(train.stride);
    let counters = &shared.counters;
    let Some(forwarding) = &*shared.forwarding.load() else { return counters.not_ready.add(count as u64) };
    let now = shared.clock.now();
    match forwarding.table.relay_train(now, train.from, spi, count as u64, packets.len() as u64) {
        Relayed::To(to) => {
            shared.port.remember(train);
            send(lane, to, packets, train.stride, count, counters);
        }
        Relayed::SourceUnknown(spi) => answer(forwarding.session, spi, train, shared, lane),
        Relayed::Drop(Dropped::Malformed) => counters.malformed.add(count as u64),
        Relayed::Drop(Dropped::UnknownSpi) => counters.unknown_spi.add(count as u64),
        Relayed::Drop(Dropped::NoLeg) => counters.no_leg.add(count as u64),
        Relayed::Drop(Dropped::AnsweredAlready) => counters.source_unknown_unsaid.add(count as u64),
    }
}

/// Tells a sender that its address has not proved itself, in no more octets than it sent.
fn answer(session: Session, spi: Spi, train: &ReceivedTrain, shared: &Shared, lane: Lane<'_>) {
    // Nobody answers it, so its number means nothing.
    let datagram = encode_source_unknown(Transaction(0), session, &SourceUnknown { spi });
    let said = datagram.len() <= train.stride && lane.answer(train, &datagram).is_ok();
    let counter = if said { &shared.counters.source_unknown } else { &shared.counters.source_unknown_unsaid };
    counter.add(1);
}
