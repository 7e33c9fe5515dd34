//! The account book of the AS: who has an account, and by what an owner proves to be the owner.

use crate::hashing::{Cost, HashedPassword};
use bytes::Bytes;
use ntmobile_ports::store::Store;
use ntmobile_proto::machine::{Record, StoreFailure, Write};
use ntmobile_wire::name::Account;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// The kind of record that accounts are stored as.
const TABLE: &str = "accounts";
/// The version of the stored form.
const VERSION: u8 = 1;
/// Certificates of one account.
const MOST_CERTIFICATES: usize = 1_000;

/// Why the account book cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccountError {
    /// The store refused.
    #[error("the account book cannot be stored or read: {0}")]
    Store(#[from] StoreFailure),
    /// A stored account makes no sense.
    #[error("the stored account {0:?} is damaged")]
    Damaged(String),
    /// An account has too many certificates.
    #[error("an account has at most {MOST_CERTIFICATES} certificates")]
    TooManyCertificates,
}

/// What is known of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The password, if it can log in by one.
    pub password: Option<HashedPassword>,
    /// SHA-256 fingerprints of the TLS client certificates that it can log in by.
    pub certificates: BTreeSet<[u8; 32]>,
    /// Whether it is closed: it exists, and nothing opens it.
    pub disabled: bool,
}

impl Entry {
    /// An account with a password.
    pub fn with_password(password: HashedPassword) -> Self {
        Self { password: Some(password), ..Self::default() }
    }

    /// An account with a TLS client certificate of this fingerprint.
    pub fn with_certificate(fingerprint: [u8; 32]) -> Self {
        Self { certificates: BTreeSet::from([fingerprint]), ..Self::default() }
    }
}

/// All accounts: in memory to be asked, in the store to last.
pub struct AccountBook {
    store: Arc<dyn Store>,
    accounts: Mutex<BTreeMap<Account, Entry>>,
}

impl AccountBook {
    /// Reads the book; the store may hold other tables too.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, AccountError> {
        let mut accounts = BTreeMap::new();
        for record in store.load().await?.into_iter().filter(|record| record.table == TABLE) {
            let (account, entry) = decode(&record)
                .ok_or_else(|| AccountError::Damaged(String::from_utf8_lossy(&record.key).into_owned()))?;
            accounts.insert(account, entry);
        }
        Ok(Self { store, accounts: Mutex::new(accounts) })
    }

    /// Opens an account, or puts another entry in the place of its old one; returns once that is durable.
    pub async fn put(&self, account: Account, entry: Entry) -> Result<(), AccountError> {
        if entry.certificates.len() > MOST_CERTIFICATES {
            return Err(AccountError::TooManyCertificates);
        }
        self.store.commit(vec![write(&account, Some(encode(&entry)))]).await?;
        self.accounts().insert(account, entry);
        Ok(())
    }

    /// Opens many accounts at once, all of them or none.
    pub async fn put_all(&self, entries: Vec<(Account, Entry)>) -> Result<(), AccountError> {
        if entries.iter().any(|(_, entry)| entry.certificates.len() > MOST_CERTIFICATES) {
            return Err(AccountError::TooManyCertificates);
        }
        self.store.commit(entries.iter().map(|(account, entry)| write(account, Some(encode(entry)))).collect()).await?;
        self.accounts().extend(entries);
        Ok(())
    }

    /// Forgets an account; returns once that is durable.
    pub async fn remove(&self, account: &Account) -> Result<(), AccountError> {
        self.store.commit(vec![write(account, None)]).await?;
        self.accounts().remove(account);
        Ok(())
    }

    /// What is known of an account.
    pub fn entry(&self, account: &Account) -> Option<Entry> {
        self.accounts().get(account).cloned()
    }

    /// Every account, in the order of their names.
    pub fn entries(&self) -> Vec<(Account, Entry)> {
        self.accounts().iter().map(|(account, entry)| (account.clone(), entry.clone())).collect()
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<Account, Entry>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(account: &Account, value: Option<Vec<u8>>) -> Write {
    Write { table: TABLE, key: Bytes::from(account.to_string()), value: value.map(Bytes::from) }
}

/// Version, flags, then what the flags announce; numbers are big-endian. The book spells it out.
fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = vec![VERSION, u8::from(entry.disabled) | u8::from(entry.password.is_some()) << 1];
    if let Some(password) = &entry.password {
        let (memory, passes, lanes) = password.cost.parts();
        for number in [memory, passes, lanes] {
            bytes.extend(number.to_be_bytes());
        }
        bytes.extend(password.salt);
        bytes.extend(password.hash);
    }
    for certificate in &entry.certificates {
        bytes.extend(certificate);
    }
    bytes
}

fn decode(record: &Record) -> Option<(Account, Entry)> {
    let account = Account::parse(std::str::from_utf8(&record.key).ok()?).ok()?;
    let mut rest = &record.value[..];
    let [version, flags] = take(&mut rest)?;
    if version != VERSION || flags > 0b11 {
        return None;
    }
    let mut entry = Entry { disabled: flags & 1 != 0, ..Entry::default() };
    if flags & 2 != 0 {
        let mut number = || take(&mut rest).map(u32::from_be_bytes);
        let cost = Cost::new(number()?, number()?, number()?).ok()?;
        entry.password = Some(HashedPassword { cost, salt: take(&mut rest)?, hash: take(&mut rest)? });
    }
    while !rest.is_empty() {
        let new = entry.certificates.insert(take(&mut rest)?);
        if !new || entry.certificates.len() > MOST_CERTIFICATES {
            return None;
        }
    }
    Some((account, entry))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use ntmobile_ports::stores::MemoryStore;
    use ntmobile_wire::key::SecretText;
    use proptest::prelude::*;

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("the memory store answers at once")
    }

    fn account(text: &str) -> Account {
        Account::parse(text).expect("an account")
    }

    fn book(store: &MemoryStore) -> Result<AccountBook, AccountError> {
        now(AccountBook::load(Arc::new(store.clone())))
    }

    #[test]
    fn what_was_put_is_there_after_a_restart() {
        let store = MemoryStore::new();
        let other = Write { table: "other", key: Bytes::from("x"), value: Some(Bytes::from("y")) };
        now(store.commit(vec![other])).expect("stored");
        let first = book(&store).expect("a book");
        let password = HashedPassword::new(&SecretText::new("open sesame"), Cost::SIMULATION, [9; 16]);
        let mut alice = Entry::with_password(password);
        alice.certificates.extend([[1; 32], [2; 32]]);
        alice.disabled = true;
        now(first.put(account("alice@u1.example"), alice.clone())).expect("stored");
        let bob = (account("bob@u1.example"), Entry::with_certificate([3; 32]));
        let carol = (account("carol@u2.example"), Entry::default());
        now(first.put_all(vec![bob.clone(), carol.clone()])).expect("stored");
        now(first.remove(&carol.0)).expect("stored");
        for book in [first, book(&store).expect("a book")] {
            assert_eq!(book.entry(&account("ALICE@u1.example")), Some(alice.clone()));
            assert_eq!(book.entry(&bob.0), Some(bob.1.clone()));
            assert_eq!(book.entry(&carol.0), None);
            assert_eq!(book.entries(), [(account("alice@u1.example"), alice.clone()), bob.clone()]);
        }
    }

    #[test]
    fn what_is_not_stored_is_not_there() {
        let store = MemoryStore::with_capacity(10);
        let book = book(&store).expect("a book");
        let refused = now(book.put(account("alice@u1.example"), Entry::with_certificate([1; 32])));
        assert_eq!(refused, Err(AccountError::Store(StoreFailure::Full)));
        assert_eq!(book.entry(&account("alice@u1.example")), None);
    }

    #[test]
    fn an_entry_has_a_bounded_number_of_certificates() {
        let certificates = (0..1_001_u32).map(|n| {
            let mut fingerprint = [0; 32];
            fingerprint[..4].copy_from_slice(&n.to_be_bytes());
            fingerprint
        });
        let entry = Entry { certificates: certificates.collect(), ..Entry::default() };
        let book = book(&MemoryStore::new()).expect("a book");
        assert_eq!(now(book.put(account("a@b.example"), entry)), Err(AccountError::TooManyCertificates));
    }

    proptest! {
        #[test]
        fn arbitrary_records_are_read_or_refused_by_name(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            plausible in any::<bool>(),
        ) {
            let value = if plausible { [&[VERSION, 2][..], &value].concat() } else { value };
            let store = MemoryStore::new();
            let key = Bytes::from("alice@u1.example");
            now(store.commit(vec![Write { table: TABLE, key, value: Some(Bytes::from(value.clone())) }])).expect("stored");
            match book(&store) {
                Ok(book) => {
                    let entry = book.entry(&account("alice@u1.example")).expect("it was read");
                    prop_assert_eq!(encode(&entry).len(), value.len());
                }
                Err(error) => prop_assert_eq!(error, AccountError::Damaged("alice@u1.example".to_owned())),
            }
        }
    }
}
