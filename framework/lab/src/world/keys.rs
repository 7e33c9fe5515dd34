//! The packet keys of a run, gathered so that Wireshark reads what is inside the tunnels of its capture.

use ntmobile_actors::server::SIGNALLING_PORT;
use ntmobile_proto::packet::KeyLog;
use ntmobile_sim::capture::{EspAssociation, WiresharkConfiguration};
use ntmobile_wire::esp::EspKey;
use ntmobile_wire::identifier::Spi;
use ntmobile_wire::message::CipherSuite;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Every key that any node of the run told.
#[derive(Default)]
pub(super) struct KeyRing {
    configuration: Mutex<WiresharkConfiguration>,
}

impl KeyLog for KeyRing {
    fn key(&self, spi: Spi, suite: CipherSuite, key: &EspKey) {
        let association = EspAssociation { spi: spi.0, suite, key_and_salt: key.wireshark_key() };
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).add_association(association);
    }
}

impl KeyRing {
    /// Packets of tunnels come at this port too.
    pub(super) fn port(&self, port: u16) {
        self.configuration.lock().unwrap_or_else(PoisonError::into_inner).add_port(port);
    }

    /// Writes Wireshark's configuration directory.
    pub(super) fn write_to(&self, directory: &Path) -> io::Result<()> {
        let mut configuration = self.configuration.lock().unwrap_or_else(PoisonError::into_inner);
        configuration.add_port(SIGNALLING_PORT);
        configuration.write_to(directory)
    }
}
