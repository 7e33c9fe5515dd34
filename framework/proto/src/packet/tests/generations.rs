//! Rekeying: two generations side by side, and neither sequence nor replay state ever begins again.

use super::super::GENERATION_OVERLAP;
use super::*;
use crate::machine::PacketNotice;
use ntmobile_wire::esp::EspError;

fn ping() -> Vec<u8> {
    plain_v6(1, 2, b"ping")
}

/// Both ends, with generation 1 agreed on and used by MN.
fn rekeyed() -> (End, End) {
    let (mn, cn) = ends();
    cn.tunnel.accept_generation(1, &secret(2)).expect("a known suite");
    mn.tunnel.send_generation(1, &secret(2)).expect("a known suite");
    (mn, cn)
}

#[test]
fn packets_of_both_generations_are_accepted_until_30_s_after_the_first_new_one() {
    let (mn, cn) = ends();
    let old: Vec<Bytes> = (0..3).map(|_| mn.send(&ping())).collect();
    cn.tunnel.accept_generation(1, &secret(2)).expect("a known suite");
    let long_after = at(1_000);
    assert!(cn.table.inbound(long_after, mn_outer(), old[0].clone()).is_ok(), "nothing new has come yet");
    mn.tunnel.send_generation(1, &secret(2)).expect("a known suite");
    assert_eq!(mn.tunnel.generation(), 1);
    let new = cn.table.inbound(long_after, mn_outer(), mn.send(&ping())).expect("it opens");
    assert!(matches!(new.notices[..], [PacketNotice::Proved { .. }]));
    let last_moment = Instant((long_after + GENERATION_OVERLAP).0 - 1);
    assert!(cn.table.inbound(last_moment, mn_outer(), old[1].clone()).is_ok());
    let too_late = cn.table.inbound(long_after + GENERATION_OVERLAP, mn_outer(), old[2].clone());
    assert_eq!(too_late, Err(InboundRefusal::UnknownSpi(SPI_CN)));
    assert!(cn.table.inbound(at(9_000), mn_outer(), mn.send(&ping())).is_ok());
}

#[test]
fn a_repeated_request_resets_nothing() {
    let (mn, cn) = rekeyed();
    let first = mn.send(&ping());
    assert!(cn.receive(mn_outer(), &first).is_ok());
    cn.tunnel.accept_generation(1, &secret(2)).expect("a known suite");
    mn.tunnel.send_generation(1, &secret(2)).expect("a known suite");
    assert_eq!(cn.receive(mn_outer(), &first), Err(InboundRefusal::Esp(EspError::Replayed(1))));
    assert_eq!(mn.send(&ping())[4..8], [0, 0, 0, 2]);
}

#[test]
fn at_most_two_generations_are_accepted() {
    let (mn, cn) = ends();
    let old = mn.send(&ping());
    for generation in [1, 2] {
        cn.tunnel.accept_generation(generation, &secret(2)).expect("a known suite");
    }
    assert_eq!(cn.receive(mn_outer(), &old), Err(InboundRefusal::UnknownSpi(SPI_CN)));
}

#[test]
fn generations_start_again_after_sixteen() {
    let (mn, cn) = ends();
    for generation in 1..=40 {
        let key = secret(generation as u8);
        cn.tunnel.accept_generation(generation, &key).expect("a known suite");
        mn.tunnel.send_generation(generation, &key).expect("a known suite");
        packet_of(cn.receive(mn_outer(), &mn.send(&ping())));
    }
    assert_eq!(mn.tunnel.generation(), 40 % 16);
}
