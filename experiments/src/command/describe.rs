//! `ntm describe`: what is in a scenario, every default spelled out.

use crate::cli::DescribeArguments;
use crate::failure::Failure;
use crate::scenario::{Found, find};
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::event::{Action, Traffic, TrafficKind};
use ntmobile_lab::scenario::network::{Family, Firewall, Nat, Network};
use ntmobile_lab::scenario::plugin::Kind;
use std::io::{Write, stdout};

/// Describes it.
pub fn describe(arguments: &DescribeArguments, terminal: &Terminal) -> Result<(), Failure> {
    let found = find(&arguments.scenario)?;
    let mut out = stdout().lock();
    if arguments.toml {
        let text = if found.overridden { found.scenario.to_toml() } else { found.text };
        write!(out, "{text}")?;
        return Ok(());
    }
    write_all(&found, terminal, &mut out)
}

fn write_all(found: &Found, terminal: &Terminal, out: &mut dyn Write) -> Result<(), Failure> {
    let scenario = &found.scenario;
    writeln!(out, "{}  {}", terminal.bold(&found.name), scenario.summary)?;
    writeln!(out, "seed {}, {} of virtual time", scenario.world.seed, scenario.world.duration)?;
    for (title, table) in [
        ("Domains", domains(scenario)),
        ("Networks", networks(scenario)),
        ("Nodes", nodes(scenario)),
        ("Conversations", conversations(scenario)),
        ("Events", events(scenario)),
    ] {
        writeln!(out, "\n{}", terminal.bold(title))?;
        table.write(out)?;
    }
    writeln!(out, "\n{}", terminal.bold("Plugins"))?;
    for kind in Kind::ALL {
        let known: Vec<&str> = kind.known().iter().map(|(name, _)| *name).collect();
        writeln!(out, "  {:<16}{}", kind.key(), terminal.faint(&known.join(" · ")))?;
    }
    Ok(())
}

fn left(text: impl Into<String>) -> (String, bool) {
    (text.into(), false)
}

fn domains(scenario: &Scenario) -> Table {
    let mut table = Table::default();
    for (name, domain) in &scenario.domain {
        let at = |kind| scenario.at_domain(kind, name).unwrap_or_default().to_owned();
        table.row([
            left(name),
            left(format!("1 DC · {} RS · {} NS", domain.relays, domain.notification_servers)),
            left(format!("path {}", at(Kind::Path))),
            left(format!("relay-handshake {}", at(Kind::RelayHandshake))),
            left(format!("storage {}", at(Kind::Storage))),
        ]);
    }
    table
}

fn networks(scenario: &Scenario) -> Table {
    let mut table = Table::default();
    for (name, network) in &scenario.network {
        let behind = network.behind.as_ref().map_or("the internet", String::as_str);
        let families: Vec<&str> = scenario.families(name).into_iter().map(family_name).collect();
        table.row([
            left(name),
            left(families.join("+")),
            left(format!("behind {behind}")),
            left(link(network)),
            left(border(network)),
        ]);
    }
    table
}

fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

fn link(network: &Network) -> String {
    let link = &network.link;
    let mut parts = vec![link.delay.to_string()];
    parts.extend((link.jitter.as_nanos() > 0).then(|| format!("± {}", link.jitter)));
    parts.extend((link.loss.probability() > 0.0).then(|| format!("{} lost", link.loss)));
    parts.extend(link.rate.map(|rate| rate.to_string()));
    parts.join(", ")
}

fn border(network: &Network) -> String {
    let mut parts = Vec::new();
    parts.push(network.nat.as_ref().map_or("no NAT".to_owned(), nat));
    match network.firewall {
        Firewall::Open => {}
        Firewall::Stateful => parts.push("firewall lets answers in only".to_owned()),
        Firewall::BlocksUdp => parts.push("firewall blocks UDP".to_owned()),
    }
    parts.join(", ")
}

fn nat(nat: &Nat) -> String {
    let hairpin = if nat.hairpin { ", hairpin" } else { "" };
    format!("NAT: mapping {}, filtering {}, {}{hairpin}", nat.mapping, nat.filtering, nat.expiry)
}

fn nodes(scenario: &Scenario) -> Table {
    let mut table = Table::default();
    for (name, node) in &scenario.node {
        let networks: Vec<&str> = node.networks().collect();
        let at = |kind| left(scenario.at_node(kind, name).unwrap_or_default());
        table.row([
            left(format!("{name}.{}", node.domain)),
            left(format!("at {}", networks.join(", "))),
            at(Kind::Auth),
            at(Kind::Login),
            at(Kind::Reachability),
            at(Kind::Movement),
            at(Kind::Handover),
            at(Kind::Agreement),
            at(Kind::Protection),
            at(Kind::Suite),
        ]);
    }
    table
}

fn conversations(scenario: &Scenario) -> Table {
    let mut table = Table::default();
    for traffic in &scenario.traffic {
        table.row([
            left(format!("at {}", traffic.start)),
            left(format!("{} → {}", traffic.from, traffic.to)),
            left(sent(traffic)),
        ]);
    }
    table
}

fn sent(traffic: &Traffic) -> String {
    match &traffic.kind {
        TrafficKind::Udp(udp) => {
            let end = match (udp.count, udp.r#for) {
                (Some(count), _) => format!(", {count} times"),
                (None, Some(span)) => format!(" for {span}"),
                (None, None) => " until the end".to_owned(),
            };
            format!("UDP, {} every {}{end}", udp.bytes, udp.every)
        }
        TrafficKind::Tcp(tcp) => format!("TCP, {}", tcp.bytes),
        TrafficKind::Ping(ping) => format!("{} round trips, one every {}", ping.count, ping.every),
    }
}

fn events(scenario: &Scenario) -> Table {
    let mut table = Table::default();
    for event in &scenario.event {
        let what = match &event.action {
            Action::Move(action) if action.offline.as_nanos() > 0 => {
                format!("{} moves to {}, offline for {}", action.node, action.to, action.offline)
            }
            Action::Move(action) => format!("{} moves to {}", action.node, action.to),
            Action::Fail(name) => format!("{} fails", name.server),
            Action::Restart(name) => format!("{} starts again", name.server),
            Action::DiskFull(name) => format!("{}'s disk is full", name.server),
            Action::DiskFree(name) => format!("{}'s disk has room again", name.server),
            Action::LinkDown(name) => format!("{} loses its link", name.network),
            Action::LinkUp(name) => format!("{} has its link back", name.network),
        };
        table.row([left(format!("at {}", event.at)), left(what)]);
    }
    table
}
