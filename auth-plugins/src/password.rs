//! `password`: mail address and password, argon2id at the AS.

use crate::accounts::AccountBook;
use crate::hashing::{Cost, HashedPassword};
use async_trait::async_trait;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::compute::{self, Compute};
use ntmobile_proto::machine::Verdict;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;
use std::sync::Arc;

/// Verifies passwords.
///
/// Whoever asks cannot learn who has an account: where there is no password to compare with, the one given is compared with
/// one that nobody has, at the same cost. (Accounts whose password was hashed at another cost than today's still show.)
pub struct Password {
    accounts: Arc<AccountBook>,
    compute: Arc<dyn Compute>,
    nobodys: Arc<HashedPassword>,
}

impl Password {
    /// Verifies the passwords in `accounts`; `cost` is the one that they were hashed at.
    pub fn new(accounts: Arc<AccountBook>, compute: Arc<dyn Compute>, cost: Cost) -> Self {
        // Not the hash of any password that is known, and never accepted whatever it is compared with.
        let nobodys = Arc::new(HashedPassword { cost, salt: [0; 16], hash: [0; 32] });
        Self { accounts, compute, nobodys }
    }
}

#[async_trait]
impl Authenticator for Password {
    fn name(&self) -> &'static str {
        "password"
    }

    async fn verify(&self, account: &Account, credential: &Credential, _certificate: Option<[u8; 32]>) -> Verdict {
        let Credential::Password(given) = credential else { return Verdict::NotSupported };
        let stored = self.accounts.entry(account).filter(|entry| !entry.disabled).and_then(|entry| entry.password);
        let somebodys = stored.is_some();
        let (stored, given) = (stored.map_or_else(|| Arc::clone(&self.nobodys), Arc::new), given.clone());
        let equal = compute::run(&*self.compute, move || stored.is(&given)).await;
        if equal && somebodys { Verdict::Accepted } else { Verdict::Refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Entry;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use ntmobile_ports::compute::{Inline, Job};
    use ntmobile_ports::stores::MemoryStore;
    use ntmobile_wire::key::SecretText;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts what it computes.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Compute for Counting {
        fn run(&self, job: Job) -> BoxFuture<'static, ()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Inline.run(job)
        }
    }

    fn account(text: &str) -> Account {
        Account::parse(text).expect("an account")
    }

    fn plugin() -> (Password, Arc<Counting>) {
        let book = AccountBook::load(Arc::new(MemoryStore::new())).now_or_never().expect("at once").expect("a book");
        let password = HashedPassword::new(&SecretText::new("open sesame"), Cost::SIMULATION, [4; 16]);
        let closed = Entry { disabled: true, ..Entry::with_password(password.clone()) };
        let entries = vec![
            (account("alice@u1.example"), Entry::with_password(password)),
            (account("closed@u1.example"), closed),
            (account("certified@u1.example"), Entry::with_certificate([1; 32])),
        ];
        book.put_all(entries).now_or_never().expect("at once").expect("stored");
        let compute = Arc::new(Counting::default());
        (Password::new(Arc::new(book), compute.clone(), Cost::SIMULATION), compute)
    }

    fn verify(plugin: &Password, who: &str, credential: &Credential) -> Verdict {
        plugin.verify(&account(who), credential, Some([1; 32])).now_or_never().expect("computed inline")
    }

    fn password(text: &str) -> Credential {
        Credential::Password(SecretText::new(text))
    }

    #[test]
    fn the_right_password_is_accepted_and_nothing_else() {
        let (plugin, _) = plugin();
        assert_eq!(verify(&plugin, "alice@u1.example", &password("open sesame")), Verdict::Accepted);
        assert_eq!(verify(&plugin, "alice@u1.example", &password("open Sesame")), Verdict::Refused);
        assert_eq!(verify(&plugin, "alice@u2.example", &password("open sesame")), Verdict::Refused);
        assert_eq!(verify(&plugin, "closed@u1.example", &password("open sesame")), Verdict::Refused);
        assert_eq!(verify(&plugin, "certified@u1.example", &password("")), Verdict::Refused);
    }

    #[test]
    fn refusing_takes_the_same_work_whether_the_account_exists_or_not() {
        let (plugin, compute) = plugin();
        for who in ["alice@u1.example", "nobody@u1.example", "closed@u1.example", "certified@u1.example"] {
            let before = compute.0.load(Ordering::Relaxed);
            assert_eq!(verify(&plugin, who, &password("guess")), Verdict::Refused);
            assert_eq!(compute.0.load(Ordering::Relaxed) - before, 1, "{who}");
        }
        assert_eq!(plugin.nobodys.cost, Cost::SIMULATION);
    }

    #[test]
    fn other_kinds_of_credential_are_left_to_others() {
        let (plugin, compute) = plugin();
        assert_eq!(verify(&plugin, "certified@u1.example", &Credential::Certificate), Verdict::NotSupported);
        assert_eq!(compute.0.load(Ordering::Relaxed), 0);
    }
}
