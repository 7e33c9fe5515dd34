//! Who can log in, by what: a password or a certificate for every node, drawn from the run's seed, and the AS's book of them.

use super::internet::{EquipmentError, Internet};
use super::nodes::account;
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use ntmobile_actors::library::Password;
use ntmobile_auth_plugins::{AccountBook, AccountError, Cost, CostError, Entry, HashedPassword, Ingredients, Registry};
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::certificate::Identity;
use ntmobile_ports::compute::Inline;
use ntmobile_ports::store::Store;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_wire::entropy::draw;
use ntmobile_wire::key::SecretText;
use ntmobile_wire::name::NameError;
use std::collections::BTreeMap;
use std::sync::Arc;
use thiserror::Error;

/// Why there are no credentials.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A certificate or store is missing.
    #[error(transparent)]
    Equipment(#[from] EquipmentError),
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The scenario's cost of hashing is none that argon2 knows.
    #[error("account-server.hashing: {0}")]
    Cost(#[from] CostError),
    /// The AS cannot keep its accounts.
    #[error(transparent)]
    Accounts(#[from] AccountError),
}

/// What a node proves itself with.
pub(super) enum Secret {
    /// A password.
    Password { text: String, salt: [u8; 16] },
    /// A certificate and its key.
    Certificate(Identity),
}

/// What every node proves itself with, by the node's name.
pub(super) struct Credentials {
    secrets: BTreeMap<String, Secret>,
    cost: Cost,
}

impl Credentials {
    /// Draws them.
    pub(super) fn draw(scenario: &Scenario, internet: &Internet) -> Result<Self, CredentialsError> {
        let cost = scenario.account_server.hashing.unwrap_or_default().cost()?;
        let mut secrets = BTreeMap::new();
        for name in scenario.node.keys() {
            let full_name = account(scenario, name)?.node();
            let secret = match scenario.at_node(Kind::Auth, name) {
                Some("public-key") => {
                    Secret::Certificate(internet.identity(full_name.as_str(), CertificateRole::Node)?)
                }
                _ => {
                    let mut entropy = internet.world.entropy(&format!("{full_name} password"));
                    let drawn: [u8; 16] = draw(&mut entropy);
                    let text = drawn.iter().map(|byte| format!("{byte:02x}")).collect();
                    Secret::Password { text, salt: draw(&mut entropy) }
                }
            };
            secrets.insert(name.clone(), secret);
        }
        Ok(Self { secrets, cost })
    }

    /// What a node proves itself with.
    pub(super) fn of(&self, node: &str) -> Option<&Secret> {
        self.secrets.get(node)
    }

    /// The AS's ways to verify, over the accounts in its store; an empty store gets an account for every node.
    pub(super) async fn authenticators(
        &self,
        scenario: &Scenario,
        store: Arc<dyn Store>,
    ) -> Result<Vec<Arc<dyn Authenticator>>, CredentialsError> {
        let accounts = AccountBook::load(store).await?;
        let mut missing = Vec::new();
        for (name, secret) in &self.secrets {
            let account = account(scenario, name)?;
            if accounts.entry(&account).is_none() {
                missing.push((account, self.entry(secret)));
            }
        }
        if !missing.is_empty() {
            accounts.put_all(missing).await?;
        }
        let with = Ingredients { accounts: Arc::new(accounts), compute: Arc::new(Inline), cost: self.cost };
        Ok(Registry::builtin().make_all(&with))
    }

    fn entry(&self, secret: &Secret) -> Entry {
        match secret {
            Secret::Password { text, salt } => {
                Entry::with_password(HashedPassword::new(&SecretText::new(text.clone()), self.cost, *salt))
            }
            Secret::Certificate(identity) => Entry::with_certificate(identity.fingerprint()),
        }
    }
}

impl Secret {
    /// The password, if it is one.
    pub(super) fn password(&self) -> Option<Password> {
        match self {
            Self::Password { text, .. } => Some(Password::new(text.clone())),
            Self::Certificate(_) => None,
        }
    }
}
