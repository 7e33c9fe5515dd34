//! What goes into a tunnel, what comes out, and what is refused.

use super::super::inner::CONTROL_PORT;
use super::super::{InstallError, OutboundRefusal};
use super::*;
use crate::machine::PacketNotice;
use ntmobile_wire::esp::EspError;
use std::time::Duration;

fn tunnel(end: &End) -> Spi {
    end.tunnel.settings().spi_in
}

#[test]
fn a_packet_comes_out_as_it_went_in_for_both_families_and_suites() {
    for suite in [CipherSuite::Aes128Gcm, CipherSuite::ChaCha20Poly1305] {
        let mn = End::new(TunnelSettings { suite, ..mn_settings() });
        let cn = End::new(TunnelSettings { suite, ..cn_settings() });
        for packet in [udp_v4(addresses(1).v4, addresses(2).v4, 7, b"ping"), plain_v6(1, 2, b"ping")] {
            let (to, datagram) = mn.table.outbound(at(1), &packet).expect("the tunnel takes it");
            assert_eq!(to, cn_outer());
            assert_eq!(packet_of(cn.receive(mn_outer(), &datagram)), packet);
        }
    }
}

#[test]
fn the_first_packet_proves_the_key_and_no_other_does() {
    let (mn, cn) = ends();
    let notices = |_| cn.receive(mn_outer(), &mn.send(&plain_v6(1, 2, b"ping"))).expect("it opens").notices;
    assert_eq!([0, 1].map(notices), [vec![PacketNotice::Proved { tunnel: tunnel(&cn) }], vec![]]);
}

#[test]
fn what_is_not_between_the_ends_is_refused_on_both_sides() {
    let (mn, cn) = ends();
    let foreign = plain_v6(3, 2, b"ping");
    let refused = mn.table.outbound(at(1), &foreign);
    assert_eq!(refused, Err(OutboundRefusal::ForeignSource(addresses(3).v6.into())));
    let unknown = plain_v6(1, 3, b"ping");
    assert_eq!(mn.table.outbound(at(1), &unknown), Err(OutboundRefusal::NoTunnel(addresses(3).v6.into())));
    assert_eq!(mn.table.outbound(at(1), &[1, 2, 3]), Err(OutboundRefusal::Malformed));

    let liar = End::new(TunnelSettings { local: addresses(3), ..mn_settings() });
    let refused = cn.receive(mn_outer(), &liar.send(&foreign));
    assert_eq!(refused, Err(InboundRefusal::ForeignInner));
    assert_eq!(cn.tunnel.counters().packets_in, 0);
}

#[test]
fn an_application_cannot_speak_to_the_control_port() {
    let (mn, _) = ends();
    let packet = udp_v4(addresses(1).v4, addresses(2).v4, CONTROL_PORT, b"close");
    assert_eq!(mn.table.outbound(at(1), &packet), Err(OutboundRefusal::ControlPort));
}

#[test]
fn a_control_message_reaches_signalling_and_is_no_use_of_the_tunnel() {
    let (mn, cn) = ends();
    let (to, datagram) = mn.tunnel.control(b"message").expect("it fits");
    assert_eq!(to, cn_outer());
    let inbound = cn.table.inbound(at(9), mn_outer(), datagram).expect("it opens");
    assert_eq!(inbound.carried, Carried::Control(Bytes::from_static(b"message")));
    assert_eq!((mn.tunnel.last_used(), cn.tunnel.last_used()), (at(0), at(0)));
    assert_eq!(cn.tunnel.last_received(), at(9));
    assert_eq!(cn.tunnel.counters(), Default::default());
}

#[test]
fn a_replayed_or_changed_packet_is_refused() {
    let (mn, cn) = ends();
    let datagram = mn.send(&plain_v6(1, 2, b"ping"));
    let mut changed = datagram.to_vec();
    changed[20] ^= 1;
    let changed = cn.receive(mn_outer(), &changed.into());
    assert_eq!(changed, Err(InboundRefusal::Esp(EspError::NotAuthentic)));
    assert!(cn.receive(mn_outer(), &datagram).is_ok());
    let replayed = cn.receive(mn_outer(), &datagram);
    assert_eq!(replayed, Err(InboundRefusal::Esp(EspError::Replayed(1))));
    let stranger = mn.receive(mn_outer(), &datagram);
    assert_eq!(stranger, Err(InboundRefusal::UnknownSpi(SPI_CN)));
    assert_eq!(cn.receive(mn_outer(), &Bytes::from_static(&[0xff])), Err(InboundRefusal::Malformed));
}

#[test]
fn a_move_keeps_sequence_and_replay_state() {
    let (mn, cn) = ends();
    let before = mn.send(&plain_v6(1, 2, b"before"));
    assert!(cn.receive(mn_outer(), &before).is_ok());
    let relay = address("203.0.113.9:4500");
    mn.tunnel.move_to(relay);
    cn.tunnel.move_to(relay);
    let (to, after) = mn.table.outbound(at(2), &plain_v6(1, 2, b"after")).expect("the tunnel takes it");
    assert_eq!((to, &after[4..8]), (relay, &[0, 0, 0, 2][..]));
    assert!(cn.receive(relay, &after).is_ok());
    assert_eq!(cn.receive(relay, &before), Err(InboundRefusal::Esp(EspError::Replayed(1))));
}

#[test]
fn a_peer_that_roams_is_reported_once_and_never_because_of_a_late_packet() {
    let (mn, cn) = ends();
    let packets: Vec<Bytes> = (0..5).map(|_| mn.send(&plain_v6(1, 2, b"ping"))).collect();
    let elsewhere = address("198.51.100.7:9");
    let notices = |from, packet: &Bytes| cn.receive(from, packet).expect("it opens").notices;
    assert_eq!(notices(mn_outer(), &packets[1]).len(), 1, "proved");
    assert_eq!(notices(elsewhere, &packets[0]), [], "overtaken");
    assert_eq!(notices(elsewhere, &packets[2]), [PacketNotice::Roamed { tunnel: tunnel(&cn), from: elsewhere }]);
    assert_eq!(notices(elsewhere, &packets[3]), [], "told already");
    cn.tunnel.move_to(elsewhere);
    assert_eq!(notices(elsewhere, &packets[4]), [], "expected there now");
}

#[test]
fn a_tunnel_takes_packets_out_only_when_activated_and_the_newest_first() {
    let table = TunnelTable::new();
    let old = table.install(at(0), mn_settings(), &secret(1)).expect("free");
    let packet = plain_v6(1, 2, b"ping");
    assert_eq!(table.outbound(at(1), &packet), Err(OutboundRefusal::NoTunnel(addresses(2).v6.into())));
    table.activate(&old);
    let next_hop = address("203.0.113.1:1");
    let settings = TunnelSettings { spi_in: Spi(0x3333_3330), next_hop, ..mn_settings() };
    let new = table.install(at(1), settings, &secret(2)).expect("free");
    let goes_to = || table.outbound(at(1), &packet).map(|(to, _)| to);
    assert_eq!(goes_to(), Ok(cn_outer()));
    table.activate(&new);
    assert_eq!(goes_to(), Ok(next_hop));
    table.remove(&new);
    assert_eq!(goes_to(), Ok(cn_outer()), "the older one still stands");
    table.remove(&old);
    assert!(goes_to().is_err());
    assert!(table.tunnels().is_empty());
    table.activate(&old);
    assert!(goes_to().is_err(), "what is removed stays out");
}

#[test]
fn an_answer_takes_the_tunnel_of_its_application() {
    let table = TunnelTable::new();
    let next_hops = [address("203.0.113.1:1"), address("203.0.113.1:2")];
    for (application, next_hop) in [1, 2].into_iter().zip(next_hops) {
        let spi_in = Spi(application << 8);
        let settings = TunnelSettings { application: ApplicationId(application), spi_in, next_hop, ..mn_settings() };
        table.activate(&table.install(at(0), settings, &secret(1)).expect("free"));
        assert_eq!(table.is_ambiguous_towards(addresses(2).v6.into()), application == 2);
    }
    assert!(!table.is_ambiguous_towards(addresses(3).v6.into()));
    let packet = plain_v6(1, 2, b"pong");
    let goes_to = |application| table.outbound_to(at(1), ApplicationId(application), &packet).map(|(to, _)| to);
    assert_eq!([goes_to(1), goes_to(2)], next_hops.map(Ok));
    assert!(goes_to(3).is_err());
}

#[test]
fn an_identifier_is_used_once_whatever_its_generation() {
    let (mn, _) = ends();
    let again = TunnelSettings { spi_in: SPI_MN.at_generation(5), ..mn_settings() };
    let refused = mn.table.install(at(1), again, &secret(1)).map(|_| ());
    assert_eq!(refused, Err(InstallError::SpiInUse(SPI_MN.at_generation(5))));
    assert!(mn.table.is_in_use(SPI_MN.at_generation(9)) && !mn.table.is_in_use(SPI_CN));
}

#[test]
fn two_ends_with_the_same_ipv4_address_talk_by_aliases() {
    let same = addresses(1).v4;
    let [alias_of_cn, alias_of_mn] = [77, 78].map(|host| Ipv4Addr::new(100, 127, 0, host));
    let cn_addresses = VirtualAddresses { v4: same, ..addresses(2) };
    let mn = End::new(TunnelSettings { remote: cn_addresses, alias: Some(alias_of_cn), ..mn_settings() });
    let cn = End::new(TunnelSettings { local: cn_addresses, alias: Some(alias_of_mn), ..cn_settings() });
    let arrived = packet_of(cn.receive(mn_outer(), &mn.send(&udp_v4(same, alias_of_cn, 7, b"ping"))));
    assert_eq!(arrived, udp_v4(alias_of_mn, same, 7, b"ping"));
    assert!(is_sound(&arrived));
    let answered = packet_of(mn.receive(cn_outer(), &cn.send(&udp_v4(same, alias_of_mn, 7, b"pong"))));
    assert_eq!(answered, udp_v4(alias_of_cn, same, 7, b"pong"));
}

#[test]
fn counters_count_what_applications_sent() {
    let (mn, cn) = ends();
    let packet = plain_v6(1, 2, &[0; 60]);
    for _ in 0..3 {
        packet_of(cn.receive(mn_outer(), &mn.send(&packet)));
    }
    let (sent, received) = (mn.tunnel.counters(), cn.tunnel.counters());
    assert_eq!((sent.packets_out, sent.bytes_out, sent.packets_in), (3, 300, 0));
    assert_eq!((received.packets_in, received.bytes_in, received.packets_out), (3, 300, 0));
    assert_eq!((mn.tunnel.last_used(), cn.tunnel.last_used()), (at(1), at(1)));
}

#[test]
fn a_tunnel_knows_since_when_nothing_has_come_back() {
    let (mn, cn) = ends();
    assert_eq!(mn.tunnel.unanswered_since(), None);
    let packet = plain_v6(1, 2, b"ping");
    for second in [3, 4] {
        mn.table.outbound(at(second), &packet).expect("the tunnel takes it");
        assert_eq!(mn.tunnel.unanswered_since(), Some(at(3)));
    }
    let (_, control) = cn.tunnel.control(b"message").expect("it fits");
    assert!(mn.receive(cn_outer(), &control).is_ok());
    assert_eq!(mn.tunnel.unanswered_since(), None, "anything authentic is an answer");
    mn.tunnel.control(b"message").expect("it fits");
    assert_eq!(mn.tunnel.unanswered_since(), None, "signalling looks after its own");
}

#[test]
fn a_packet_for_no_tunnel_is_answered_five_times_a_second_and_never_with_more_than_came() {
    let (_, cn) = ends();
    let unknown = Spi(0x0770_0000);
    assert_eq!(cn.table.source_unknown(at(1), unknown, 40), None, "longer than what came");
    let answer = cn.table.source_unknown(at(1), unknown, 60).expect("the first");
    assert!(answer.len() <= 60);
    let (_, message) = ntmobile_wire::datagram::decode_source_unknown(&answer).expect("Source Unknown");
    assert_eq!(message.spi, unknown);
    assert_eq!(cn.table.source_unknown(at(1) + Duration::from_millis(199), unknown, 60), None);
    assert!(cn.table.source_unknown(at(1) + Duration::from_millis(200), unknown, 60).is_some());
    let own = cn.tunnel.settings().spi_in.at_generation(7);
    assert_eq!(cn.table.source_unknown(at(9), own, 60), None, "a generation that has ended");
}
