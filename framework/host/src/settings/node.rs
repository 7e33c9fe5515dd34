//! The file of a node.

use super::common::{HostSettings, beside_the_file, default_tls_port};
use super::{Check, SettingsFile, Written};
use ntmobile_proto::policy::Strategies;
use ntmobile_strategies::registry::Kind;
use ntmobile_strategies::{Choices, Registry, UnknownStrategy};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::message::CipherSuite;
use ntmobile_wire::name::{Account, Fqdn};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// A file for a node's applications.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeFile {
    /// Who it is, and where the network is.
    pub node: NodeSettings,
    /// The virtual interface, where the node runs by `ntm up`.
    #[serde(default)]
    pub tun: TunSettings,
    /// What the process does besides.
    #[serde(default)]
    pub host: HostSettings,
    /// How it behaves.
    #[serde(default)]
    pub plugins: NodePlugins,
}

/// `[node]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeSettings {
    /// Its account; `alice@u1.example` is the node `alice.u1.example`.
    pub account: Written<Account>,
    /// How it proves to be the account's.
    #[serde(default)]
    pub authentication: Authentication,
    /// The file that holds its password, and nothing else; the variable NTM_PASSWORD where none is given.
    pub password_file: Option<PathBuf>,
    /// The directory of `authority.pem` and, for `public-key`, of the node's own `NAME.pem` and `NAME.key`.
    #[serde(default = "beside_the_file")]
    pub certificates: PathBuf,
    /// The directory of its database; where none is given, nothing lasts longer than the process.
    pub state: Option<PathBuf>,
    /// The AS's name, which its certificate bears.
    pub account_server: Written<Fqdn>,
    /// The AS's addresses, where DNS does not know them.
    #[serde(default)]
    pub account_server_addresses: Vec<IpAddr>,
    /// The UDP port of the AS's TLS legs, where its addresses are given here.
    #[serde(default = "default_tls_port")]
    pub account_server_port: u16,
}

/// How a node proves to be its account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authentication {
    /// By a password.
    #[default]
    Password,
    /// By its certificate.
    PublicKey,
}

/// The least MTU of an interface that carries IPv6 (RFC 8200).
const LEAST_MTU: u16 = 1_280;

/// Who carries the packets of a virtual interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The node's process, by a TUN device.
    #[default]
    Tun,
    /// The kernel, by its IPsec tables.
    Kernel,
}

/// `[tun]`: the virtual interface of `ntm up` and `ntm vpn-service`, and what the first changes on its host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TunSettings {
    /// Who carries its packets.
    pub model: Model,
    /// The interface's name.
    pub interface: String,
    /// The largest packet of an application.
    pub mtu: u16,
    /// The UDP port of signalling and packets; 0 for any free one.
    pub port: u16,
    /// How many threads carry packets; 0 for one for each processor, four at most.
    pub threads: usize,
    /// Whether the host's programs find nodes by their names: needs `/etc/resolv.conf` and port 53 of the virtual address.
    pub names: bool,
    /// Where programs ask for names under `ntm vpn-service`: an address that nobody else has.
    pub name_server: IpAddr,
    /// Where the undo journals and the control socket are.
    pub run_directory: PathBuf,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
}

impl Default for TunSettings {
    fn default() -> Self {
        Self {
            model: Model::default(),
            interface: "ntm0".to_owned(),
            mtu: 1_400,
            port: 0,
            threads: 0,
            names: true,
            name_server: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 53)),
            run_directory: PathBuf::from("/run/ntmobile"),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// `[plugins]` of a node.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct NodePlugins {
    /// How it logs in.
    pub login: String,
    /// How it stays reachable.
    pub reachability: String,
    /// How it notices that it has moved.
    pub movement: String,
    /// What it does about its tunnels when it has moved.
    pub handover: String,
    /// How K_mncn comes to both ends.
    pub agreement: String,
    /// How Tunnel Request is protected.
    pub protection: String,
    /// The cipher of application packets in tunnels that this node starts.
    pub suite: String,
}

/// Whatever this processor does fastest.
const BY_PROCESSOR: &str = "auto";
/// The ciphers by name.
const SUITES: [(&str, CipherSuite); 2] =
    [("aes-128-gcm", CipherSuite::Aes128Gcm), ("chacha20-poly1305", CipherSuite::ChaCha20Poly1305)];

/// AES where the processor has instructions for it and for GCM's multiplication: without them ChaCha20 is several times as fast.
fn suite_of_the_processor() -> CipherSuite {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    let has_aes = std::arch::is_x86_feature_detected!("aes") && std::arch::is_x86_feature_detected!("pclmulqdq");
    #[cfg(target_arch = "aarch64")]
    let has_aes = std::arch::is_aarch64_feature_detected!("aes") && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    let has_aes = false;
    if has_aes { CipherSuite::Aes128Gcm } else { CipherSuite::ChaCha20Poly1305 }
}

impl Default for NodePlugins {
    fn default() -> Self {
        let Choices { login, reachability, movement, handover, agreement, protection, .. } = Choices::default();
        Self { login, reachability, movement, handover, agreement, protection, suite: BY_PROCESSOR.to_owned() }
    }
}

impl NodePlugins {
    fn of(&self) -> [(Kind, &str); 6] {
        [
            (Kind::Login, &self.login),
            (Kind::Reachability, &self.reachability),
            (Kind::Movement, &self.movement),
            (Kind::Handover, &self.handover),
            (Kind::Agreement, &self.agreement),
            (Kind::Protection, &self.protection),
        ]
    }

    /// The strategies that it runs with.
    pub fn strategies(&self) -> Result<Strategies, UnknownStrategy> {
        let mut choices = Choices::default();
        for (kind, name) in self.of() {
            choices.set(kind, name);
        }
        Registry::builtin().choose(&choices)
    }

    /// The cipher that it runs with.
    pub fn suite(&self) -> CipherSuite {
        let named = SUITES.iter().find(|(name, _)| *name == self.suite);
        named.map_or_else(suite_of_the_processor, |(_, suite)| *suite)
    }
}

impl NodeFile {
    /// Where the AS is, if the file says so.
    pub fn account_server_addresses(&self) -> Option<DualStack> {
        let addresses = &self.node.account_server_addresses;
        (!addresses.is_empty()).then(|| DualStack::of(addresses, self.node.account_server_port))
    }
}

impl SettingsFile for NodeFile {
    const EXAMPLE: &'static str = include_str!("examples/node.toml");

    fn check(&self, check: &mut Check<'_>) {
        let registry = Registry::builtin();
        for (kind, name) in self.plugins.of() {
            check.known(&["plugins", kind.name()], name, &registry.names(kind));
        }
        if self.tun.mtu < LEAST_MTU {
            check.wrong(&["tun", "mtu"], format!("IPv6 needs {LEAST_MTU} at least"));
        }
        check.known(&["plugins", "suite"], &self.plugins.suite, &[BY_PROCESSOR, SUITES[0].0, SUITES[1].0]);
    }

    fn resolve(&mut self, directory: &Path) {
        self.host.resolve(directory);
        let node = &mut self.node;
        node.certificates = directory.join(&node.certificates);
        node.state = node.state.take().map(|state| directory.join(state));
        self.tun.run_directory = directory.join(&self.tun.run_directory);
        self.tun.resolv_conf = directory.join(&self.tun.resolv_conf);
        node.password_file = node.password_file.take().map(|file| directory.join(file));
    }
}
