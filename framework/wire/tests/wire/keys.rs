//! Wrapping, sealing, vouchers, re-login proofs, the anti-replay window: what they accept and what they refuse.

use crate::samples::{Counting, account, name, named_key};
use ntmobile_wire::identifier::{Negotiation, Session};
use ntmobile_wire::key::{NamedKey, PublicKey, Secret};
use ntmobile_wire::message::KeyVoucher;
use ntmobile_wire::replay::{EspWindow, ReplayWindow};
use ntmobile_wire::sealed_key::{AgreementKey, WeakKey};
use ntmobile_wire::subkey::Role;
use ntmobile_wire::voucher::{VoucherError, VoucherSigner};
use ntmobile_wire::wrap::UnwrapError;
use ntmobile_wire::{relogin, sealed_key, voucher, wrap};

const NEGOTIATION: Negotiation = Negotiation(77);
const MN: (Role, Session) = (Role::Mn, Session(1));

fn k_tmp() -> Secret {
    Secret::from_bytes([1; 32])
}

#[test]
fn a_wrapped_key_comes_back() {
    let key = named_key(9);
    let wrapped = wrap::wrap(&k_tmp(), MN, NEGOTIATION, &key, &mut Counting(0));
    assert_eq!(wrap::unwrap(&k_tmp(), MN, NEGOTIATION, &wrapped), Ok(key));
}

#[test]
fn a_wrapped_key_belongs_to_its_key_sender_and_negotiation() {
    let wrapped = wrap::wrap(&k_tmp(), MN, NEGOTIATION, &named_key(9), &mut Counting(0));
    let other = Secret::from_bytes([2; 32]);
    for refused in [
        wrap::unwrap(&other, MN, NEGOTIATION, &wrapped),
        wrap::unwrap(&k_tmp(), (Role::Cn, Session(1)), NEGOTIATION, &wrapped),
        wrap::unwrap(&k_tmp(), (Role::Mn, Session(2)), NEGOTIATION, &wrapped),
        wrap::unwrap(&k_tmp(), MN, Negotiation(78), &wrapped),
        wrap::unwrap(&k_tmp(), MN, NEGOTIATION, &wrapped[..wrapped.len() - 1]),
    ] {
        assert_eq!(refused, Err(UnwrapError::NotAuthentic));
    }
    assert_eq!(wrap::unwrap(&k_tmp(), MN, NEGOTIATION, &[]), Err(UnwrapError::Malformed));
}

fn sealed(sender: &AgreementKey, recipient: &AgreementKey, key: &NamedKey) -> Vec<u8> {
    sealed_key::seal(key, sender, &recipient.public(), NEGOTIATION, &mut Counting(99)).expect("a sound public key")
}

#[test]
fn a_sealed_key_is_for_its_recipient_from_its_sender() {
    let [mn, cn, other] = [3, 4, 5].map(|byte| AgreementKey::from_bytes([byte; 32]));
    let key = named_key(9);
    let sealed = sealed(&mn, &cn, &key);
    assert_eq!(sealed_key::open(&sealed, &mn.public(), &cn, NEGOTIATION), Ok(key));
    for refused in [
        sealed_key::open(&sealed, &mn.public(), &other, NEGOTIATION),
        sealed_key::open(&sealed, &other.public(), &cn, NEGOTIATION),
        sealed_key::open(&sealed, &mn.public(), &cn, Negotiation(78)),
    ] {
        assert_eq!(refused, Err(UnwrapError::NotAuthentic));
    }
    assert_eq!(sealed_key::open(&sealed[..31], &mn.public(), &cn, NEGOTIATION), Err(UnwrapError::Malformed));
}

#[test]
fn a_public_key_of_small_order_is_refused() {
    let mn = AgreementKey::from_bytes([3; 32]);
    let weak = PublicKey([0; 32]);
    assert_eq!(sealed_key::seal(&named_key(9), &mn, &weak, NEGOTIATION, &mut Counting(0)), Err(WeakKey));
    let mut forged = sealed(&mn, &mn, &named_key(9));
    forged[..32].fill(0);
    assert_eq!(sealed_key::open(&forged, &mn.public(), &mn, NEGOTIATION), Err(UnwrapError::NotAuthentic));
}

#[test]
fn public_keys_are_those_of_rfc_7748() {
    let alice = [
        0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45, 0xdf, 0x4c,
        0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
    ];
    let expected = [
        0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a, 0x0d, 0xbf,
        0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
    ];
    assert_eq!(AgreementKey::from_bytes(alice).public(), PublicKey(expected));
}

#[test]
fn a_voucher_holds_until_its_time_is_over_and_for_what_it_says_alone() {
    let signer = VoucherSigner::from_seed([1; 32]);
    let key = signer.verifying_key();
    let sound = signer.sign(name("bob.u2.example"), PublicKey([7; 32]), 1_000);
    assert_eq!(voucher::verify(&sound, &key, 1_000), Ok(()));
    assert_eq!(voucher::verify(&sound, &key, 1_001), Err(VoucherError::Expired { not_after: 1_000, now: 1_001 }));
    for forged in [
        KeyVoucher { node: name("eve.u2.example"), ..sound.clone() },
        KeyVoucher { public_key: PublicKey([8; 32]), ..sound.clone() },
        KeyVoucher { not_after: 2_000, ..sound.clone() },
    ] {
        assert_eq!(voucher::verify(&forged, &key, 1_000), Err(VoucherError::Signature));
    }
    let stranger = VoucherSigner::from_seed([2; 32]).verifying_key();
    assert_eq!(voucher::verify(&sound, &stranger, 1_000), Err(VoucherError::Signature));
}

#[test]
fn a_relogin_proof_is_for_its_key_account_and_session() {
    let proof = relogin::prove(&k_tmp(), &account(), Session(1));
    assert!(relogin::verify(&k_tmp(), &account(), Session(1), &proof));
    assert!(!relogin::verify(&k_tmp(), &account(), Session(2), &proof));
    assert!(!relogin::verify(&Secret::from_bytes([2; 32]), &account(), Session(1), &proof));
    let eve = "eve@u1.example".parse().expect("a sound account");
    assert!(!relogin::verify(&k_tmp(), &eve, Session(1), &proof));
}

#[test]
fn a_sequence_is_accepted_once() {
    let mut window = EspWindow::default();
    for sequence in [0, 1, 5, 3, 70, 64, 2] {
        assert!(window.accept(sequence), "{sequence}");
        assert!(!window.accept(sequence), "{sequence} again");
    }
}

#[test]
fn the_window_of_esp_reaches_back_16384_numbers() {
    let mut window = EspWindow::default();
    let highest = 1_000_063;
    assert!(window.accept(highest));
    for sequence in highest - 16_384..highest {
        assert!(window.accept(sequence), "{} back", highest - sequence);
    }
    assert!(!window.is_fresh(highest - 17_000));
}

#[test]
fn a_jump_forgets_all_that_fell_out_and_nothing_else() {
    let mut window = ReplayWindow::<4>::default();
    for sequence in 0..256 {
        assert!(window.accept(sequence));
    }
    assert!(window.accept(300));
    assert!(!window.accept(255), "still in the window");
    assert!(!window.is_fresh(63), "below the window");
    assert!(window.accept(299), "skipped by the jump");
    assert!(window.accept(u64::MAX));
    assert!(window.accept(u64::MAX - 1));
    assert!(!window.accept(u64::MAX));
}
