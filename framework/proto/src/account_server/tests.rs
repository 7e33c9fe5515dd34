//! The Account Server between nodes, an authenticator, DNS and DCs that all answer as the script says.

use super::{AccountServer, AccountServerConfig, AccountServerEvent};
use crate::certificate::CertificateRole;
use crate::machine::{CallId, Effect, Input, Lookup, LookupFailure, RequestId, ServerAddresses, TlsFailure, Verdict};
use crate::scripted::{Script, at, name};
use bytes::Bytes;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{ApplicationId, KeyId, Session, Transaction};
use ntmobile_wire::key::{PublicKey, SecretText};
use ntmobile_wire::message::{
    AuthenticationRequest, Close, Credential, InitialDataRequest, InitialDataResponse, KeyDistribution, LoginRequest,
    LoginResponse, Message, NtmAck, Refusal, RefusalCode,
};
use ntmobile_wire::name::Account;
use ntmobile_wire::voucher::{VoucherSigner, verify};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

mod repetitions;

type As = Script<AccountServer>;

const SEED: [u8; 32] = [3; 32];
const NODE_SESSION: Session = Session(0xa11ce);
const DC_SESSION: Session = Session(0xdc);
const DC: &str = "dc.u1.example";

fn start(config: AccountServerConfig) -> As {
    Script::start(|entropy| AccountServer::new(config, SEED, entropy), BTreeMap::new())
}

fn account() -> Account {
    Account::parse("alice@u1.example").expect("a sound account")
}

fn login(credential: Credential) -> LoginRequest {
    let public_key = PublicKey([5; 32]);
    LoginRequest { account: account(), credential, application: ApplicationId(7), public_key }
}

fn password() -> Credential {
    Credential::Password(SecretText::new("open sesame"))
}

fn authentication(credential: Credential) -> AuthenticationRequest {
    AuthenticationRequest { login: login(credential), certificate: Some([9; 32]) }
}

/// The authenticator is asked, and decides.
#[track_caller]
fn verdict(server: &mut As, verdict: Verdict) -> (Credential, Option<[u8; 32]>) {
    match server.asked.pop_front() {
        Some(Effect::Verify { call, account: asked, credential, certificate }) => {
            assert_eq!(asked, account());
            server.give(Input::Verified { call, verdict });
            (credential, certificate)
        }
        other => panic!("{other:?} instead of a verification"),
    }
}

#[track_caller]
fn resolved(server: &mut As, result: Result<&str, LookupFailure>) {
    match server.asked.pop_front() {
        Some(Effect::Resolve { call, lookup, .. }) => {
            assert_eq!(lookup, Lookup::DirectionCoordinator(name("alice.u1.example")));
            let result = result.map(|server| ServerAddresses {
                name: name(server),
                signalling: DualStack::default(),
                tls: DualStack { v4: Some("192.0.2.2:4433".parse().expect("an address")), v6: None },
            });
            server.give(Input::Resolved { call, result });
        }
        other => panic!("{other:?} instead of a look-up"),
    }
}

/// The DC is called; returns what it is told and how to answer it.
#[track_caller]
fn called(server: &mut As) -> (CallId, KeyDistribution) {
    match server.asked.pop_front() {
        Some(Effect::TlsCall { call, server, role, frame, mutual, .. }) => {
            assert_eq!((server, role, mutual), (name(DC), CertificateRole::DirectionCoordinator, true));
            match Frame::decode(&frame).expect("a frame").message {
                Message::KeyDistribution(distribution) => (call, distribution),
                other => panic!("{other:?} instead of a Key Distribution"),
            }
        }
        other => panic!("{other:?} instead of a call"),
    }
}

fn dc_answers(server: &mut As, call: CallId, message: impl Into<Message>) {
    let frame = Frame { transaction: Transaction(1), session: DC_SESSION, message: message.into(), trace: None };
    server.give(Input::TlsAnswered { call, result: Ok(frame.encode()) });
}

#[track_caller]
fn assert_refused(server: &mut As, code: RefusalCode) -> String {
    match server.tls_answered() {
        Message::Refusal(refusal) => {
            assert_eq!(refusal.code, code, "{}", refusal.detail);
            refusal.detail
        }
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[track_caller]
fn logged_in(server: &mut As) -> LoginResponse {
    match server.tls_answered() {
        Message::LoginResponse(response) => response,
        other => panic!("{other:?} instead of a Login Response"),
    }
}

#[test]
fn via_as_the_dc_holds_the_key_before_the_node_does() {
    let mut server = start(AccountServerConfig::default());
    server.tls(None, NODE_SESSION, login(password()));
    assert_eq!(verdict(&mut server, Verdict::Accepted), (password(), None));
    resolved(&mut server, Ok(DC));
    let (call, distribution) = called(&mut server);
    assert!(server.tls_answers.is_empty(), "the node waits for the DC");
    assert_eq!(distribution.node, name("alice.u1.example"));
    assert_eq!((distribution.application, distribution.node_session), (ApplicationId(7), NODE_SESSION));

    dc_answers(&mut server, call, NtmAck::default());
    let response = logged_in(&mut server);
    assert_eq!(server.told, [AccountServerEvent::LoggedIn { account: account() }]);
    assert_eq!(response.key, distribution.key);
    assert_eq!((response.lifetime_s, distribution.lifetime_s), (86_400, 86_400));
    assert_eq!((response.dc_session, response.node), (DC_SESSION, name("alice.u1.example")));
    assert_eq!(response.voucher_key, VoucherSigner::from_seed(SEED).verifying_key());
    assert_eq!(response.voucher.public_key, PublicKey([5; 32]));
    assert_eq!(verify(&response.voucher, &response.voucher_key, server.wall.0), Ok(()));
    assert!(verify(&response.voucher, &response.voucher_key, server.wall.0 + 30 * 86_400 + 1).is_err());
}

#[test]
fn every_login_gets_a_key_of_its_own_and_the_dc_is_looked_up_once_in_a_while() {
    let mut server = start(AccountServerConfig::default());
    let mut keys = Vec::new();
    for first in [true, false] {
        server.tls(None, NODE_SESSION, login(password()));
        verdict(&mut server, Verdict::Accepted);
        if first {
            resolved(&mut server, Ok(DC));
        }
        let (call, _) = called(&mut server);
        dc_answers(&mut server, call, NtmAck::default());
        keys.push(logged_in(&mut server).key);
    }
    assert_ne!(keys[0], keys[1]);
    assert_ne!(keys[0].id, keys[1].id);

    server.pass(Duration::from_secs(300));
    server.tls(None, NODE_SESSION, login(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Ok(DC));
}

#[test]
fn a_public_key_node_proves_itself_by_its_client_certificate() {
    let mut server = start(AccountServerConfig::default());
    server.tls(Some("alice.u1.example"), NODE_SESSION, login(Credential::Certificate));
    assert_eq!(verdict(&mut server, Verdict::Accepted), (Credential::Certificate, Some([7; 32])));
}

#[test]
fn each_verdict_has_its_refusal() {
    for (decided, code) in [
        (Verdict::Refused, RefusalCode::WrongCredentials),
        (Verdict::NotSupported, RefusalCode::Unsupported),
        (Verdict::Failed, RefusalCode::StorageFailed),
    ] {
        let mut server = start(AccountServerConfig::default());
        server.tls(None, NODE_SESSION, login(password()));
        verdict(&mut server, decided);
        let detail = assert_refused(&mut server, code);
        assert_eq!(server.told, [AccountServerEvent::Refused { account: account(), code, detail }]);
        assert!(server.asked.is_empty(), "nothing more is done for {decided:?}");
    }
}

#[test]
fn a_dc_that_cannot_be_reached_is_named_in_the_refusal() {
    let mut server = start(AccountServerConfig::default());
    server.tls(None, NODE_SESSION, login(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Err(LookupFailure::NoSuchName));
    assert!(assert_refused(&mut server, RefusalCode::ServerUnreachable).contains("u1.example"));

    server.tls(None, NODE_SESSION, login(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Ok(DC));
    let (call, _) = called(&mut server);
    server.give(Input::TlsAnswered { call, result: Err(TlsFailure::TimedOut) });
    assert!(assert_refused(&mut server, RefusalCode::ServerUnreachable).contains("u1.example"));

    // The next login looks again.
    server.tls(None, NODE_SESSION, login(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Ok(DC));
    let (call, _) = called(&mut server);
    dc_answers(&mut server, call, Close);
    assert_refused(&mut server, RefusalCode::ServerUnreachable);
}

#[test]
fn a_dcs_refusal_reaches_the_node() {
    let mut server = start(AccountServerConfig::default());
    server.tls(None, NODE_SESSION, login(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Ok(DC));
    let (call, _) = called(&mut server);
    let refusal = Refusal { code: RefusalCode::StorageFailed, detail: "disk full".into(), negotiation: None };
    dc_answers(&mut server, call, refusal);
    assert!(assert_refused(&mut server, RefusalCode::StorageFailed).contains("u1.example"));
}

#[test]
fn initial_data_is_given_to_whoever_proves_the_account() {
    let mut server = start(AccountServerConfig::default());
    let request = || InitialDataRequest { account: account(), credential: password() };
    server.tls(None, NODE_SESSION, request());
    verdict(&mut server, Verdict::Accepted);
    let expected = InitialDataResponse { node: name("alice.u1.example"), domain: name("u1.example") };
    assert_eq!(server.tls_answered(), expected.into());

    server.tls(None, NODE_SESSION, request());
    verdict(&mut server, Verdict::Refused);
    assert_refused(&mut server, RefusalCode::WrongCredentials);
}

#[test]
fn via_dc_the_as_vouches_to_the_accounts_dc() {
    let mut server = start(AccountServerConfig::default());
    server.tls(Some(DC), DC_SESSION, authentication(Credential::Certificate));
    resolved(&mut server, Ok(DC));
    let asked = verdict(&mut server, Verdict::Accepted);
    assert_eq!(asked, (Credential::Certificate, Some([9; 32])), "the certificate that the node showed to the DC");
    match server.tls_answered() {
        Message::AuthenticationResponse(response) => {
            assert_eq!(response.node, name("alice.u1.example"));
            assert_eq!(response.voucher.public_key, PublicKey([5; 32]));
            assert_eq!(verify(&response.voucher, &response.voucher_key, server.wall.0), Ok(()));
        }
        other => panic!("{other:?} instead of an Authentication Response"),
    }
}

#[test]
fn nobody_but_the_accounts_dc_may_ask_for_authentication() {
    let mut server = start(AccountServerConfig::default());
    let others = [
        "dc.u2.example",
        "dc.evil-u1.example",
        "dc.sub.u1.example",
        "mallory.u1.example",
        "rs.u1.example",
        "ns.u1.example",
        "as.u1.example",
    ];
    for certificate in others.map(Some).into_iter().chain([None]) {
        server.tls(certificate, Session(1), authentication(Credential::Certificate));
        assert_refused(&mut server, RefusalCode::NotAllowed);
    }
    assert_eq!(server.count("tls.bearer_refused"), 8);
    assert!(server.asked.is_empty());
    // What was the domain's DC before holds a certificate still.
    for attempt in 1..=2 {
        server.tls(Some("dc2.u1.example"), Session(1), authentication(Credential::Certificate));
        resolved(&mut server, Ok(DC));
        assert_refused(&mut server, RefusalCode::NotAllowed);
        assert!(server.asked.is_empty(), "attempt {attempt}: the authenticator is not asked");
    }
}

#[test]
fn a_certificate_logs_nobody_in_but_the_node_that_it_names() {
    let mut server = start(AccountServerConfig::default());
    for other in ["mallory.u1.example", "alice.u2.example", DC, "rs.u1.example"] {
        server.tls(Some(other), NODE_SESSION, login(Credential::Certificate));
        assert_refused(&mut server, RefusalCode::NotAllowed);
        let request = InitialDataRequest { account: account(), credential: Credential::Certificate };
        server.tls(Some(other), NODE_SESSION, request);
        assert_refused(&mut server, RefusalCode::NotAllowed);
    }
    assert!(server.asked.is_empty(), "the authenticator is not asked");
    assert_eq!(server.count("tls.bearer_refused"), 8);
}

#[test]
fn a_current_key_is_no_credential_here() {
    let mut server = start(AccountServerConfig::default());
    let current = Credential::CurrentKey { key_id: KeyId(1), proof: [0; 32] };
    server.tls(None, NODE_SESSION, login(current.clone()));
    assert_refused(&mut server, RefusalCode::Unsupported);
    server.tls(None, NODE_SESSION, InitialDataRequest { account: account(), credential: current });
    assert_refused(&mut server, RefusalCode::Unsupported);
    assert!(server.asked.is_empty());
}

#[test]
fn logins_in_progress_are_bounded_and_make_room_when_they_end() {
    let mut server = start(AccountServerConfig { logins: 2, ..AccountServerConfig::default() });
    for _ in 0..2 {
        server.tls(None, NODE_SESSION, login(password()));
    }
    server.tls(None, NODE_SESSION, login(password()));
    assert_refused(&mut server, RefusalCode::Overloaded);
    verdict(&mut server, Verdict::Refused);
    assert_refused(&mut server, RefusalCode::WrongCredentials);
    server.tls(None, NODE_SESSION, login(password()));
    assert!(server.tls_answers.is_empty(), "it is being verified");
}

#[test]
fn a_login_that_takes_too_long_ends_and_late_outcomes_change_nothing() {
    let mut server = start(AccountServerConfig::default());
    server.tls(None, NODE_SESSION, login(password()));
    server.pass(Duration::from_secs(6));
    assert_refused(&mut server, RefusalCode::Overloaded);
    verdict(&mut server, Verdict::Accepted);
    assert!(server.asked.is_empty() && server.tls_answers.is_empty());
    assert_eq!(server.machine.logins.len(), 0);
}

#[test]
fn what_is_no_request_of_the_as_is_refused() {
    let mut server = start(AccountServerConfig::default());
    server.tls(None, NODE_SESSION, Close);
    assert_refused(&mut server, RefusalCode::Unsupported);
    server.tls_frame(None, Bytes::from_static(b"GET / HTTP/1.1"));
    assert_refused(&mut server, RefusalCode::Unsupported);
}

#[test]
fn verification_is_a_step_of_the_nodes_trace() {
    let mut server = start(AccountServerConfig::default());
    let trace = ntmobile_wire::trace_context::TraceContext { trace: [1; 16], span: [2; 8] };
    let message = login(password()).into();
    let frame = Frame { transaction: Transaction(1), session: NODE_SESSION, message, trace: Some(trace) };
    server.tls_frame(None, frame.encode());
    server.pass(Duration::from_millis(80));
    verdict(&mut server, Verdict::Refused);
    let step = server.spans.iter().find(|span| span.name == "Verify Credential").expect("it is told");
    let served = server.spans.iter().find(|span| span.name == "Login Request").expect("it is told");
    assert_eq!(step.context.trace, trace.trace);
    assert_eq!(step.parent, Some(served.context.span));
    assert_eq!(step.end.since(step.start), Duration::from_millis(80));
    assert_eq!(served.parent, Some(trace.span));
}

/// Anything at all that may come from outside, and outcomes of anything that may have been asked.
fn any_input() -> impl Strategy<Value = Input> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let call = || (0u64..6).prop_map(CallId);
    let verdicts =
        prop::sample::select(vec![Verdict::Accepted, Verdict::Refused, Verdict::NotSupported, Verdict::Failed]);
    let request = || (any::<u64>()).prop_map(RequestId);
    prop_oneof![
        (request(), bytes()).prop_map(|(request, frame)| Input::TlsRequest {
            request,
            from: at("203.0.113.1:1"),
            certificate: None,
            frame,
        }),
        request().prop_map(|request| Input::TlsRequest {
            request,
            from: at("203.0.113.1:1"),
            certificate: None,
            frame: Frame {
                transaction: Transaction(1),
                session: NODE_SESSION,
                message: login(password()).into(),
                trace: None,
            }
            .encode(),
        }),
        bytes().prop_map(|bytes| Input::Datagram { from: at("203.0.113.1:1"), bytes }),
        (call(), verdicts).prop_map(|(call, verdict)| Input::Verified { call, verdict }),
        call().prop_map(|call| Input::Resolved { call, result: Err(LookupFailure::Broken) }),
        (call(), bytes()).prop_map(|(call, bytes)| Input::TlsAnswered { call, result: Ok(bytes) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_input_makes_it_panic_or_forget_to_answer(inputs in prop::collection::vec(any_input(), 0..40)) {
        let mut server = start(AccountServerConfig::default());
        let mut requests = 0;
        for input in inputs {
            requests += usize::from(matches!(input, Input::TlsRequest { .. }));
            server.give(input);
            server.pass(Duration::from_millis(300));
        }
        server.pass(Duration::from_secs(60));
        prop_assert_eq!(server.tls_answers.len(), requests, "every request is answered once");
    }
}
