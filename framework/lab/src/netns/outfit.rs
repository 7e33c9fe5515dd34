//! What a lab's servers and nodes are given: files, certificates, accounts. Drawn anew for each lab, and gone with it.

use super::files::{Writer, certificate_role, config_name};
use super::plan::{Plan, PlannedNode, ServerKind};
use super::standing::{Standing, StandingError};
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use ntmobile_host::accounts::{self, AccountsError, Hidden, Order};
use ntmobile_host::authority::{self, AuthorityError, Wanted};
use ntmobile_host::files::{self, FileError, Present, Readers};
use ntmobile_host::settings::{AccountServerFile, LoadError, SettingsFile};
use ntmobile_net::clock::OsClock;
use ntmobile_net::entropy::SystemEntropy;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_wire::entropy::draw;
use ntmobile_wire::name::{Fqdn, NameError};
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// How long a lab's certificates hold: longer than anybody leaves one standing.
const LIFETIME: Duration = Duration::from_secs(30 * 86_400);
/// The authority's directory.
const AUTHORITY: &str = "ca";
/// The scenario as residents read it.
pub(super) const SCENARIO: &str = "scenario.toml";

/// Why somebody does not get what it needs.
#[derive(Debug, Error)]
pub enum OutfitError {
    /// The lab does not stand.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// A name is none.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A certificate is missing.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A file is missing.
    #[error(transparent)]
    File(#[from] FileError),
    /// The AS's file is wrong.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An account was not opened.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// How nodes take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Model {
    /// The applications link NTMobile in.
    #[default]
    Library,
    /// A virtual interface for whatever runs on the host.
    Tun,
}

impl Model {
    /// As the command line calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Tun => "tun",
        }
    }
}

/// What everybody has been given, and the accounts that are still to be opened.
pub(super) struct Outfit {
    directory: PathBuf,
    orders: Vec<Order>,
}

impl Outfit {
    /// Writes every file.
    pub(super) fn write(
        standing: &Standing,
        scenario: &Scenario,
        plan: &Plan,
        model: Model,
    ) -> Result<Self, OutfitError> {
        let directory = standing.name().directory();
        let now = OsClock.wall();
        let ca = directory.join(AUTHORITY);
        authority::init(&ca, 2 * LIFETIME, now, Present::Replace)?;
        let issue = |name: &str, role: CertificateRole| {
            let name = Fqdn::parse(name)?;
            let wanted = Wanted { name: &name, role, lifetime: LIFETIME };
            Ok::<_, OutfitError>(authority::issue(&ca, &wanted, &directory, now, Present::Replace)?)
        };
        let mut outfit = Self { directory: directory.clone(), orders: Vec::new() };
        outfit.put(SCENARIO, &scenario.to_toml())?;
        let writer = Writer { scenario, plan };
        for server in &plan.servers {
            outfit.put(&config_name(&server.label), &writer.server(server))?;
            if let Some(role) = certificate_role(server.kind) {
                issue(&server.full_name, role)?;
            }
        }
        for node in &plan.nodes {
            let resolver = match model {
                Model::Library => None,
                Model::Tun => {
                    // What `ip netns exec` puts in its place, and the node's interface changes.
                    standing.set_resolver(&node.label, &resolver_configuration(plan))?;
                    Some("/etc/resolv.conf")
                }
            };
            outfit.put(&config_name(&node.label), &writer.node(node, resolver))?;
            let fingerprint = match scenario.at_node(Kind::Auth, &node.label) {
                Some("public-key") => Some(issue(&node.full_name, CertificateRole::Node)?.fingerprint),
                _ => None,
            };
            outfit.account(node, fingerprint)?;
        }
        Ok(outfit)
    }

    /// Opens every account, at the AS that runs.
    pub(super) fn open_accounts(self, plan: &Plan) -> Result<(), OutfitError> {
        let Some(account_server) = plan.servers.iter().find(|server| server.kind == ServerKind::Account) else {
            return Ok(());
        };
        let file = AccountServerFile::load(&self.directory.join(config_name(&account_server.label)))?;
        ntmobile_host::node::run(async {
            for order in self.orders {
                accounts::order(&file, order).await?;
            }
            Ok::<_, OutfitError>(())
        })
    }

    fn account(&mut self, node: &PlannedNode, fingerprint: Option<[u8; 32]>) -> Result<(), OutfitError> {
        let domain = node.full_name.strip_prefix(&format!("{}.", node.label)).unwrap_or_default();
        let account = format!("{}@{domain}", node.label);
        let Some(fingerprint) = fingerprint else {
            let password: [u8; 16] = draw(&mut SystemEntropy);
            let password = hexadecimal(&password);
            self.put(&format!("{}.password", node.label), &password)?;
            self.orders.push(Order::Add { account, password: Some(Hidden(password)) });
            return Ok(());
        };
        self.orders.push(Order::Add { account: account.clone(), password: None });
        self.orders.push(Order::Key { account, fingerprint: hexadecimal(&fingerprint), bound: true });
        Ok(())
    }

    fn put(&self, name: &str, text: &str) -> Result<(), FileError> {
        files::write(&self.directory.join(name), text.as_bytes(), Readers::Owner, Present::Replace)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a host asks for names before its node comes.
fn resolver_configuration(plan: &Plan) -> String {
    let roots = plan.servers.iter().filter(|server| server.kind == ServerKind::Root);
    let servers = roots.flat_map(|server| &server.addresses).map(|address| format!("nameserver {address}\n"));
    servers.chain(["options timeout:2\n".to_owned()]).collect()
}
