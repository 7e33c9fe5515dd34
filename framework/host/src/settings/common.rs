//! What the files of all hosts have in common.

use super::Written;
use ntmobile_actors::server::{DNS_PORT, NOTIFICATION_PORT, SIGNALLING_PORT, TLS_PORT};
use ntmobile_net::roots::root_hints;
use ntmobile_settings::units::{Size, TimeSpan, secs};
use ntmobile_wire::address::DualStack;
use ntmobile_wire::name::Fqdn;
use serde::Deserialize;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// `[server]`: who a server is, and where it keeps what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerSettings {
    /// Its name, which its certificate bears.
    pub name: Written<Fqdn>,
    /// The directory of `authority.pem` and the server's own `NAME.pem` and `NAME.key`.
    #[serde(default = "beside_the_file")]
    pub certificates: PathBuf,
    /// The directory of its database; `/var/lib/ntm/NAME` where none is given.
    pub state: Option<PathBuf>,
    /// What the database holds back, so that a full disk never interrupts a write.
    #[serde(default = "default_reserve")]
    pub reserve: Size,
    /// The addresses under which others reach it; its interfaces' where none are given.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The addresses that its ports are opened on; all where none are given.
    #[serde(default)]
    pub listen: Vec<IpAddr>,
    /// The UDP port of signalling and packets.
    #[serde(default = "default_signalling_port")]
    pub signalling_port: u16,
    /// The UDP port of TLS legs.
    #[serde(default = "default_tls_port")]
    pub tls_port: u16,
}

impl ServerSettings {
    /// The directory of its database.
    pub fn state(&self) -> PathBuf {
        self.state.clone().unwrap_or_else(|| Path::new("/var/lib/ntm").join(self.name.as_str()))
    }

    pub(super) fn resolve(&mut self, directory: &Path) {
        self.certificates = directory.join(&self.certificates);
        self.state = self.state.take().map(|state| directory.join(state));
    }
}

/// `[host]`: what the process does besides its duty.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HostSettings {
    /// The DNS root servers; those of the public internet where none are given.
    pub root_servers: Vec<IpAddr>,
    /// Where `/metrics`, `/ready` and `/live` are served over HTTP; nowhere where nothing is given.
    pub health: Option<SocketAddr>,
    /// How log lines look.
    pub log: LogForm,
    /// Which log lines are written: a level, or a filter such as `info,ntmobile_actors=debug`.
    pub log_filter: String,
    /// The collector that traces and metrics are sent to by OTLP/HTTP; none where nothing is given.
    pub otlp: Option<String>,
    /// How often they are sent.
    pub otlp_every: TimeSpan,
    /// The file that traces and metrics are written to as OTLP/JSON lines, whether or not a collector gets them too; none
    /// where nothing is given.
    pub trace: Option<PathBuf>,
    /// Whether addresses of the loopback interface count as the host's: for networks within one host.
    pub loopback: bool,
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            root_servers: Vec::new(),
            health: None,
            log: LogForm::Pretty,
            log_filter: "info".to_owned(),
            otlp: None,
            otlp_every: secs(10),
            trace: None,
            loopback: false,
        }
    }
}

impl HostSettings {
    pub(super) fn resolve(&mut self, directory: &Path) {
        self.trace = self.trace.take().map(|trace| directory.join(trace));
    }

    /// Where the resolver begins.
    pub fn root_servers(&self) -> Vec<SocketAddr> {
        if self.root_servers.is_empty() {
            return root_hints();
        }
        self.root_servers.iter().map(|address| SocketAddr::new(*address, DNS_PORT)).collect()
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogForm {
    /// For people.
    #[default]
    Pretty,
    /// One JSON document in each line.
    Json,
}

/// Another server of the network, known by configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RemoteServer {
    /// Its name, which its certificate bears.
    pub name: Written<Fqdn>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The UDP port of signalling and packets.
    #[serde(default = "default_signalling_port")]
    pub signalling_port: u16,
    /// The UDP port of TLS legs.
    #[serde(default = "default_tls_port")]
    pub tls_port: u16,
    /// The TCP port on which an NS takes nodes' connections.
    #[serde(default = "default_notification_port")]
    pub notification_port: u16,
}

impl RemoteServer {
    /// One address of each family, with a port.
    pub fn at(&self, port: u16) -> DualStack {
        DualStack::of(&self.addresses, port)
    }
}

pub(super) fn beside_the_file() -> PathBuf {
    PathBuf::from(".")
}

pub(super) fn default_reserve() -> Size {
    Size(16 << 20)
}

pub(super) fn default_signalling_port() -> u16 {
    SIGNALLING_PORT
}

pub(super) fn default_tls_port() -> u16 {
    TLS_PORT
}

pub(super) fn default_notification_port() -> u16 {
    NOTIFICATION_PORT
}
