//! What touches memory and what does not: packets are sealed and opened without any allocation, and no bytes make a decoder
//! allocate much more than they themselves are.

#![allow(unsafe_code, reason = "counting allocations takes an allocator, and its trait is unsafe to implement")]

use ntmobile_wire::datagram::{Header, open, seal};
use ntmobile_wire::esp::{EspKey, EspOpener, EspSealer, HEADER_LENGTH, NEXT_HEADER_IPV4, sealed_length};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{KeyId, Session, Spi, Transaction};
use ntmobile_wire::key::Secret;
use ntmobile_wire::message::{CipherSuite, Close};
use ntmobile_wire::subkey::{KeyKind, Purpose, Role, Subkey};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which also counts what the present thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: every call is handed on unchanged to the system's allocator; the counter is a plain cell without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.with(|asked| asked.set((asked.get().0 + 1, asked.get().1 + layout.size())));
        // SAFETY: the caller keeps to the contract of `alloc`, which is also the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`, which is also the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many allocations `work` makes, and of how many octets in all.
fn allocations<T>(work: impl FnOnce() -> T) -> (usize, usize, T) {
    let before = ASKED.get();
    let result = work();
    let after = ASKED.get();
    (after.0 - before.0, after.1 - before.1, result)
}

#[test]
fn the_counter_counts() {
    let (count, octets, _) = allocations(|| Vec::<u8>::with_capacity(100));
    assert_eq!((count, octets), (1, 100));
}

#[test]
fn sealing_and_opening_a_packet_allocates_nothing() {
    for suite in [CipherSuite::Aes128Gcm, CipherSuite::ChaCha20Poly1305] {
        let spi = Spi(0x1234_5670);
        let key = EspKey::derive(&Secret::from_bytes([1; 32]), suite, Role::Mn, spi).expect("a known suite");
        let (sealer, opener) = (EspSealer::new(spi, &key), EspOpener::new(&key));
        let mut buffer = vec![0; sealed_length(1_400)];
        for _ in 0..3 {
            let (count, _, sealed) = allocations(|| sealer.seal(&mut buffer, 1_400, NEXT_HEADER_IPV4).is_ok());
            assert_eq!((sealed, count), (true, 0));
            let (count, _, opened) = allocations(|| opener.open(&mut buffer).is_ok());
            assert_eq!((opened, count), (true, 0));
            buffer[HEADER_LENGTH..].fill(0);
        }
    }
}

#[test]
fn lengths_that_are_only_claimed_reserve_nothing() {
    for kind in 0..=u8::MAX {
        for filling in [0x00, 0x01, 0x04, 0x06, 0xff] {
            let mut bytes = vec![filling; 1_200];
            bytes[..2].copy_from_slice(&[1, kind]);
            let (_, octets, _) = allocations(|| Frame::decode(&bytes).is_ok());
            assert!(octets <= 4 * bytes.len(), "type {kind} of {filling:#04x} took {octets} octets");
        }
    }
}

#[test]
fn what_is_not_authentic_costs_one_copy() {
    let purpose = Purpose::Signalling(KeyKind::Tun);
    let subkey = Subkey::derive(&Secret::from_bytes([1; 32]), purpose, Role::Mn, Session(1));
    let header = Header { kind: 0, transaction: Transaction(1), key_id: KeyId(1), session: Session(1), sequence: 1 };
    let mut datagram = seal(&subkey, header, &Close.into(), None).to_vec();
    datagram[40] ^= 1;
    let (_, octets, opened) = allocations(|| open(&subkey, &datagram).is_ok());
    assert!(!opened && octets <= datagram.len(), "{octets} octets");
}
