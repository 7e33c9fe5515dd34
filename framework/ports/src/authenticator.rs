//! Who is who: the plugin trait behind the Account Server.

use async_trait::async_trait;
use ntmobile_proto::machine::Verdict;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;

/// A way to authenticate an account.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The plugin's name in scenario and configuration files.
    fn name(&self) -> &'static str;

    /// Decides whether `credential` (and the client certificate with this SHA-256 fingerprint, if one was shown) is the
    /// account's. Takes as long for an account that does not exist as for a wrong credential.
    async fn verify(&self, account: &Account, credential: &Credential, certificate: Option<[u8; 32]>) -> Verdict;
}
