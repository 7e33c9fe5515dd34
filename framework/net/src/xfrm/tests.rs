//! Orders against the octets that iproute2 6.1 sends for the same (`strace -xx ip xfrm …`), answers against octets laid out by
//! `linux/xfrm.h`, and whatever else may come.

use super::answer::{Answer, Counters, KernelEvent, answers};
use super::order::{self, Action, Direction, Policy, PolicyId, Selector, Sequence, State, StateId, UdpPorts};
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::subkey::Role;
use proptest::prelude::*;
use std::net::IpAddr;

/// Octets out of words: hexadecimal, or one octet so many times (`00*12`).
fn octets(text: &str) -> Vec<u8> {
    let parse = |hex: &str| u8::from_str_radix(hex, 16).expect("an octet");
    text.split_whitespace()
        .flat_map(|word| match word.split_once('*') {
            Some((octet, count)) => vec![parse(octet); count.parse().expect("a number")],
            None => (0..word.len()).step_by(2).map(|at| parse(&word[at..at + 2])).collect(),
        })
        .collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

const SPI: Spi = Spi(0x1234_5670);

fn id() -> StateId {
    StateId { destination: ip("10.0.0.1"), spi: SPI }
}

fn key(suite: CipherSuite) -> EspKey {
    EspKey::derive(&Secret::from_bytes([7; 32]), suite, Role::Mn, SPI).expect("a suite of this version")
}

fn state(key: &EspKey, sequence: Sequence) -> State<'_> {
    State { id: id(), source: ip("10.0.0.2"), ports: (5000, 4000), request: 7, interface: 42, key, sequence }
}

/// `ip xfrm state add src 10.0.0.2 dst 10.0.0.1 proto esp spi 0x12345670 reqid 7 mode tunnel aead … 128 encap espinudp 5000 4000
/// 0.0.0.0 flag af-unspec flag nopmtudisc if_id 42`, up to the key.
const STATE: &str = "00*56 0a000001 00*12 12345670 32000000 0a000002 00*12 ff*32 00*80 07000000 02000100 24000000 00*4 \
     60001200 726663343130362867636d286165732929 00*47 a0000000 80000000";
/// The same behind the key.
const BEHIND_KEY: &str = "1c000400 02001388 0fa00000 00*16 08001f00 2a000000";

#[test]
fn a_state_is_what_iproute2_makes_of_the_same_words() {
    let key = key(CipherSuite::Aes128Gcm);
    let message = order::add_state(&state(&key, Sequence::Seals(9)));
    let mut expected = octets(STATE);
    expected.extend_from_slice(key.expose());
    expected.extend(octets(BEHIND_KEY));
    // How far it has come: 9 numbers are used.
    expected.extend(octets("10000a00 09000000 00*8"));
    assert_eq!(message.octets()[order::HEADER..], expected);
    // Its length, the kind, and that it is new and to be acknowledged.
    let header = [&(expected.len() as u32 + 16).to_ne_bytes()[..], &octets("1000 0506 00*8")].concat();
    assert_eq!(message.octets()[..order::HEADER], header);
}

#[test]
fn a_state_that_opens_has_the_widest_window_and_takes_up_where_another_was() {
    let key = key(CipherSuite::ChaCha20Poly1305);
    let message = order::add_state(&state(&key, Sequence::Opens { highest: 0x0102, seen: vec![5, 6] }));
    let attributes = &message.octets()[order::HEADER + 224..];
    let mut expected =
        octets("70001200 7266633735333965737028636861636861 32302c706f6c793133303529 00*35 20010000 80000000");
    expected.extend_from_slice(key.expose());
    expected.extend(octets(BEHIND_KEY));
    // 128 words, and of each direction the numbers used, then the width; ten seconds between two notices of a moved peer.
    expected.extend(octets("1c021700 80000000 00*4 02010000 00*8 00100000 05000000 06000000 00*504 08002000 0a000000"));
    assert_eq!(attributes, expected);
}

#[test]
fn a_policy_is_what_iproute2_makes_of_the_same_words() {
    let udp = Some(UdpPorts { source: Some(4793), destination: Some(4793) });
    let selector = Selector { udp, ..Selector::between(ip("fd00::1"), ip("fd00::2")) };
    let id = PolicyId { selector, direction: Direction::Out, interface: 42 };
    let ends = Some((Some(ip("10.0.0.2")), ip("10.0.0.1")));
    let policy = Policy { id, priority: 1, action: Action::Tunnel { request: 7, ends } };
    // ip xfrm policy update src fd00::1/128 dst fd00::2/128 proto udp sport 4793 dport 4793 dir out priority 1 if_id 42 tmpl
    // src 10.0.0.2 dst 10.0.0.1 proto esp reqid 7 mode tunnel
    let body = octets("fd 00*14 02 fd 00*14 01 12b9ffff 12b9ffff 0a008080 11 00*11 ff*32 00*64 01000000 00*4 01 00*7");
    let interface = octets("08001f00 2a000000");
    let template = octets("44000500 0a000001 00*16 32000000 02000000 0a000002 00*12 07000000 01000000 ff*12");
    let message = order::put_policy(&policy);
    assert_eq!(message.octets()[order::HEADER..], [body, interface, template].concat());
}

#[test]
fn a_state_is_removed_and_asked_after_by_where_its_packets_go() {
    // ip xfrm state delete src 10.0.0.2 dst 10.0.0.1 proto esp spi 0x12345670, without the source.
    let expected = octets("0a000001 00*12 12345670 02003200");
    assert_eq!(order::remove_state(&id()).octets()[order::HEADER..], expected);
    assert_eq!(order::ask_counters(&id()).octets()[order::HEADER..], [expected, octets("00*24")].concat());
}

/// A message of this kind.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut message = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&[0; 10]);
    message.extend_from_slice(body);
    message
}

#[test]
fn answers_are_read() {
    let refusal = message(2, &(-libc::ESRCH).to_ne_bytes());
    let wanted = message(0x17, &octets("00*40 fd 00*14 02 fd 00*14 01 00*8 0a008080 00*12 00*184"));
    let moved =
        message(0x26, &octets("0a000001 00*12 12345670 02003200 07000000 0a000002 00*12 c6336401 00*12 1388 0fa1"));
    let sealing = octets("00*48 24000900 0f00000000000000 0300000000000000 00*16 10000a00 03000000 00*8");
    let opening = octets(
        "00*48 24001700 02000000 00*4 09000000 00*8 40000000 05000000 06000000 24000900 0f00000000000000 0300000000000000 00*16",
    );
    let all: Vec<u8> =
        [refusal, wanted, moved, message(0x1e, &sealing), message(0x1e, &opening), message(3, &[0; 4])].concat();
    let counters = |sequence| Answer::Counters(Counters { packets: 3, bytes: 15, sequence });
    assert_eq!(
        answers(&all),
        [
            Answer::Acknowledged(-libc::ESRCH),
            Answer::Event(KernelEvent::Wanted(ip("fd00::2"))),
            Answer::Event(KernelEvent::Moved { spi: SPI, from: "198.51.100.1:4001".parse().expect("an address") }),
            counters(Sequence::Seals(3)),
            counters(Sequence::Opens { highest: 9, seen: vec![5, 6] }),
            Answer::Done,
        ]
    );
}

#[test]
fn what_the_kernel_repeats_of_an_order_is_recognised_as_ours() {
    let key = key(CipherSuite::Aes128Gcm);
    let told = order::add_state(&state(&key, Sequence::Seals(0)));
    assert_eq!(answers(told.octets()), [Answer::State { id: id(), interface: 42 }]);
    let selector = Selector::between(ip("100.64.0.1"), ip("100.64.0.2"));
    let id = PolicyId { selector, direction: Direction::In, interface: 42 };
    let put = order::put_policy(&Policy { id: id.clone(), priority: 3, action: Action::Refuse });
    // The kernel tells a policy in the form in which it takes one.
    let told = answers(&message(0x13, &put.octets()[order::HEADER..]));
    let [Answer::Policy { selector, direction, interface }] = told.as_slice() else { panic!("{told:?}") };
    let removed = order::remove_policy_as(selector, *direction, *interface);
    assert_eq!(removed.octets(), order::remove_policy(&id).octets());
}

proptest! {
    #[test]
    fn nothing_that_comes_is_too_much(octets in proptest::collection::vec(any::<u8>(), 0..2_048)) {
        answers(&octets);
    }

    #[test]
    fn a_message_that_is_cut_off_or_changed_is_passed_over(
        kind in prop::sample::select(vec![0x10_u16, 0x13, 0x17, 0x1e, 0x26, 2, 3]),
        body in proptest::collection::vec(any::<u8>(), 0..512),
        cut in 0_usize..600,
    ) {
        let whole = message(kind, &body);
        let cut = cut.min(whole.len());
        prop_assert_eq!(answers(&whole).len(), 1);
        prop_assert_eq!(answers(&whole[..cut]).len(), usize::from(cut == whole.len()));
    }
}
