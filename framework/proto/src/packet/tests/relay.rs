//! What an RS forwards, answers and drops.

use super::super::{Dropped, LegCounters, RelayTable, Relayed};
use super::*;

fn relay() -> RelayTable {
    let table = RelayTable::new();
    table.install(at(0), SPI_MN, SPI_CN).expect("the table is empty");
    table
}

/// A packet from MN towards CN.
fn packet() -> Bytes {
    End::new(mn_settings()).send(&plain_v6(1, 2, b"ping"))
}

#[test]
fn nothing_goes_to_or_from_a_leg_that_has_not_proved_itself() {
    let table = relay();
    assert_eq!(table.relay(at(1), mn_outer(), &packet()), Relayed::SourceUnknown(SPI_CN));
    assert!(table.prove(SPI_MN, mn_outer()));
    assert_eq!(table.relay(at(1), mn_outer(), &packet()), Relayed::Drop(Dropped::NoLeg));
    assert!(table.prove(SPI_CN, cn_outer()));
    assert_eq!(table.relay(at(2), mn_outer(), &packet()), Relayed::To(cn_outer()));
}

#[test]
fn a_packet_never_changes_a_legs_address_and_the_answer_is_rate_limited() {
    let table = relay();
    table.prove(SPI_MN, mn_outer());
    table.prove(SPI_CN, cn_outer());
    let elsewhere = address("198.51.100.7:9");
    assert_eq!(table.relay(at(1), elsewhere, &packet()), Relayed::SourceUnknown(SPI_CN));
    assert_eq!(table.relay(at(1), elsewhere, &packet()), Relayed::Drop(Dropped::AnsweredAlready));
    assert_eq!(table.relay(at(2), elsewhere, &packet()), Relayed::SourceUnknown(SPI_CN));
    assert_eq!(table.relay(at(2), mn_outer(), &packet()), Relayed::To(cn_outer()));
    table.prove(SPI_MN, elsewhere);
    assert_eq!(table.relay(at(3), elsewhere, &packet()), Relayed::To(cn_outer()));
}

#[test]
fn every_generation_is_forwarded_without_being_told() {
    let table = relay();
    table.prove(SPI_MN, mn_outer());
    table.prove(SPI_CN, cn_outer());
    let mut rekeyed = packet().to_vec();
    rekeyed[3] |= 0xf;
    assert_eq!(table.relay(at(1), mn_outer(), &rekeyed), Relayed::To(cn_outer()));
}

#[test]
fn both_directions_are_counted_apart_and_keep_the_relay_in_use() {
    let table = relay();
    table.prove(SPI_MN, mn_outer());
    table.prove(SPI_CN, cn_outer());
    let packet = packet();
    table.relay(at(7), mn_outer(), &packet);
    let relay = table.get(SPI_MN).expect("it is installed");
    assert_eq!(relay.last_used(), at(7));
    assert_eq!(relay.counters(SPI_CN), LegCounters { packets: 1, bytes: packet.len() as u64 });
    assert_eq!(relay.counters(SPI_MN), LegCounters::default());
    assert_eq!((relay.address(SPI_MN), relay.address(SPI_CN)), (Some(mn_outer()), Some(cn_outer())));
}

#[test]
fn what_is_unknown_or_no_packet_is_dropped() {
    let table = RelayTable::new();
    assert_eq!(table.relay(at(1), mn_outer(), &packet()), Relayed::Drop(Dropped::UnknownSpi));
    assert_eq!(table.relay(at(1), mn_outer(), &[0xff]), Relayed::Drop(Dropped::Malformed));
    assert!(!table.prove(SPI_MN, mn_outer()));
}

#[test]
fn identifiers_are_used_once_and_freed_together() {
    let table = relay();
    assert!(table.install(at(1), SPI_CN, Spi(0x5550)).is_none());
    assert!(table.install(at(1), Spi(0x5550), Spi(0x5551)).is_none(), "two generations of one identifier");
    assert_eq!(table.len(), 1);
    table.remove(SPI_CN);
    assert!(table.is_empty());
    assert!(table.install(at(1), SPI_MN, SPI_CN).is_some());
}

#[test]
fn a_train_is_counted_as_its_packets() {
    let table = relay();
    table.prove(SPI_MN, mn_outer());
    table.prove(SPI_CN, cn_outer());
    assert_eq!(table.relay_train(at(1), mn_outer(), SPI_CN, 44, 60_000), Relayed::To(cn_outer()));
    let relay = table.get(SPI_CN).expect("it is installed");
    assert_eq!(relay.counters(SPI_CN), LegCounters { packets: 44, bytes: 60_000 });
}
