//! What an Account Server is told when it is set up.

use std::time::Duration;

/// The settings of an AS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountServerConfig {
    /// The lifetime of K_ntmdc made here (`via-as`; default 24 h, in messages as whole seconds).
    pub key_lifetime: Duration,
    /// How long a voucher for a node's public key holds (default 30 days: re-logins under a current key bring no new one).
    pub voucher_lifetime: Duration,
    /// How many logins may be in progress at once (default 1,024); more are refused as *Overloaded*.
    pub logins: usize,
    /// How long a login may take before it is given up (default 6 s: sooner than the DC or node that asks gives up).
    pub patience: Duration,
    /// How long it is remembered where a domain's DC is (default 300 s).
    pub coordinator_memory: Duration,
    /// How many domains' DCs are remembered (default 1,024).
    pub coordinators: usize,
}

impl Default for AccountServerConfig {
    fn default() -> Self {
        Self {
            key_lifetime: Duration::from_secs(24 * 3_600),
            voucher_lifetime: Duration::from_secs(30 * 24 * 3_600),
            logins: 1_024,
            patience: Duration::from_secs(6),
            coordinator_memory: Duration::from_secs(300),
            coordinators: 1_024,
        }
    }
}
