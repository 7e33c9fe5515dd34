//! Whatever a real kernel hands to the emulated internet: it is refused or carried, and what comes out is sound.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ntmobile_proto::time::Instant;
use ntmobile_sim::clocked::ClockedNetwork;
use ntmobile_sim::network::{FirewallRecord, LinkRecord, NatRecord, Network, NodeKind, Packet, Prefix};
use std::time::Duration;

/// The sum of 16-bit words, as the internet's checksum folds it (RFC 1071).
fn folded(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], *word.get(1).unwrap_or(&0)])));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Makes lengths and checksums right, so that more than the refusal of wrong ones is tried.
fn seal(packet: &mut [u8]) {
    let length = packet.len();
    let (header, number) = match packet.first().map(|first| first >> 4) {
        Some(4) if length >= 20 => {
            packet[0] = 0x45;
            packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            packet[10..12].fill(0);
            let checksum = folded(&packet[..20], 0);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
            (20, packet[9])
        }
        Some(6) if length >= 40 => {
            packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
            (40, packet[6])
        }
        _ => return,
    };
    let place = match number {
        1 | 58 => 2,
        6 => 16,
        17 => 6,
        _ => return,
    };
    let (addresses, transport) = packet.split_at_mut(header);
    let addresses = if header == 20 { &addresses[12..20] } else { &addresses[8..40] };
    if transport.len() < place + 2 {
        return;
    }
    if number == 17 {
        let length = transport.len() as u16;
        transport[4..6].copy_from_slice(&length.to_be_bytes());
    }
    transport[place..place + 2].fill(0);
    let pseudo = !folded(addresses, u32::from(number) + transport.len() as u32);
    let checksum = folded(transport, if number == 1 { 0 } else { pseudo.into() });
    transport[place..place + 2].copy_from_slice(&checksum.to_be_bytes());
}

fuzz_target!(|input: (u64, bool, Vec<(bool, u8, Vec<u8>)>)| {
    let (seed, is_nat, packets) = input;
    let mut network = Network::new(seed);
    let core = network.add_node("core", NodeKind::Router).expect("a new name");
    let middlebox =
        if is_nat { NodeKind::Nat(NatRecord::default()) } else { NodeKind::Firewall(FirewallRecord::default()) };
    let middlebox = network.add_node("middlebox", middlebox).expect("a new name");
    for (node, text) in [(core, "203.0.113.0/24"), (core, "2001:db8::/64"), (middlebox, "10.0.0.0/24")] {
        network.serve(node, text.parse().expect("a prefix")).expect("a router");
    }
    let narrow = LinkRecord { mtu: 100, ..LinkRecord::with_delay(Duration::from_millis(1)) };
    network.attach(middlebox, core, narrow).expect("addresses are left");
    let [inside, outside] = [("inside", middlebox), ("outside", core)].map(|(name, at)| {
        let host = network.add_node(name, NodeKind::Host).expect("a new name");
        let interface = network.attach(host, at, LinkRecord::default()).expect("addresses are left");
        network.open(interface);
        // So that no packet is dropped for its source alone.
        network.delegate(interface, Prefix::ALL_V4);
        network.delegate(interface, Prefix::ALL_V6);
        interface
    });
    let mut network = ClockedNetwork::new(network);
    let mut now = Instant::ORIGIN;
    let mut count = 0;
    for (is_inside, pause, mut bytes) in packets {
        now += Duration::from_millis(pause.into());
        if pause % 8 != 0 {
            seal(&mut bytes);
        }
        let Ok(packet) = Packet::admit(&bytes.into()) else { continue };
        network.emit(now, if is_inside { inside } else { outside }, packet);
        count += network.advance(now).len();
    }
    while let Some(at) = network.next_at() {
        for handed_out in network.advance(at) {
            let bytes = handed_out.packet.to_bytes();
            assert_eq!(Packet::from_bytes(&bytes).map(|again| again.to_bytes()), Ok(bytes));
            count += 1;
        }
    }
    let all = network.network().totals();
    assert_eq!(all.delivered, count as u64);
    let held = network.network().in_flight();
    assert_eq!(all.originated + all.duplicated + all.split, all.delivered + all.all_dropped() + all.merged + held);
});
