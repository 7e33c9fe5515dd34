//! What the applications of one device share.

use crate::host::Host;
use crate::node::NodeParts;
use ntmobile_ports::store::Store;
use ntmobile_ports::tls::Tls;
use ntmobile_proto::node::NodeConfig;
use ntmobile_proto::packet::KeyLog;
use ntmobile_proto::policy::Strategies;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::key::SecretText;
use ntmobile_wire::message::{CipherSuite, Credential};
use ntmobile_wire::name::{Account, Fqdn};
use std::sync::Arc;
use thiserror::Error;

/// Gives each application of a device a store of its own.
pub type StoreSource = Arc<dyn Fn(ApplicationId) -> Arc<dyn Store> + Send + Sync>;

/// A device on which applications join the network.
#[derive(Clone)]
pub struct Device {
    /// The host it is.
    pub host: Host,
    /// Its TLS end: trusts the network's CA, and shows the device's certificate where it has one.
    pub tls: Arc<dyn Tls>,
    /// What its applications must not forget.
    pub stores: StoreSource,
    /// The Account Server's name.
    pub account_server: Fqdn,
    /// Where the Account Server is; `None` where DNS says so.
    pub account_server_addresses: Option<DualStack>,
    /// How its nodes decide.
    pub strategies: Strategies,
    /// The cipher that it runs best.
    pub suite: CipherSuite,
    /// Who is told the keys of its packets: nobody, unless an experiment decrypts its own capture.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

impl Device {
    /// The settings of one application's machine.
    pub fn config(&self, account: Account, credential: Credential, application: ApplicationId) -> NodeConfig {
        NodeConfig {
            application,
            account_server_addresses: self.account_server_addresses,
            suite: self.suite,
            ..NodeConfig::new(account, credential, self.account_server.clone(), self.strategies.clone())
        }
    }

    /// What one application's node is started with.
    pub(super) fn application(
        &self,
        account: Account,
        credential: Credential,
        application: ApplicationId,
    ) -> (NodeConfig, NodeParts) {
        let config = self.config(account, credential, application);
        let (tls, store, key_log) = (Arc::clone(&self.tls), (self.stores)(application), self.key_log.clone());
        (config, NodeParts { port: 0, tls, store, key_log })
    }
}

/// A password to join with.
#[derive(Clone, Debug)]
pub struct Password(SecretText);

/// There is no password where one was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the environment variable {0} holds no password; set it")]
pub struct NoPassword(String);

impl Password {
    /// Takes a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretText::new(text))
    }

    /// Takes the password that an environment variable holds.
    pub fn from_env(variable: &str) -> Result<Self, NoPassword> {
        std::env::var(variable).map(Self::new).map_err(|_absent| NoPassword(variable.to_owned()))
    }
}

impl From<Password> for Credential {
    fn from(password: Password) -> Self {
        Self::Password(password.0)
    }
}
