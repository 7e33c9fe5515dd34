//! Arbitrary bytes, and queries with arbitrary damage.

use super::*;
use proptest::prelude::*;

fn server() -> AuthoritativeDns {
    let root = ZoneRecords::new(None, vec![fqdn("ns.root")])
        .with_host(&fqdn("ns.root"), &[ip("192.0.2.1")])
        .with_delegation(&fqdn("example"), &fqdn("ns.example"), &[ip("192.0.2.2")]);
    AuthoritativeDns::new(vec![root, domain("u1.example", &["192.0.2.11", "2001:db8::11"])]).expect("sound zones")
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered_soundly_or_not_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..1_200)) {
        let server = server();
        for transport in [Transport::Udp, Transport::Tcp] {
            if let Some(answer) = raw(&server, &bytes, transport) {
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                let answer = Message::from_vec(&answer).expect("a sound answer");
                prop_assert_eq!(answer.metadata.message_type, MessageType::Response);
            }
        }
    }

    #[test]
    fn damaged_queries_are_answered_soundly_and_always_the_same(
        damage in proptest::collection::vec((2_usize..60, any::<u8>()), 1..5),
        below in any::<bool>(),
    ) {
        let name = if below { "alice.u2.example." } else { "_ntm._udp.u1.example." };
        let mut bytes = query(name, RecordType::SRV).to_vec().expect("a query");
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place ^= byte;
            }
        }
        let answer = raw(&server(), &bytes, Transport::Udp);
        prop_assert_eq!(&answer, &raw(&server(), &bytes, Transport::Udp));
        if let Some(answer) = answer {
            prop_assert!(answer.len() <= 1_232);
            Message::from_vec(&answer).expect("a sound answer");
        }
    }
}
