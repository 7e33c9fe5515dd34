//! A configuration directory with which Wireshark and tshark decrypt the tunnels in a capture: `tshark -C` or, copied,
//! a profile.
//!
//! The lines are in the form that version 4.0 reads. It knows no ChaCha20-Poly1305 and refuses a whole `esp_sa` in which it
//! occurs, so associations of that suite are left out, and their number is said.

use ntmobile_wire::message::CipherSuite;
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;

/// One generation of one direction of a tunnel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EspAssociation {
    /// The SPI that its packets bear.
    pub spi: u32,
    /// Its cipher.
    pub suite: CipherSuite,
    /// Key and salt in hexadecimal, with `0x` before them.
    pub key_and_salt: String,
}

impl fmt::Debug for EspAssociation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EspAssociation({:#010x}, {:?}, …)", self.spi, self.suite)
    }
}

/// What Wireshark needs to know of a run. Order and repetition of what it is told do not show in the files.
#[derive(Clone, Debug, Default)]
pub struct WiresharkConfiguration {
    associations: BTreeSet<EspAssociation>,
    ports: BTreeSet<u16>,
}

impl WiresharkConfiguration {
    /// A configuration that decrypts nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the keys of an association.
    pub fn add_association(&mut self, association: EspAssociation) {
        self.associations.insert(association);
    }

    /// Adds a UDP port at which ESP and signalling come.
    pub fn add_port(&mut self, port: u16) {
        self.ports.insert(port);
    }

    /// How many associations Wireshark cannot decrypt, because of their cipher.
    pub fn left_out(&self) -> usize {
        self.associations.iter().filter(|association| line(association, "IPv4").is_none()).count()
    }

    /// The files, by name.
    pub fn files(&self) -> [(&'static str, String); 3] {
        let families = ["IPv4", "IPv6"];
        let associations =
            self.associations.iter().flat_map(|association| families.map(|family| line(association, family)));
        let associations = associations.flatten().collect();
        let ports = self.ports.iter().map(|port| format!("decode_as_entry: udp.port,{port},(none),UDPENCAP\n"));
        let preferences = "esp.enable_encryption_decode: TRUE\nesp.enable_authentication_check: TRUE\n";
        [("esp_sa", associations), ("decode_as_entries", ports.collect()), ("preferences", preferences.to_owned())]
    }

    /// Writes the files into a directory, which is created if need be.
    pub fn write_to(&self, directory: &Path) -> io::Result<()> {
        std::fs::create_dir_all(directory)?;
        for (name, content) in self.files() {
            std::fs::write(directory.join(name), content)?;
        }
        Ok(())
    }
}

/// The line of an association in `esp_sa`.
fn line(association: &EspAssociation, family: &str) -> Option<String> {
    let EspAssociation { spi, suite, key_and_salt } = association;
    match suite {
        CipherSuite::Aes128Gcm => Some(format!(
            "\"{family}\",\"*\",\"*\",\"{spi:#010x}\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"{key_and_salt}\",\"NULL\",\"\"\n"
        )),
        CipherSuite::ChaCha20Poly1305 | CipherSuite::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn association(spi: u32, suite: CipherSuite) -> EspAssociation {
        EspAssociation { spi, suite, key_and_salt: "0x00112233445566778899aabbccddeeff01020304".into() }
    }

    #[test]
    fn the_files_say_what_wireshark_reads_in_a_fixed_order() {
        let mut configuration = WiresharkConfiguration::new();
        configuration.add_association(association(0x2001, CipherSuite::ChaCha20Poly1305));
        configuration.add_association(association(0x1001, CipherSuite::Aes128Gcm));
        configuration.add_association(association(0x1001, CipherSuite::Aes128Gcm));
        configuration.add_port(51_000);
        configuration.add_port(4_500);
        assert_eq!(configuration.left_out(), 1);
        let [(_, associations), (_, ports), _] = configuration.files();
        assert_eq!(
            associations.lines().next(),
            Some(concat!(
                "\"IPv4\",\"*\",\"*\",\"0x00001001\",\"AES-GCM with 16 octet ICV [RFC4106]\",",
                "\"0x00112233445566778899aabbccddeeff01020304\",\"NULL\",\"\""
            ))
        );
        assert_eq!(associations.lines().count(), 2);
        assert_eq!(
            ports,
            "decode_as_entry: udp.port,4500,(none),UDPENCAP\ndecode_as_entry: udp.port,51000,(none),UDPENCAP\n"
        );
    }

    #[test]
    fn keys_do_not_show_in_debug_output() {
        assert!(!format!("{:?}", association(1, CipherSuite::Aes128Gcm)).contains("0011"));
    }
}
