//! The ways to authenticate by name: explicit registration, choice, and an error that tells which names there are.

use crate::accounts::AccountBook;
use crate::hashing::Cost;
use crate::password::Password;
use crate::public_key::PublicKey;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::compute::Compute;
use std::sync::Arc;
use thiserror::Error;

/// What authenticators are made of.
#[derive(Clone)]
pub struct Ingredients {
    /// The accounts of the AS.
    pub accounts: Arc<AccountBook>,
    /// Where passwords are hashed.
    pub compute: Arc<dyn Compute>,
    /// What hashing a password costs.
    pub cost: Cost,
}

/// A name that no authenticator is registered under.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no way to authenticate named {name:?}; known are: {}", known.join(", "))]
pub struct UnknownAuthenticator {
    /// The name that was given.
    pub name: String,
    /// The names there are, in the order of their registration.
    pub known: Vec<&'static str>,
}

/// Makes an authenticator.
pub type Constructor = fn(&Ingredients) -> Arc<dyn Authenticator>;

/// Every way to authenticate that can be chosen.
#[derive(Clone)]
pub struct Registry {
    known: Vec<(&'static str, Constructor)>,
}

impl Registry {
    /// A registry with the authenticators of this crate.
    pub fn builtin() -> Self {
        let mut registry = Self { known: Vec::new() };
        registry.register("password", |with| {
            Arc::new(Password::new(Arc::clone(&with.accounts), Arc::clone(&with.compute), with.cost))
        });
        registry.register("public-key", |with| Arc::new(PublicKey::new(Arc::clone(&with.accounts))));
        registry
    }

    /// Adds a way to authenticate; one of the same name is replaced.
    pub fn register(&mut self, name: &'static str, constructor: Constructor) -> &mut Self {
        self.known.retain(|(known, _)| *known != name);
        self.known.push((name, constructor));
        self
    }

    /// The names, in the order of their registration.
    pub fn names(&self) -> Vec<&'static str> {
        self.known.iter().map(|(name, _)| *name).collect()
    }

    /// Makes the authenticator of this name.
    pub fn make(&self, name: &str, with: &Ingredients) -> Result<Arc<dyn Authenticator>, UnknownAuthenticator> {
        match self.known.iter().find(|(known, _)| *known == name) {
            Some((_, constructor)) => Ok(constructor(with)),
            None => Err(UnknownAuthenticator { name: name.to_owned(), known: self.names() }),
        }
    }

    /// Makes one of each: an AS that takes whatever a node shows.
    pub fn make_all(&self, with: &Ingredients) -> Vec<Arc<dyn Authenticator>> {
        self.known.iter().map(|(_, constructor)| constructor(with)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use ntmobile_ports::compute::Inline;
    use ntmobile_ports::stores::MemoryStore;

    fn ingredients() -> Ingredients {
        let book = AccountBook::load(Arc::new(MemoryStore::new())).now_or_never().expect("at once").expect("a book");
        Ingredients { accounts: Arc::new(book), compute: Arc::new(Inline), cost: Cost::SIMULATION }
    }

    #[test]
    fn every_name_makes_the_plugin_of_that_name() {
        let registry = Registry::builtin();
        assert_eq!(registry.names(), ["password", "public-key"]);
        for name in registry.names() {
            let made = registry.make(name, &ingredients()).expect("it is known");
            assert_eq!(made.name(), name);
        }
        let names: Vec<&str> = registry.make_all(&ingredients()).iter().map(|made| made.name()).collect();
        assert_eq!(names, registry.names());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = Registry::builtin().make("pasword", &ingredients()).err().expect("it is unknown");
        let said = "there is no way to authenticate named \"pasword\"; known are: password, public-key";
        assert_eq!(error.to_string(), said);
    }

    #[test]
    fn a_plugin_of_the_same_name_is_replaced() {
        let mut registry = Registry::builtin();
        registry.register("password", |with| Arc::new(PublicKey::new(Arc::clone(&with.accounts))));
        assert_eq!(registry.names(), ["public-key", "password"]);
        assert_eq!(registry.make("password", &ingredients()).expect("it is known").name(), "public-key");
    }
}
