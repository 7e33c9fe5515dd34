//! What a scenario must satisfy beyond its form: names that lead somewhere, plugins that exist, choices that go together.

use super::Scenario;
use super::event::{Action, TrafficKind};
use super::network::{Family, Network};
use super::plugin::Kind;
use super::problem::{Problem, ScenarioError};
use super::units::TimeSpan;
use ntmobile_settings::units::parse_prefix;
use ntmobile_settings::{Merged, join};
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

impl Scenario {
    /// Looks for everything that is wrong; a scenario that passes can be run.
    pub fn check(&self) -> Result<(), ScenarioError> {
        self.check_at(None)
    }

    /// The same, with the values that the scenario was read from, to say where they are written.
    pub(super) fn check_at(&self, source: Option<&Merged>) -> Result<(), ScenarioError> {
        let mut check = Check { scenario: self, source, problems: Vec::new() };
        check.world();
        check.hashing();
        check.plugins();
        check.domains();
        check.networks();
        check.nodes();
        check.events();
        check.traffic();
        ScenarioError::unless_empty(check.problems)
    }
}

struct Check<'s> {
    scenario: &'s Scenario,
    source: Option<&'s Merged>,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, path: &[&str], problem: Problem) {
        let place = self.source.map(|source| source.place_of(path));
        self.problems.push(problem.at(place));
    }

    fn wrong(&mut self, path: &[&str], what: impl Into<String>) {
        self.report(path, Problem::new(format!("{}: {}", join(path), what.into())));
    }

    fn reference(&mut self, path: &[&str], noun: &str, name: &str, known: Vec<&str>) {
        if known.contains(&name) {
            return;
        }
        let path_text = join(path);
        let problem = if name.is_empty() {
            Problem::new(format!("{path_text}: names no {noun}"))
        } else {
            Problem::unknown(format!("unknown {noun} {name:?} for {path_text}"), name, known)
        };
        self.report(path, problem);
    }

    fn world(&mut self) {
        let world = self.scenario.world;
        if world.duration == TimeSpan::ZERO {
            self.wrong(&["world", "duration"], "nothing happens in no time");
        }
        // Above it TOML cannot write the number, and the manifest could not be read back.
        if i64::try_from(world.seed).is_err() {
            self.wrong(&["world", "seed"], format!("a seed is at most {}", i64::MAX));
        }
        // 0 means "unset" in traces, which count nanoseconds in 64 bits.
        if !(1..16_725_225_600).contains(&world.epoch) {
            self.wrong(&["world", "epoch"], "is seconds since 1970, above 0 and before the year 2500");
        }
    }

    fn hashing(&mut self) {
        if let Err(error) = self.scenario.account_server.hashing.unwrap_or_default().cost() {
            self.wrong(&["account-server", "hashing", "memory"], error.to_string());
        }
    }

    fn plugins(&mut self) {
        let scenario = self.scenario;
        self.choices(&["plugins"], scenario.plugins.choices());
        self.choices(&["account-server"], scenario.account_server.choices());
        for (name, domain) in &scenario.domain {
            self.choices(&["domain", name], domain.choices());
        }
        for (name, node) in &scenario.node {
            self.choices(&["node", name], node.choices());
        }
    }

    fn choices<'c>(&mut self, path: &[&str], choices: impl Iterator<Item = (Kind, &'c str)>) {
        for (kind, name) in choices {
            let known = kind.known().iter().map(|(name, _)| *name);
            if !known.clone().any(|known| known == name) {
                let problem =
                    Problem::unknown(format!("unknown {} {name:?} for {}", kind.noun(), kind.key()), name, known);
                self.report(&[path, &[kind.key()]].concat(), problem);
            }
        }
    }

    fn domains(&mut self) {
        let scenario = self.scenario;
        if scenario.domain.is_empty() {
            self.wrong(&["domain"], "a world needs a domain, such as [domain.\"u1.example\"]");
        }
        let mut prefixes = BTreeSet::new();
        for (name, domain) in &scenario.domain {
            let path = ["domain", name.as_str()];
            match Fqdn::parse(name) {
                Err(error) => self.wrong(&path, error.to_string()),
                Ok(parsed) if parsed.as_str() != name => self.wrong(&path, format!("write it as {parsed}")),
                Ok(parsed) => {
                    if parsed.parent().is_none() {
                        self.wrong(&path, "a domain lies below a top-level domain, as u1.example does");
                    }
                    let above = scenario.domain.keys().filter(|other| *other != name);
                    for other in above.filter_map(|other| Fqdn::parse(other).ok()) {
                        if parsed.is_within(&other) {
                            self.wrong(&path, format!("lies within {other}; zones of different DCs are side by side"));
                        }
                    }
                }
            }
            if let Some(prefix) = &domain.virtual_ipv4
                && parse_prefix::<Ipv4Addr>(prefix).is_none_or(|(_, length)| !(8..=28).contains(&length))
            {
                self.wrong(&["domain", name, "virtual-ipv4"], format!("{prefix:?} is no IPv4 prefix of 8 to 28 bits"));
            }
            if let Some(prefix) = &domain.virtual_ipv6 {
                let path = ["domain", name, "virtual-ipv6"];
                match parse_prefix::<Ipv6Addr>(prefix) {
                    Some((address, 64)) if address.octets()[0] == 0xfd => {
                        if !prefixes.insert(address) {
                            self.wrong(&path, format!("{prefix:?} belongs to another domain too; it is the identity"));
                        }
                    }
                    _ => self.wrong(&path, format!("{prefix:?} is no /64 of fd00::/8")),
                }
            }
            if domain.relays == 0 && scenario.at_domain(Kind::Path, name) == Some("always-relay") {
                self.wrong(&path, "the path strategy \"always-relay\" needs relays = 1 or more");
            }
        }
    }

    fn networks(&mut self) {
        let scenario = self.scenario;
        for (name, network) in &scenario.network {
            let path = ["network", name.as_str()];
            // The simulated internet has one namespace for all its nodes.
            if name == "internet" || name.contains('.') || name.is_empty() {
                self.wrong(&path, "a network's name is one word, and not \"internet\"");
            }
            let families = scenario.families(name);
            if families.iter().collect::<BTreeSet<_>>().len() != families.len() {
                self.wrong(&["network", name, "families"], "names a family twice");
            }
            if let Some(nat) = &network.nat {
                if !families.contains(&Family::Ipv4) {
                    self.wrong(&["network", name, "nat"], "a NAT translates IPv4, which this network does not have");
                }
                if nat.expiry == TimeSpan::ZERO {
                    self.wrong(&["network", name, "nat", "expiry"], "a mapping lasts longer than no time");
                }
                if !(1..=16).contains(&nat.addresses) {
                    self.wrong(&["network", name, "nat", "addresses"], "a NAT has 1 to 16 outer addresses");
                }
            }
            if let Some(mtu) = network.link.mtu {
                let least = if families.contains(&Family::Ipv6) { 1_280 } else { 576 };
                if !(least..=65_535).contains(&mtu.0) {
                    self.wrong(&["network", name, "link", "mtu"], format!("is {least} B to 65535 B here"));
                }
            }
            if network.link.queue.is_some() && network.link.rate.is_none() {
                self.wrong(&["network", name, "link", "queue"], "nothing waits on a link without a rate");
            }
            if let Some(behind) = &network.behind {
                self.reference(&["network", name, "behind"], "network", behind, keys(&scenario.network));
                if scenario.network.contains_key(behind)
                    && let Some(missing) = families.iter().find(|family| !scenario.families(behind).contains(family))
                {
                    self.wrong(&path, format!("gives out {missing:?}, which {behind} does not carry"));
                }
                if self.is_circular(network) {
                    self.wrong(&["network", name, "behind"], "leads in a circle and never to the internet");
                }
            }
        }
    }

    fn is_circular(&self, network: &Network) -> bool {
        let networks = &self.scenario.network;
        let outwards = std::iter::successors(Some(network), |inner| networks.get(inner.behind.as_ref()?));
        outwards.take(networks.len() + 2).count() > networks.len()
    }

    fn nodes(&mut self) {
        let scenario = self.scenario;
        for (name, node) in &scenario.node {
            let path = ["node", name.as_str()];
            self.reference(&["node", name, "domain"], "domain", &node.domain, keys(&scenario.domain));
            if node.network.is_empty() == node.interfaces.is_empty() {
                self.wrong(&path, "is attached by network = \"…\" or by interfaces = [\"…\", \"…\"], one of the two");
            }
            for (index, network) in node.interfaces.iter().enumerate() {
                let index = format!("[{index}]");
                self.reference(&["node", name, "interfaces", &index], "network", network, keys(&scenario.network));
            }
            if !node.network.is_empty() {
                self.reference(&["node", name, "network"], "network", &node.network, keys(&scenario.network));
            }
            if let Some(start) = node.start.filter(|start| *start >= scenario.world.duration) {
                self.wrong(&["node", name, "start"], format!("{start} is after the run has ended"));
            }
            let Some(domain) = scenario.domain.get(&node.domain) else { continue };
            let full_name = format!("{name}.{}", node.domain);
            match Fqdn::parse(&full_name) {
                Ok(parsed)
                    if parsed.as_str() == full_name && parsed.parent().is_some_and(|p| p.as_str() == node.domain) => {}
                _ => self.wrong(&path, "a node's name is one lower-case label of letters, digits and hyphens"),
            }
            if scenario.servers().contains(&full_name) {
                self.wrong(&path, "is the name of one of the domain's servers");
            }
            if domain.notification_servers == 0 && scenario.at_node(Kind::Reachability, name) == Some("tcp-ns") {
                let what =
                    format!("the reachability \"tcp-ns\" needs notification-servers = 1 or more in {}", node.domain);
                self.wrong(&path, what);
            }
        }
    }

    fn events(&mut self) {
        let scenario = self.scenario;
        let servers = scenario.servers();
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        for (index, event) in scenario.event.iter().enumerate() {
            let index = format!("[{index}]");
            if event.at > scenario.world.duration {
                self.wrong(&["event", &index, "at"], format!("{} is after the run has ended", event.at));
            }
            match &event.action {
                Action::Move(action) => {
                    self.reference(&["event", &index, "move", "node"], "node", &action.node, keys(&scenario.node));
                    self.reference(&["event", &index, "move", "to"], "network", &action.to, keys(&scenario.network));
                }
                Action::Fail(name) => {
                    self.reference(&["event", &index, "fail", "server"], "server", &name.server, servers.clone());
                }
                Action::Restart(name) => {
                    self.reference(&["event", &index, "restart", "server"], "server", &name.server, servers.clone());
                }
                Action::DiskFull(name) => {
                    self.disk(&["event", &index, "disk-full", "server"], &name.server, &servers);
                }
                Action::DiskFree(name) => {
                    self.disk(&["event", &index, "disk-free", "server"], &name.server, &servers);
                }
                Action::LinkDown(name) => {
                    let path = ["event", index.as_str(), "link-down", "network"];
                    self.reference(&path, "network", &name.network, keys(&scenario.network));
                }
                Action::LinkUp(name) => {
                    let path = ["event", index.as_str(), "link-up", "network"];
                    self.reference(&path, "network", &name.network, keys(&scenario.network));
                }
            }
        }
    }

    /// The disk of a server: it has one if it does not store in memory.
    fn disk(&mut self, path: &[&str], server: &str, servers: &[&str]) {
        self.reference(path, "server", server, servers.to_vec());
        let storage = match server.split_once('.') {
            None => Some(self.scenario.at_account_server(Kind::Storage)),
            Some((_, domain)) => self.scenario.at_domain(Kind::Storage, domain),
        };
        if servers.contains(&server) && storage != Some("sled") {
            self.wrong(path, format!("{server} stores in memory and has no disk; choose its storage \"sled\""));
        }
    }

    fn traffic(&mut self) {
        let scenario = self.scenario;
        for (index, traffic) in scenario.traffic.iter().enumerate() {
            let index = format!("[{index}]");
            self.reference(&["traffic", &index, "from"], "node", &traffic.from, keys(&scenario.node));
            self.reference(&["traffic", &index, "to"], "node", &traffic.to, keys(&scenario.node));
            if traffic.from == traffic.to {
                self.wrong(&["traffic", &index], "goes from one node to another");
            }
            if traffic.start >= scenario.world.duration {
                self.wrong(&["traffic", &index, "start"], format!("{} is after the run has ended", traffic.start));
            }
            match &traffic.kind {
                TrafficKind::Udp(udp) => {
                    if udp.every == TimeSpan::ZERO {
                        self.wrong(&["traffic", &index, "kind", "udp", "every"], "a pace is longer than no time");
                    }
                    if udp.count.is_some() && udp.r#for.is_some() {
                        self.wrong(&["traffic", &index, "kind", "udp"], "ends by count or by for, not both");
                    }
                    // A header of the measurement itself needs 16; 1,200 fits every path without fragments.
                    if !(16..=1_200).contains(&udp.bytes.0) {
                        self.wrong(
                            &["traffic", &index, "kind", "udp", "bytes"],
                            "a datagram carries 16 B to 1200 B here",
                        );
                    }
                }
                TrafficKind::Tcp(tcp) if tcp.bytes.0 == 0 => {
                    self.wrong(&["traffic", &index, "kind", "tcp", "bytes"], "a transfer has at least 1 B");
                }
                TrafficKind::Ping(ping) if ping.count == 0 || ping.every == TimeSpan::ZERO => {
                    self.wrong(&["traffic", &index, "kind", "ping"], "count and every are above 0");
                }
                TrafficKind::Tcp(_) | TrafficKind::Ping(_) => {}
            }
        }
    }
}

fn keys<V>(map: &std::collections::BTreeMap<String, V>) -> Vec<&str> {
    map.keys().map(String::as_str).collect()
}
