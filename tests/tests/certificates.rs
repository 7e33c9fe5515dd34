//! Those who hold a certificate of the network and play a part with it that is not theirs, on the bench.

use ntmobile_proto::certificate::{CertificateRole, PeerCertificate};
use ntmobile_proto::node::{JoinError, Node, NodeEvent};
use ntmobile_strategies::registry::{Choices, Kind};
use ntmobile_tests::bench::{Bench, name, server};
use ntmobile_tests::network::{at, join, join_as, joined, network, node_config};
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session, Transaction};
use ntmobile_wire::key::{NamedKey, Secret, SecretBytes};
use ntmobile_wire::message::{Credential, KeyDistribution, KeySharingRequest, Message, RefusalCode, SharedKeyPurpose};
use std::time::Duration;

const ALICE: &str = "alice.u1.example";

fn key() -> NamedKey {
    NamedKey { id: KeyId(0xBAD), secret: Secret::from_bytes([0xEE; 32]) }
}

/// A request over TLS, by whoever shows a certificate of this name and role; how many were refused for it.
fn ask_as(bench: &mut Bench, asked: &str, (bearer, role): (&str, CertificateRole), message: impl Into<Message>) -> u64 {
    let before = bench.count("tls.bearer_refused");
    let certificate = PeerCertificate { name: name(bearer), role, fingerprint: [6; 32] };
    let frame = Frame { transaction: Transaction(9), session: Session(6), message: message.into(), trace: None };
    bench.inject_tls(asked, at("192.0.2.66"), Some(certificate), frame.encode());
    bench.run_for(Duration::from_secs(1));
    bench.count("tls.bearer_refused") - before
}

#[test]
fn nobody_shares_a_key_with_a_coordinator_but_a_coordinator() {
    let mut bench = network(41, &Choices::default());
    let sharing = KeySharingRequest {
        purpose: SharedKeyPurpose::DcDc,
        requester: name("dc.u3.example"),
        key: key(),
        lifetime_s: 3_600,
    };
    for role in CertificateRole::ALL {
        let refused = ask_as(&mut bench, "dc.u1.example", ("dc.u3.example", role), sharing.clone());
        assert_eq!(refused, u64::from(role != CertificateRole::DirectionCoordinator), "{role}");
    }
}

#[test]
fn nobody_distributes_keys_but_the_account_server() {
    let mut bench = network(42, &Choices::default());
    let distribution = KeyDistribution {
        node: name(ALICE),
        application: ApplicationId(0),
        key: key(),
        lifetime_s: 3_600,
        node_session: Session(6),
        cs_token: SecretBytes::default(),
    };
    for role in CertificateRole::ALL {
        let refused = ask_as(&mut bench, "dc.u1.example", ("as.example", role), distribution.clone());
        assert_eq!(refused, u64::from(role != CertificateRole::AccountServer), "{role}");
    }
    let other = ("as.u3.example", CertificateRole::AccountServer);
    assert_eq!(ask_as(&mut bench, "dc.u1.example", other, distribution), 1, "another network's AS");
}

/// DNS is not authenticated: a name in the domain whose bearer holds a certificate is not enough to be its DC.
#[test]
fn a_relay_to_which_dns_leads_is_not_taken_for_the_coordinator() {
    for login in ["via-as", "via-dc"] {
        let mut choices = Choices::default();
        choices.set(Kind::Login, login);
        let mut bench = network(43, &choices);
        bench.zone("u1.example", server("rs.u1.example", "192.0.2.21"));
        join(&mut bench, "alice@u1.example", &choices, "203.0.113.5", None);
        bench.run_for(Duration::from_secs(5));
        let told = bench.at::<Node>(ALICE).events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>();
        let is_typed = matches!(
            &told[..],
            // In via-as it is the AS that finds out.
            [NodeEvent::JoinFailed(JoinError::CoordinatorUnreachable(_) | JoinError::CertificateRefused { .. })]
        );
        assert!(is_typed, "{login}: {told:?}");
        assert_eq!(bench.count("tls.certificate_refused"), 1, "{login}: {:?}", bench.counters);
    }
}

/// Logs in to `account` with the certificate of `bearer`'s node.
fn log_in_with_certificate(account: &str, bearer: &str, login: &str) -> (bool, Vec<NodeEvent>) {
    let mut choices = Choices::default();
    choices.set(Kind::Login, login);
    let mut bench = network(44, &choices);
    let mut config = node_config(account, &choices, "unused");
    config.credential = Credential::Certificate;
    let machine = Node::new(config, bench.entropy());
    join_as(&mut bench, machine, bearer, "203.0.113.5", None);
    bench.run_for(Duration::from_secs(5));
    let host = bearer.replace('@', ".");
    let told = bench.at::<Node>(&host).events.iter().map(|(_, event)| event.clone()).collect();
    (joined(&mut bench, &host), told)
}

#[test]
fn a_certificate_logs_in_the_node_that_it_names_and_no_other() {
    for login in ["via-as", "via-dc"] {
        let (is_in, told) = log_in_with_certificate("alice@u1.example", "alice@u1.example", login);
        assert!(is_in, "{login}: {told:?}");
        for other in ["mallory@u1.example", "rs@u1.example", "dc9@u1.example"] {
            let (is_in, told) = log_in_with_certificate("alice@u1.example", other, login);
            assert!(!is_in, "{login}, {other}");
            let [NodeEvent::JoinFailed(JoinError::Refused(refusal))] = &told[..] else {
                panic!("{login}, {other}: {told:?}");
            };
            assert_eq!(refusal.code, RefusalCode::NotAllowed);
        }
    }
}
