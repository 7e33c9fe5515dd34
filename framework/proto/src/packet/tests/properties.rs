//! Whatever comes, the packet path neither panics nor lets through what it should not.

use super::super::inner::InnerHeader;
use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

/// What the network and signalling may do to a tunnel.
#[derive(Clone, Debug)]
enum Step {
    Send,
    Deliver { packet: usize, from: bool },
    Move,
    Rekey,
    Wait(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Send),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(packet, from)| Step::Deliver { packet, from }),
        1 => Just(Step::Move),
        1 => Just(Step::Rekey),
        1 => any::<u8>().prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn no_packet_is_delivered_twice_and_none_is_sealed_alike(steps in steps()) {
        let (mn, cn) = ends();
        let (mut now, mut sent, mut delivered, mut headers) = (0, Vec::new(), BTreeSet::new(), BTreeSet::new());
        for step in steps {
            match step {
                Step::Send => {
                    let inner = plain_v6(1, 2, &(sent.len() as u32).to_be_bytes());
                    let (_, datagram) = mn.table.outbound(at(now), &inner).expect("the tunnel takes it");
                    let generation = mn.tunnel.generation();
                    prop_assert!(headers.insert((generation, datagram[..16].to_vec())), "a nonce came twice");
                    sent.push((inner, datagram));
                }
                Step::Deliver { packet, from } if !sent.is_empty() => {
                    let packet = packet % sent.len();
                    let from = if from { mn_outer() } else { cn_outer() };
                    if let Ok(inbound) = cn.table.inbound(at(now), from, sent[packet].1.clone()) {
                        prop_assert_eq!(inbound.carried, Carried::Packet(sent[packet].0.clone().into()));
                        prop_assert!(delivered.insert(packet), "packet {} came twice", packet);
                    }
                }
                Step::Deliver { .. } => {}
                Step::Move => cn.tunnel.move_to(cn_outer()),
                Step::Rekey => {
                    let generation = mn.tunnel.generation() + 1;
                    if generation < 16 {
                        let key = secret(generation as u8 + 1);
                        cn.tunnel.accept_generation(generation, &key).expect("a known suite");
                        mn.tunnel.send_generation(generation, &key).expect("a known suite");
                    }
                }
                Step::Wait(seconds) => now += u64::from(seconds),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), spi in any::<bool>()) {
        let (mn, cn) = ends();
        let mut datagram = if spi { SPI_CN.0.to_be_bytes().to_vec() } else { Vec::new() };
        datagram.extend_from_slice(&bytes);
        prop_assert!(cn.receive(mn_outer(), &datagram.into()).is_err());
        prop_assert!(mn.table.outbound(at(1), &bytes).is_err());
    }

    #[test]
    fn a_header_never_claims_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Some(header) = InnerHeader::parse(&bytes) {
            prop_assert!(header.length <= bytes.len());
            if let Some(control) = header.control(&bytes) {
                prop_assert!(control.start <= control.end && control.end <= header.length);
            }
        }
    }
}
