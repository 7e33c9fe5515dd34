//! `public-key`: a TLS client certificate that is bound to the account.

use crate::accounts::AccountBook;
use async_trait::async_trait;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_proto::machine::Verdict;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

/// Verifies client certificates. That the client holds the certificate's key, TLS has proved; whose it is, the account says.
pub struct PublicKey {
    accounts: Arc<AccountBook>,
}

impl PublicKey {
    /// Verifies against the certificates in `accounts`.
    pub fn new(accounts: Arc<AccountBook>) -> Self {
        Self { accounts }
    }
}

#[async_trait]
impl Authenticator for PublicKey {
    fn name(&self) -> &'static str {
        "public-key"
    }

    async fn verify(&self, account: &Account, credential: &Credential, certificate: Option<[u8; 32]>) -> Verdict {
        if !matches!(credential, Credential::Certificate) {
            return Verdict::NotSupported;
        }
        let Some(shown) = certificate else { return Verdict::Refused };
        let entry = self.accounts.entry(account).filter(|entry| !entry.disabled).unwrap_or_default();
        // Every one is compared to its end: how long it takes tells nothing of how near a guess was.
        let bound = entry.certificates.iter().fold(Choice::from(0), |found, bound| found | bound.ct_eq(&shown));
        if bool::from(bound) { Verdict::Accepted } else { Verdict::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Entry;
    use futures::FutureExt;
    use ntmobile_ports::stores::MemoryStore;
    use ntmobile_wire::key::SecretText;

    fn verify(who: &str, credential: &Credential, certificate: Option<[u8; 32]>) -> Verdict {
        let account = |text: &str| Account::parse(text).expect("an account");
        let book = AccountBook::load(Arc::new(MemoryStore::new())).now_or_never().expect("at once").expect("a book");
        let mut alice = Entry::with_certificate([1; 32]);
        alice.certificates.insert([2; 32]);
        let closed = Entry { disabled: true, ..Entry::with_certificate([3; 32]) };
        let entries = vec![(account("alice@u1.example"), alice), (account("closed@u1.example"), closed)];
        book.put_all(entries).now_or_never().expect("at once").expect("stored");
        let plugin = PublicKey::new(Arc::new(book));
        plugin.verify(&account(who), credential, certificate).now_or_never().expect("at once")
    }

    #[test]
    fn any_of_the_accounts_own_certificates_is_accepted_and_no_other() {
        for own in [[1; 32], [2; 32]] {
            assert_eq!(verify("alice@u1.example", &Credential::Certificate, Some(own)), Verdict::Accepted);
        }
        let mut nearly = [1; 32];
        nearly[31] ^= 1;
        for other in [Some([3; 32]), Some(nearly), None] {
            assert_eq!(verify("alice@u1.example", &Credential::Certificate, other), Verdict::Refused);
        }
    }

    #[test]
    fn unknown_and_closed_accounts_are_refused() {
        assert_eq!(verify("nobody@u1.example", &Credential::Certificate, Some([1; 32])), Verdict::Refused);
        assert_eq!(verify("closed@u1.example", &Credential::Certificate, Some([3; 32])), Verdict::Refused);
    }

    #[test]
    fn other_kinds_of_credential_are_left_to_others() {
        let password = Credential::Password(SecretText::new("open sesame"));
        assert_eq!(verify("alice@u1.example", &password, Some([1; 32])), Verdict::NotSupported);
    }
}
