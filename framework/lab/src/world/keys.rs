//! The packet keys of a run, gathered so that Wireshark reads what is inside the tunnels of its capture.

use ntmobile_actors::server::SIGNALLING_PORT;
use ntmobile_proto::packet::KeyLog;
use ntmobile_sim::capture::{EspAssociation, WiresharkConfiguration};
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::CipherSuite;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Every key that any node of the run told.
#[derive(Default)]
pub(crate) struct KeyRing {
    keys: Mutex<Keys>,
}

/// What was told, as one process hands it to another.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keys {
    /// SPI, whether the cipher is AES-128-GCM, key and salt in hexadecimal.
    associations: BTreeSet<(u32, bool, String)>,
    ports: BTreeSet<u16>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({} associations)", self.associations.len())
    }
}

impl KeyLog for KeyRing {
    fn key(&self, spi: Spi, suite: CipherSuite, key: &EspKey) {
        let told = (spi.0, suite == CipherSuite::Aes128Gcm, key.wireshark_key());
        self.with(|keys| {
            keys.associations.insert(told);
        });
    }
}

impl KeyRing {
    /// Packets of tunnels come at this port too.
    pub(crate) fn port(&self, port: u16) {
        self.with(|keys| {
            keys.ports.insert(port);
        });
    }

    /// Everything so far.
    pub(crate) fn told(&self) -> Keys {
        self.with(|keys| keys.clone())
    }

    /// Takes in what another ring was told.
    pub(crate) fn absorb(&self, told: Keys) {
        self.with(|keys| {
            keys.associations.extend(told.associations);
            keys.ports.extend(told.ports);
        });
    }

    /// Writes Wireshark's configuration directory.
    pub(crate) fn write_to(&self, directory: &Path) -> io::Result<()> {
        let keys = self.told();
        let mut configuration = WiresharkConfiguration::new();
        for (spi, is_aes, key_and_salt) in keys.associations {
            let suite = if is_aes { CipherSuite::Aes128Gcm } else { CipherSuite::ChaCha20Poly1305 };
            configuration.add_association(EspAssociation { spi, suite, key_and_salt });
        }
        for port in keys.ports {
            configuration.add_port(port);
        }
        configuration.add_port(SIGNALLING_PORT);
        configuration.write_to(directory)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Keys) -> T) -> T {
        act(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
