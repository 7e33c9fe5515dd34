//! Who knows what already when a conversation begins, from the scenario and the conversations before it: what decides how
//! long its set-up must at least take.

use super::bound::{DnsKnowledge, Negotiation, OtherCoordinator, Sender, Way};
use super::topology::{NowhereError, ROOT_SERVER, Standpoint, Topology, top_level_server};
use crate::record::Path;
use crate::scenario::Scenario;
use crate::scenario::event::Action;
use crate::scenario::network::Family;
use crate::scenario::plugin::Kind;
use ntmobile_proto::time::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a DC's own records are kept by those who asked for them: services, and the zone's own word on its name server,
/// which replaces the delegation.
const ZONE_TTL: Duration = Duration::from_secs(300);

/// How long a tunnel is certainly held.
const HELD: Duration = Duration::from_secs(300);

/// After a move tunnels are built anew; what a conversation that begins then waits for is not only its own.
const UNSETTLED: Duration = Duration::from_secs(10);

/// One conversation as far as its set-up goes.
#[derive(Clone, Debug)]
pub(super) struct SetUp<'a> {
    /// Who starts, where it is then.
    pub(super) mn: &'a Standpoint,
    /// Who is called, where it is then.
    pub(super) cn: &'a Standpoint,
    /// When.
    pub(super) start: Instant,
    /// Which way it went.
    pub(super) path: &'a Path,
}

/// What DCs have found out in DNS, and when.
#[derive(Debug, Default)]
struct Found {
    top_level: BTreeMap<(String, String), Instant>,
    zones: BTreeMap<(String, String), Instant>,
}

/// What is known by whom.
pub(super) struct Ledger<'s> {
    scenario: &'s Scenario,
    topology: &'s Topology,
    found: Found,
    /// Pairs of servers that share a key.
    keys: BTreeSet<(String, String)>,
    /// When the tunnel between two nodes stood.
    tunnels: BTreeMap<(String, String), Instant>,
}

impl<'s> Ledger<'s> {
    /// Nobody knows anything but what logins have taught.
    pub(super) fn new(scenario: &'s Scenario, topology: &'s Topology) -> Self {
        let mut found = Found::default();
        for (name, node) in &scenario.node {
            // To ask the AS, a DC has looked for it below its own top-level domain.
            if scenario.at_node(Kind::Login, name) == Some("via-dc") {
                let top_level = top_level_of(&scenario.account_server_name()).to_owned();
                let joined = Instant(node.start.unwrap_or_default().as_nanos());
                let known = found.top_level.entry((format!("dc.{}", node.domain), top_level)).or_insert(joined);
                *known = joined.min(*known);
            }
        }
        Self { scenario, topology, found, keys: BTreeSet::new(), tunnels: BTreeMap::new() }
    }

    /// The least that the next conversation's set-up can take; conversations are asked for in order of their start.
    /// `None` where something else than its own sequence plays a part.
    pub(super) fn bound(&mut self, set_up: &SetUp<'_>) -> Option<Duration> {
        if self.is_disturbed(set_up) {
            return None;
        }
        let (mn, cn) = (set_up.mn.host.as_str(), set_up.cn.host.as_str());
        let pair = pair(mn, cn);
        if let Some(stood) = self.tunnels.get(&pair) {
            // One tunnel serves all; who comes while it is being built waits for it.
            return (set_up.start.since(*stood) < HELD).then(|| stood.since(set_up.start));
        }
        let bound = self.of_negotiation(set_up).ok()?;
        self.tunnels.insert(pair, set_up.start + bound);
        Some(bound)
    }

    fn of_negotiation(&mut self, set_up: &SetUp<'_>) -> Result<Duration, NowhereError> {
        let (mn, cn) = (set_up.mn.host.as_str(), set_up.cn.host.as_str());
        let (mn_domain, cn_domain) = (domain_of(mn), domain_of(cn));
        let (coordinator, other) = (format!("dc.{mn_domain}"), format!("dc.{cn_domain}"));
        let top_level = top_level_server(top_level_of(cn_domain));
        let is_other = mn_domain != cn_domain;
        let dns = if is_other { self.look_up(&coordinator, cn_domain, set_up.start) } else { DnsKnowledge::Warm };
        let shares_key = !is_other || !self.keys.insert(pair(&coordinator, &other));
        let relay = match set_up.path {
            Path::Direct => None,
            Path::Relayed(relay) => Some(relay.as_str()),
        };
        let relay_is_lent = is_other && relay.is_some_and(|relay| domain_of(relay) == cn_domain);
        let director = if relay_is_lent { &other } else { &coordinator };
        let relay_shares_key = relay.is_none_or(|relay| !self.keys.insert(pair(director, relay)));
        let handshake = self.scenario.at_domain(Kind::RelayHandshake, mn_domain);
        let way = match relay {
            None => Way::Direct(self.sender(set_up)),
            Some(relay) if handshake == Some("rendezvous") => Way::Rendezvous(relay),
            Some(relay) => Way::Forwarded(relay),
        };
        let sleeps = self.scenario.at_node(Kind::Reachability, host_of(cn)) == Some("tcp-ns");
        let notification = format!("ns1.{cn_domain}");
        let negotiation = Negotiation {
            mn,
            coordinator: &coordinator,
            cn,
            other: is_other.then_some(OtherCoordinator {
                name: &other,
                root: ROOT_SERVER,
                top_level: &top_level,
                dns,
                shares_key,
            }),
            notification: sleeps.then_some(&notification),
            way,
            relay_is_lent,
            relay_shares_key,
        };
        negotiation.bound(|from, to| {
            let from = set_up.standpoint_of(from, self.topology)?;
            let to = set_up.standpoint_of(to, self.topology)?;
            from.one_way(&to).ok_or_else(|| NowhereError(to.host.clone()))
        })
    }

    /// What a DC knows of a domain now, and that it knows everything afterwards.
    fn look_up(&mut self, coordinator: &str, domain: &str, now: Instant) -> DnsKnowledge {
        let ttl = self.scenario.dns.ttl.duration();
        let top_level = (coordinator.to_owned(), top_level_of(domain).to_owned());
        let zone = (coordinator.to_owned(), domain.to_owned());
        let holds = |since: Option<&Instant>, ttl| since.is_some_and(|since| now.since(*since) < ttl);
        if holds(self.found.zones.get(&zone), ZONE_TTL) {
            return DnsKnowledge::Warm;
        }
        self.found.zones.insert(zone, now);
        if holds(self.found.top_level.get(&top_level), ttl) {
            return DnsKnowledge::TopLevel;
        }
        self.found.top_level.insert(top_level, now);
        DnsKnowledge::Cold
    }

    /// Which end sends Tunnel Request on a direct path: the one behind a NAT, if only one is.
    fn sender(&self, set_up: &SetUp<'_>) -> Sender {
        let gives = |standpoint: &Standpoint, family| self.scenario.families(&standpoint.network).contains(&family);
        let (mn, cn) = (set_up.mn, set_up.cn);
        if gives(mn, Family::Ipv6) && gives(cn, Family::Ipv6) {
            return Sender::Mn;
        }
        let is_behind_nat = |standpoint: &Standpoint| self.scenario.is_behind_nat(&standpoint.network);
        if is_behind_nat(cn) && !is_behind_nat(mn) { Sender::Cn } else { Sender::Mn }
    }

    /// Whether failures or moves play a part.
    fn is_disturbed(&self, set_up: &SetUp<'_>) -> bool {
        let ends = [host_of(&set_up.mn.host), host_of(&set_up.cn.host)];
        let several = ends.iter().any(|end| self.scenario.node.get(*end).is_none_or(|node| node.interfaces.len() > 1));
        several
            || self.scenario.event.iter().any(|event| {
                let at = Instant(event.at.as_nanos());
                match &event.action {
                    Action::Move(action) => {
                        ends.contains(&action.node.as_str()) && at <= set_up.start && set_up.start.since(at) < UNSETTLED
                    }
                    _ => at <= set_up.start,
                }
            })
    }
}

impl SetUp<'_> {
    /// Where a host is when the conversation begins: only its ends can have moved since.
    fn standpoint_of(&self, host: &str, topology: &Topology) -> Result<Standpoint, NowhereError> {
        [self.mn, self.cn]
            .into_iter()
            .find(|standpoint| standpoint.host == host)
            .map_or_else(|| topology.standpoint(host), |standpoint| Ok(standpoint.clone()))
    }
}

fn pair(one: &str, other: &str) -> (String, String) {
    if one <= other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

fn host_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(host, _)| host)
}

fn domain_of(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, domain)| domain)
}

fn top_level_of(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, top_level)| top_level)
}
