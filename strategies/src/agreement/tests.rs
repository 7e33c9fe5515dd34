//! Both agreements: what one end seals the other opens, and nobody else.

use super::{KTmp, SealedToPublicKey};
use ntmobile_proto::policy::{AgreementError, AgreementMaterial, InnerProtection, KeyAgreementStrategy};
use ntmobile_wire::entropy::Entropy;
use ntmobile_wire::identifier::{Negotiation, Session};
use ntmobile_wire::key::{NamedKey, PublicKey};
use ntmobile_wire::sealed_key::AgreementKey;
use ntmobile_wire::subkey::Role;

/// Counts: every draw differs, every run is the same.
struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 += 1;
            let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
            chunk.copy_from_slice(&mixed[..chunk.len()]);
        }
    }
}

struct Ends {
    entropy: Counting,
    k_tmp: NamedKey,
    other_k_tmp: NamedKey,
    mn: AgreementKey,
    cn: AgreementKey,
    stranger: AgreementKey,
    k_mncn: NamedKey,
}

impl Ends {
    fn new() -> Self {
        let mut entropy = Counting(0);
        Self {
            k_tmp: NamedKey::draw(&mut entropy),
            other_k_tmp: NamedKey::draw(&mut entropy),
            mn: AgreementKey::draw(&mut entropy),
            cn: AgreementKey::draw(&mut entropy),
            stranger: AgreementKey::draw(&mut entropy),
            k_mncn: NamedKey::draw(&mut entropy),
            entropy,
        }
    }

    fn material<'a>(
        &'a self,
        own: &'a AgreementKey,
        peer: Option<&'a PublicKey>,
        inner: InnerProtection,
    ) -> AgreementMaterial<'a> {
        let sender = (Role::Mn, Session(7));
        AgreementMaterial { negotiation: Negotiation(1), sender, k_tmp: &self.k_tmp, own, peer, inner }
    }
}

const BOTH: [InnerProtection; 2] = [InnerProtection::Wrapped, InnerProtection::Plain];

#[test]
fn what_one_end_seals_the_other_opens() {
    let mut ends = Ends::new();
    let mut entropy = std::mem::replace(&mut ends.entropy, Counting(1 << 32));
    let (mn_public, cn_public) = (ends.mn.public(), ends.cn.public());
    for strategy in [&KTmp as &dyn KeyAgreementStrategy, &SealedToPublicKey] {
        for inner in BOTH {
            let sealed = strategy
                .seal(ends.material(&ends.mn, Some(&cn_public), inner), &ends.k_mncn, &mut entropy)
                .expect("the keys are sound");
            assert!(sealed.len() <= ntmobile_wire::codec::BYTES_LIMIT, "it fits its field");
            let opened = strategy.open(ends.material(&ends.cn, Some(&mn_public), inner), &sealed);
            assert_eq!(opened, Ok(ends.k_mncn.clone()), "{} {inner:?}", strategy.name());
        }
    }
}

#[test]
fn a_wrapped_key_opens_under_its_own_k_tmp_sender_and_negotiation_alone() {
    let mut ends = Ends::new();
    let mut entropy = std::mem::replace(&mut ends.entropy, Counting(1 << 32));
    let right = ends.material(&ends.mn, None, InnerProtection::Wrapped);
    let sealed = KTmp.seal(right, &ends.k_mncn, &mut entropy).expect("K_tmp is enough");
    let secret = ends.k_mncn.secret.expose();
    assert!(!sealed.windows(secret.len()).any(|window| window == secret), "the key is not in the clear");

    let refused = Err(AgreementError::NotAuthentic);
    assert_eq!(KTmp.open(AgreementMaterial { k_tmp: &ends.other_k_tmp, ..right }, &sealed), refused);
    assert_eq!(KTmp.open(AgreementMaterial { negotiation: Negotiation(2), ..right }, &sealed), refused);
    assert_eq!(KTmp.open(AgreementMaterial { sender: (Role::Cn, Session(7)), ..right }, &sealed), refused);
    assert_eq!(KTmp.open(AgreementMaterial { sender: (Role::Mn, Session(8)), ..right }, &sealed), refused);
}

#[test]
fn a_key_sealed_to_cn_opens_for_cn_alone_and_only_as_mns() {
    let mut ends = Ends::new();
    let mut entropy = std::mem::replace(&mut ends.entropy, Counting(1 << 32));
    let (mn, cn, stranger) = (ends.mn.public(), ends.cn.public(), ends.stranger.public());
    let strategy = SealedToPublicKey;
    let sealed = strategy
        .seal(ends.material(&ends.mn, Some(&cn), InnerProtection::Wrapped), &ends.k_mncn, &mut entropy)
        .expect("the keys are sound");

    let right = ends.material(&ends.cn, Some(&mn), InnerProtection::Wrapped);
    let refused = Err(AgreementError::NotAuthentic);
    assert_eq!(strategy.open(AgreementMaterial { own: &ends.stranger, ..right }, &sealed), refused);
    assert_eq!(strategy.open(AgreementMaterial { peer: Some(&stranger), ..right }, &sealed), refused);
    assert_eq!(strategy.open(AgreementMaterial { negotiation: Negotiation(2), ..right }, &sealed), refused);
}

#[test]
fn without_the_peers_public_key_nothing_is_sealed() {
    let mut ends = Ends::new();
    let mut entropy = std::mem::replace(&mut ends.entropy, Counting(1 << 32));
    let material = ends.material(&ends.mn, None, InnerProtection::Wrapped);
    assert_eq!(SealedToPublicKey.seal(material, &ends.k_mncn, &mut entropy), Err(AgreementError::NoPublicKey));
    assert_eq!(SealedToPublicKey.open(material, &[]), Err(AgreementError::NoPublicKey));
    let weak = PublicKey([0; 32]);
    let material = ends.material(&ends.mn, Some(&weak), InnerProtection::Wrapped);
    assert!(SealedToPublicKey.seal(material, &ends.k_mncn, &mut entropy).is_err(), "a key of small order is refused");
}

#[test]
fn hostile_lengths_are_refused() {
    let ends = Ends::new();
    let mn = ends.mn.public();
    for length in 0..256 {
        let garbage = vec![0x5a; length];
        for inner in BOTH {
            let material = ends.material(&ends.cn, Some(&mn), inner);
            assert!(SealedToPublicKey.open(material, &garbage).is_err());
            let plain = inner == InnerProtection::Plain && length == 40;
            assert_eq!(KTmp.open(material, &garbage).is_ok(), plain, "{length} bytes, {inner:?}");
        }
    }
}
