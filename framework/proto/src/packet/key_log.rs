//! Where a tunnel's packet keys are told, for experiments that decrypt their own captures. Without a log nobody is told.

use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::CipherSuite;
use std::fmt;
use std::sync::Arc;

/// Takes note of packet keys. Whoever implements it holds everything that is said through these tunnels.
pub trait KeyLog: Send + Sync {
    /// Packets of this SPI are under this key. The same key may be told more than once.
    fn key(&self, spi: Spi, suite: CipherSuite, key: &EspKey);
}

/// A log, or none.
#[derive(Clone, Default)]
pub(super) struct MaybeLog(pub(super) Option<Arc<dyn KeyLog>>);

impl MaybeLog {
    pub(super) fn key(&self, spi: Spi, suite: CipherSuite, key: &EspKey) {
        if let Some(log) = &self.0 {
            log.key(spi, suite, key);
        }
    }
}

impl fmt::Debug for MaybeLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "KeyLog" } else { "no KeyLog" })
    }
}
