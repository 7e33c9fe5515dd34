//! Carries orders out on an account book.

use super::{Listed, Order, Outcome, Refusal, parse};
use ntmobile_auth_plugins::{AccountBook, AccountError, Cost, Entry, HashedPassword};
use ntmobile_net::entropy::SystemEntropy;
use ntmobile_ports::compute::Compute;
use ntmobile_wire::key::SecretText;
use ntmobile_wire::name::Account;
use std::fmt::Write;
use std::sync::Arc;

/// An account book that takes orders.
#[derive(Clone)]
pub struct Office {
    book: Arc<AccountBook>,
    compute: Arc<dyn Compute>,
    cost: Cost,
}

impl Office {
    /// Over this book; passwords are hashed on `compute` at this cost.
    pub fn new(book: Arc<AccountBook>, compute: Arc<dyn Compute>, cost: Cost) -> Self {
        Self { book, compute, cost }
    }

    /// Carries an order out; what it changed is durable when this returns.
    pub async fn carry_out(&self, order: Order) -> Outcome {
        match order {
            Order::List => Ok(self.book.entries().iter().map(|(account, entry)| listed(account, entry)).collect()),
            Order::Add { account, password } => {
                let account = parse(&account)?;
                if self.book.entry(&account).is_some() {
                    return Err(Refusal::Exists(account.to_string()));
                }
                let entry = Entry { password: self.hash(password).await?, ..Entry::default() };
                self.put(account, entry).await
            }
            Order::Remove { account } => {
                let (account, entry) = self.find(&account)?;
                self.book.remove(&account).await.map_err(not_kept)?;
                Ok(vec![listed(&account, &entry)])
            }
            Order::Disable { account, disabled } => {
                let (account, entry) = self.find(&account)?;
                self.put(account, Entry { disabled, ..entry }).await
            }
            Order::Password { account, password } => {
                let (account, entry) = self.find(&account)?;
                let password = self.hash(password).await?;
                self.put(account, Entry { password, ..entry }).await
            }
            Order::Key { account, fingerprint, bound } => {
                let (account, mut entry) = self.find(&account)?;
                let certificate = from_hex(&fingerprint).ok_or(Refusal::Fingerprint(fingerprint))?;
                if bound {
                    entry.certificates.insert(certificate);
                } else {
                    entry.certificates.remove(&certificate);
                }
                self.put(account, entry).await
            }
        }
    }

    async fn hash(&self, password: Option<super::Hidden>) -> Result<Option<HashedPassword>, Refusal> {
        match password {
            None => Ok(None),
            Some(password) if password.0.is_empty() => Err(Refusal::EmptyPassword),
            Some(password) => {
                let password = SecretText::new(password.0);
                Ok(Some(HashedPassword::make(password, self.cost, &mut SystemEntropy, &*self.compute).await))
            }
        }
    }

    async fn put(&self, account: Account, entry: Entry) -> Outcome {
        let changed = listed(&account, &entry);
        self.book.put(account, entry).await.map_err(not_kept)?;
        Ok(vec![changed])
    }

    fn find(&self, name: &str) -> Result<(Account, Entry), Refusal> {
        let account = parse(name)?;
        match self.book.entry(&account) {
            Some(entry) => Ok((account, entry)),
            None => {
                let known = self.book.entries().into_iter().map(|(known, _)| known.to_string());
                let mut like: Vec<(usize, String)> =
                    known.map(|known| (strsim::damerau_levenshtein(name, &known), known)).collect();
                like.sort();
                let like = like.into_iter().filter(|(distance, _)| *distance <= 3).map(|(_, name)| name).take(2);
                Err(Refusal::Unknown { account: account.to_string(), like: like.collect() })
            }
        }
    }
}

fn not_kept(error: AccountError) -> Refusal {
    Refusal::Store(error.to_string())
}

fn listed(account: &Account, entry: &Entry) -> Listed {
    Listed {
        account: account.to_string(),
        password: entry.password.is_some(),
        certificates: entry.certificates.iter().map(|fingerprint| to_hex(fingerprint)).collect(),
        disabled: entry.disabled,
    }
}

/// Bytes in hexadecimal.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes any text");
        text
    })
}

/// Thirty-two bytes out of hexadecimal, with colons or without.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::Hidden;
    use super::*;
    use ntmobile_ports::compute::Inline;
    use ntmobile_ports::stores::MemoryStore;

    async fn office(store: &MemoryStore) -> Office {
        let book = AccountBook::load(Arc::new(store.clone())).await.expect("a book");
        Office::new(Arc::new(book), Arc::new(Inline), Cost::SIMULATION)
    }

    fn add(account: &str, password: &str) -> Order {
        Order::Add { account: account.to_owned(), password: Some(Hidden(password.to_owned())) }
    }

    #[tokio::test]
    async fn what_was_ordered_is_there_after_a_restart() {
        let store = MemoryStore::new();
        let first = office(&store).await;
        first.carry_out(add("alice@u1.example", "open sesame")).await.expect("added");
        first.carry_out(Order::Add { account: "bob@u1.example".to_owned(), password: None }).await.expect("added");
        let fingerprint = "ab".repeat(32);
        let bind =
            |bound| Order::Key { account: "bob@u1.example".to_owned(), fingerprint: fingerprint.to_uppercase(), bound };
        first.carry_out(bind(true)).await.expect("bound");
        first
            .carry_out(Order::Disable { account: "alice@u1.example".to_owned(), disabled: true })
            .await
            .expect("closed");
        let second = office(&store).await;
        let alice =
            Listed { account: "alice@u1.example".to_owned(), password: true, certificates: Vec::new(), disabled: true };
        let bob = Listed {
            account: "bob@u1.example".to_owned(),
            password: false,
            certificates: vec![fingerprint.clone()],
            disabled: false,
        };
        assert_eq!(second.carry_out(Order::List).await, Ok(vec![alice, bob]));
        let loosened = second.carry_out(bind(false)).await.expect("loosened");
        assert_eq!(loosened[0].certificates, Vec::<String>::new());
        second.carry_out(Order::Remove { account: "bob@u1.example".to_owned() }).await.expect("removed");
        assert_eq!(second.carry_out(Order::List).await.expect("a list").len(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_is_refused_with_a_remedy() {
        let office = office(&MemoryStore::new()).await;
        office.carry_out(add("alice@u1.example", "open sesame")).await.expect("added");
        let refused = |order| {
            let office = office.clone();
            async move { office.carry_out(order).await.expect_err("refused").to_string() }
        };
        assert!(refused(add("alice@u1.example", "again")).await.contains("ntm account password"));
        assert!(refused(add("alice", "x")).await.contains("alice"));
        assert_eq!(refused(add("carol@u1.example", "")).await, "a password must not be empty");
        let typo = refused(Order::Remove { account: "alcie@u1.example".to_owned() }).await;
        assert_eq!(typo, "there is no account alcie@u1.example. Did you mean alice@u1.example?");
        let key = Order::Key { account: "alice@u1.example".to_owned(), fingerprint: "beef".to_owned(), bound: true };
        assert_eq!(refused(key).await, "\"beef\" is no SHA-256 in hexadecimal");
    }

    #[test]
    fn a_password_does_not_show() {
        assert!(!format!("{:?}", add("alice@u1.example", "open sesame")).contains("sesame"));
    }
}
