//! What is read of inner packets, and the control packet.

use super::super::inner::{CONTROL_PORT, InnerHeader, control_packet};
use super::*;

#[test]
fn a_header_says_where_from_where_to_and_how_long() {
    let packet = udp_v4(addresses(1).v4, addresses(2).v4, 7, b"hello");
    let header = InnerHeader::parse(&packet).expect("a whole packet");
    assert_eq!((header.source, header.destination), (addresses(1).v4.into(), addresses(2).v4.into()));
    assert_eq!((header.length, header.next_header()), (packet.len(), 4));
    let packet = plain_v6(1, 2, b"hello");
    let header = InnerHeader::parse(&packet).expect("a whole packet");
    assert_eq!((header.source, header.destination), (addresses(1).v6.into(), addresses(2).v6.into()));
    assert_eq!((header.length, header.next_header()), (packet.len(), 41));
}

#[test]
fn what_is_not_all_there_is_no_packet() {
    for packet in [udp_v4(addresses(1).v4, addresses(2).v4, 7, b"hello"), plain_v6(1, 2, b"hello")] {
        for length in 0..packet.len() {
            assert_eq!(InnerHeader::parse(&packet[..length]), None, "{length}");
        }
    }
    assert_eq!(InnerHeader::parse(&[0x55; 60]), None);
    let mut short_header = udp_v4(addresses(1).v4, addresses(2).v4, 7, b"hello");
    short_header[0] = 0x44;
    assert_eq!(InnerHeader::parse(&short_header), None);
}

#[test]
fn a_control_packet_has_a_right_checksum_and_gives_its_message_back() {
    for message in [&b"even"[..], b"odd", b""] {
        let packet = control_packet(&addresses(1), &addresses(2), message).expect("it fits");
        let pseudo = [17, (packet.len() - 40) as u16];
        assert_eq!(checksum(words(&packet[8..]).chain(pseudo)), 0);
        let header = InnerHeader::parse(&packet).expect("a whole packet");
        assert_eq!(header.control(&packet).map(|range| &packet[range]), Some(message));
    }
    assert_eq!(control_packet(&addresses(1), &addresses(2), &vec![0; 65_528]), None);
}

#[test]
fn a_piece_of_a_packet_is_no_control_message() {
    let mut packet = udp_v4(addresses(1).v4, addresses(2).v4, CONTROL_PORT, b"hello");
    let header = InnerHeader::parse(&packet).expect("a whole packet");
    assert_eq!(header.control(&packet).map(|range| &packet[range]), Some(&b"hello"[..]));
    packet[6] = 0x20;
    let header = InnerHeader::parse(&packet).expect("a whole packet");
    assert_eq!(header.control(&packet), None);
}
