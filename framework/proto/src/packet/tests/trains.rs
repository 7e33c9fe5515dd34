//! Trains in place do what single packets do.

use super::*;
use crate::machine::PacketNotice;
use crate::packet::{Arrival, InnerHeader, OutboundRefusal, PathLimit};
use ntmobile_wire::esp::{EspError, HEADER_LENGTH, sealed_length};

/// Seals `packets` of one flow and size as a train.
fn seal(end: &End, packets: &mut [Vec<u8>]) -> Result<Vec<u8>, OutboundRefusal> {
    let header = InnerHeader::parse(&packets[0]).expect("a whole packet");
    let count = packets.len() as u32;
    let mut train = vec![0; sealed_length(header.length) * packets.len()];
    let (first, rest) = packets.split_first_mut().expect("a packet");
    end.tunnel.depart(at(1), &header, first, count, |first, departure| {
        assert_eq!(departure.next_hop(), end.tunnel.next_hop());
        let stride = sealed_length(header.length);
        for (place, packet) in train.chunks_mut(stride).zip(std::iter::once(&*first).chain(rest.iter().map(|p| &p[..])))
        {
            place[HEADER_LENGTH..HEADER_LENGTH + packet.len()].copy_from_slice(packet);
            departure.seal(place, packet.len()).expect("there is room");
        }
    })?;
    Ok(train)
}

type Outcomes = Vec<Result<Vec<u8>, InboundRefusal>>;

fn open(end: &End, from: SocketAddr, spi: Spi, train: &mut [u8], stride: usize) -> (Outcomes, Vec<PacketNotice>) {
    let mut outcomes = Vec::new();
    let notices = end.tunnel.arrive(at(1), from, spi, train, stride, |outcome| {
        outcomes.push(outcome.map(|arrival| match arrival {
            Arrival::Packet(packet) => packet.to_vec(),
            other => panic!("{other:?} is no application's packet"),
        }));
    });
    (outcomes, notices)
}

#[test]
fn a_train_arrives_in_order_once_and_is_counted() {
    let (mn, cn) = ends();
    let mut packets: Vec<_> = (0..100).map(|number| plain_v6(1, 2, &[number; 50])).collect();
    let train = seal(&mn, &mut packets).expect("the tunnel takes it");
    let stride = train.len() / 100;
    let (outcomes, notices) = open(&cn, mn_outer(), SPI_CN, &mut train.clone(), stride);
    assert_eq!(outcomes, packets.iter().cloned().map(Ok).collect::<Vec<_>>());
    assert_eq!(notices, [PacketNotice::Proved { tunnel: cn.tunnel.settings().spi_in }]);
    let (sent, received) = (mn.tunnel.counters(), cn.tunnel.counters());
    assert_eq!((sent.packets_out, sent.bytes_out), (100, 9_000));
    assert_eq!((received.packets_in, received.bytes_in), (100, 9_000));
    let (again, notices) = open(&cn, mn_outer(), SPI_CN, &mut train.clone(), stride);
    assert!(again.iter().all(|outcome| matches!(outcome, Err(InboundRefusal::Esp(EspError::Replayed(_))))));
    assert_eq!(notices, []);
    assert_eq!(cn.tunnel.counters(), received);
}

#[test]
fn a_train_from_elsewhere_tells_once_that_the_peer_has_roamed() {
    let (mn, cn) = ends();
    let train = |count: usize| seal(&mn, &mut vec![plain_v6(1, 2, b"moving"); count]).expect("the tunnel takes it");
    let stride = train(1).len();
    open(&cn, mn_outer(), SPI_CN, &mut train(2), stride);
    let elsewhere = address("198.51.100.7:9");
    let roamed = PacketNotice::Roamed { tunnel: cn.tunnel.settings().spi_in, from: elsewhere };
    assert_eq!(open(&cn, elsewhere, SPI_CN, &mut train(2), stride).1, [roamed]);
    assert_eq!(open(&cn, elsewhere, SPI_CN, &mut train(2), stride).1, []);
}

#[test]
fn addresses_that_collide_are_translated_in_a_train() {
    let same = addresses(1).v4;
    let [alias_of_cn, alias_of_mn] = [77, 78].map(|host| Ipv4Addr::new(100, 127, 0, host));
    let cn_addresses = VirtualAddresses { v4: same, ..addresses(2) };
    let mn = End::new(TunnelSettings { remote: cn_addresses, alias: Some(alias_of_cn), ..mn_settings() });
    let cn = End::new(TunnelSettings { local: cn_addresses, alias: Some(alias_of_mn), ..cn_settings() });
    let mut train = seal(&mn, &mut [udp_v4(same, alias_of_cn, 7, b"ping")]).expect("the tunnel takes it");
    let stride = train.len();
    let (outcomes, _) = open(&cn, mn_outer(), SPI_CN, &mut train, stride);
    assert_eq!(outcomes, [Ok(udp_v4(alias_of_mn, same, 7, b"ping"))]);
}

#[test]
fn what_may_not_leave_does_not_and_a_retired_generation_is_unknown() {
    let (mn, cn) = ends();
    assert_eq!(
        seal(&mn, &mut [plain_v6(9, 2, b"forged")]),
        Err(OutboundRefusal::ForeignSource(addresses(9).v6.into()))
    );
    let control = udp_v4(addresses(1).v4, addresses(2).v4, crate::packet::CONTROL_PORT, b"");
    assert_eq!(seal(&mn, &mut [control]), Err(OutboundRefusal::ControlPort));
    let mut train = seal(&mn, &mut vec![plain_v6(1, 2, b"x"); 3]).expect("the tunnel takes it");
    let stride = train.len() / 3;
    let other = SPI_CN.at_generation(1);
    let unknown = vec![Err(InboundRefusal::UnknownSpi(other)); 3];
    assert_eq!(open(&cn, mn_outer(), other, &mut train, stride).0, unknown);
}

#[test]
fn a_path_is_narrow_until_the_tunnel_moves_or_time_passes() {
    let (mn, _) = ends();
    let limit = PathLimit { octets: 1_300, until: at(10) };
    mn.tunnel.limit_path(mn_outer(), limit);
    assert_eq!(mn.tunnel.path_limit(at(1)), None, "said of another path");
    mn.tunnel.limit_path(cn_outer(), limit);
    assert_eq!(mn.tunnel.path_limit(at(9)), Some(1_300));
    assert_eq!(mn.tunnel.path_limit(at(10)), None);
    mn.tunnel.move_to(cn_outer());
    assert_eq!(mn.tunnel.path_limit(at(9)), None);
}
