//! Requests that come twice.

use super::*;
use crate::machine::Machine;

/// A login, always under the same number.
fn again(credential: Credential) -> Bytes {
    let message = login(credential).into();
    Frame { transaction: Transaction(77), session: NODE_SESSION, message, trace: None }.encode()
}

/// A node that has waited long asks once more, in the same words, and once more after it has been answered.
#[test]
fn a_login_that_comes_again_is_executed_once() {
    let mut server = start(AccountServerConfig::default());
    server.tls_frame(None, again(password()));
    server.pass(Duration::from_secs(5));
    server.tls_frame(None, again(password()));
    verdict(&mut server, Verdict::Accepted);
    resolved(&mut server, Ok(DC));
    let (call, _) = called(&mut server);
    assert!(server.asked.is_empty(), "nothing is asked twice");
    dc_answers(&mut server, call, NtmAck::default());
    let key = logged_in(&mut server).key;
    assert_eq!(logged_in(&mut server).key, key);
    server.tls_frame(None, again(password()));
    assert_eq!(logged_in(&mut server).key, key);
    assert_eq!(server.told, [AccountServerEvent::LoggedIn { account: account() }]);
    server.pass(Duration::from_secs(60));
    assert_eq!(server.machine.sizes().of("tls_requests"), 0);
}

/// The numbers of requests are no secret: who says something else, or is somebody else, has nothing of it.
#[test]
fn only_the_same_request_of_the_same_client_is_a_repetition() {
    let mut server = start(AccountServerConfig::default());
    server.tls_frame(None, again(password()));
    server.tls_frame(None, again(Credential::Password(SecretText::new("a guess"))));
    server.tls_frame(Some("alice.u1.example"), again(password()));
    for said in [Verdict::Refused, Verdict::Refused, Verdict::Accepted] {
        verdict(&mut server, said);
    }
    for _ in 0..2 {
        assert_refused(&mut server, RefusalCode::WrongCredentials);
    }
    assert!(server.tls_answers.is_empty());
}
