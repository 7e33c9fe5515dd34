//! The files of a lab's servers and nodes: what the scenario says, as `ntm serve`, `ntm up` and a library's application read it.

use super::plan::{Plan, PlannedNode, Server, ServerKind};
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use ntmobile_proto::certificate::CertificateRole;
use std::fmt::Write as _;
use std::net::IpAddr;

/// How servers' and nodes' traces are written: soon, so that one that is killed has told nearly everything.
const TRACE_EVERY: &str = "500 ms";
/// What the root's own server is called inside DNS.
const ROOT_NAME: &str = "a.root-servers.net";

/// What is asked of a server or node, as the name of its files.
pub(super) fn config_name(label: &str) -> String {
    format!("{label}.toml")
}

/// Where a process writes its trace.
pub(super) fn trace_name(label: &str, life: usize) -> String {
    format!("{label}.{life}.otlp.jsonl")
}

/// The part that a server's certificate is for; none where it needs no certificate.
pub(super) fn certificate_role(kind: ServerKind) -> Option<CertificateRole> {
    Some(match kind {
        ServerKind::Root | ServerKind::TopLevel => return None,
        ServerKind::Account => CertificateRole::AccountServer,
        ServerKind::Coordinator => CertificateRole::DirectionCoordinator,
        ServerKind::Relay => CertificateRole::RelayServer,
        ServerKind::Notification => CertificateRole::NotificationServer,
    })
}

/// Writes the files of one plan.
pub(super) struct Writer<'p> {
    pub(super) scenario: &'p Scenario,
    pub(super) plan: &'p Plan,
}

impl Writer<'_> {
    /// A server's file.
    pub(super) fn server(&self, server: &Server) -> String {
        let mut text = String::new();
        match server.kind {
            ServerKind::Root => self.root(&mut text),
            ServerKind::TopLevel => self.top_level(server, &mut text),
            ServerKind::Account => {
                server_table(server, &mut text);
                let hashing = self.scenario.account_server.hashing.unwrap_or_default();
                line(&mut text, "\n[accounts]");
                line(&mut text, &format!("hashing-memory = \"{}\"", hashing.memory));
                line(&mut text, &format!("hashing-passes = {}", hashing.passes));
            }
            ServerKind::Coordinator => self.coordinator(server, &mut text),
            ServerKind::Relay | ServerKind::Notification => {
                server_table(server, &mut text);
                let duty = if server.kind == ServerKind::Relay { "relay" } else { "notification" };
                let domain = domain_of(&server.full_name);
                line(&mut text, &format!("\n[{duty}]\ncoordinators = [\"dc.{domain}\"]"));
            }
        }
        self.host_table(&mut text);
        text
    }

    /// A node's file.
    pub(super) fn node(&self, node: &PlannedNode, resolver: Option<&str>) -> String {
        let scenario = self.scenario;
        let mut text = String::from("[node]\n");
        let domain = domain_of(&node.full_name);
        line(&mut text, &format!("account = \"{}@{domain}\"", node.label));
        line(&mut text, &format!("account-server = \"{}\"", scenario.account_server_name()));
        match scenario.at_node(Kind::Auth, &node.label) {
            Some("public-key") => line(&mut text, "authentication = \"public-key\""),
            _ => line(&mut text, &format!("password-file = \"{}.password\"", node.label)),
        }
        line(&mut text, "\n[plugins]");
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_of_nodes() && *kind != Kind::Auth);
        for kind in kinds {
            if let Some(name) = scenario.at_node(kind, &node.label) {
                line(&mut text, &format!("{} = \"{name}\"", kind.key()));
            }
        }
        if let Some(resolver) = resolver {
            line(&mut text, &format!("\n[tun]\nrun-directory = \"run-{}\"\nresolv-conf = \"{resolver}\"", node.label));
        }
        self.host_table(&mut text);
        text
    }

    fn root(&self, text: &mut String) {
        line(text, &format!("[names]\nserver = \"{ROOT_NAME}\"\nttl = \"{}\"", self.scenario.dns.ttl));
        for server in self.plan.servers.iter().filter(|server| server.kind == ServerKind::TopLevel) {
            let domain = top_level_of(server);
            delegation(text, domain, &format!("ns.{domain}"), &server.addresses);
        }
    }

    fn top_level(&self, server: &Server, text: &mut String) {
        let domain = top_level_of(server);
        let ttl = self.scenario.dns.ttl;
        line(text, &format!("[names]\nserver = \"ns.{domain}\"\nzone = \"{domain}\"\nttl = \"{ttl}\""));
        let within = |name: &str| name.ends_with(&format!(".{domain}"));
        for other in &self.plan.servers {
            match other.kind {
                ServerKind::Account if within(&other.full_name) => {
                    line(text, &format!("\n[[entry]]\nname = \"{}\"", other.full_name));
                    line(text, &format!("addresses = {}", list(&other.addresses)));
                }
                ServerKind::Coordinator if within(&other.full_name) => {
                    delegation(text, domain_of(&other.full_name), &other.full_name, &other.addresses);
                }
                _ => {}
            }
        }
    }

    fn coordinator(&self, server: &Server, text: &mut String) {
        server_table(server, text);
        let domain = domain_of(&server.full_name);
        line(text, &format!("\n[domain]\nname = \"{domain}\""));
        let table = self.scenario.domain.get(domain);
        if let Some(prefix) = table.and_then(|table| table.virtual_ipv4.as_deref()) {
            line(text, &format!("virtual-ipv4 = \"{prefix}\""));
        }
        if let Some(prefix) = table.and_then(|table| table.virtual_ipv6.as_deref()) {
            line(text, &format!("virtual-ipv6 = \"{prefix}\""));
        }
        let of_domain = |other: &&Server| domain_of(&other.full_name) == domain;
        for other in self.plan.servers.iter().filter(|other| other.kind == ServerKind::Account) {
            line(text, &format!("\n[account-server]\nname = \"{}\"", other.full_name));
            line(text, &format!("addresses = {}", list(&other.addresses)));
        }
        for other in self.plan.servers.iter().filter(of_domain) {
            let table = match other.kind {
                ServerKind::Relay => "relay",
                ServerKind::Notification => "notification-server",
                _ => continue,
            };
            line(text, &format!("\n[[{table}]]\nname = \"{}\"", other.full_name));
            line(text, &format!("addresses = {}", list(&other.addresses)));
        }
        line(text, "\n[plugins]");
        for kind in [Kind::Path, Kind::RelayHandshake] {
            if let Some(name) = self.scenario.at_domain(kind, domain) {
                line(text, &format!("{} = \"{name}\"", kind.key()));
            }
        }
    }

    /// The host that a process runs on. Its trace's file is in the environment: each of its lives writes its own.
    fn host_table(&self, text: &mut String) {
        let roots = self.plan.servers.iter().filter(|server| server.kind == ServerKind::Root);
        let roots: Vec<IpAddr> = roots.flat_map(|server| server.addresses.iter().copied()).collect();
        line(text, &format!("\n[host]\nroot-servers = {}", list(&roots)));
        line(text, &format!("log = \"json\"\nlog-filter = \"info\"\notlp-every = \"{TRACE_EVERY}\""));
    }
}

fn server_table(server: &Server, text: &mut String) {
    line(text, &format!("[server]\nname = \"{}\"\nstate = \"state-{}\"", server.full_name, server.label));
    // Nothing else fills the disk, and the database goes with the lab.
    line(text, &format!("reserve = \"64 KiB\"\naddresses = {}", list(&server.addresses)));
}

fn delegation(text: &mut String, domain: &str, server: &str, addresses: &[IpAddr]) {
    line(text, &format!("\n[[domain]]\nname = \"{domain}\"\nserver = \"{server}\"\naddresses = {}", list(addresses)));
}

fn list(addresses: &[IpAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a string takes everything");
}

fn domain_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, domain)| domain)
}

fn top_level_of(server: &Server) -> &str {
    server.label.split_once('.').map_or("", |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::plan::Translators;
    use crate::scenario::builtin::BUILTIN;
    use ntmobile_host::settings::{
        AccountServerFile, CoordinatorFile, NamesFile, NodeFile, NotificationServerFile, RelayServerFile, SettingsFile,
    };

    fn read<F: SettingsFile>(text: &str) -> F {
        F::read("x.toml", text, []).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn every_file_is_one_that_the_servers_and_nodes_read() {
        let scenario = BUILTIN[0].scenario().expect("a sound scenario");
        let plan = Plan::of(&scenario, Translators::Kernel).expect("it can be built");
        let writer = Writer { scenario: &scenario, plan: &plan };
        for server in &plan.servers {
            let text = writer.server(server);
            match server.kind {
                ServerKind::Root | ServerKind::TopLevel => drop(read::<NamesFile>(&text)),
                ServerKind::Account => drop(read::<AccountServerFile>(&text)),
                ServerKind::Relay => drop(read::<RelayServerFile>(&text)),
                ServerKind::Notification => drop(read::<NotificationServerFile>(&text)),
                ServerKind::Coordinator => {
                    let file = read::<CoordinatorFile>(&text);
                    let is_second = server.label == "dc.u2.example";
                    assert_eq!(file.plugins.relay_handshake, if is_second { "rendezvous" } else { "forwarded" });
                    assert_eq!((file.relay.len(), file.notification_server.len()), (1, usize::from(!is_second)));
                }
            }
        }
        for node in &plan.nodes {
            let file = read::<NodeFile>(&writer.node(node, Some("/etc/netns/x/resolv.conf")));
            assert_eq!(file.node.account.0.node().as_str(), node.full_name);
            assert_eq!(file.plugins.login, if node.full_name.ends_with("u2.example") { "via-dc" } else { "via-as" });
        }
    }
}
