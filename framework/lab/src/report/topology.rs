//! The world drawn: servers above the core of the internet, access networks with their NATs below, nodes in them, and
//! dashed lines for those who move.

use super::data::{Network, Topology};
use super::markup::{Markup, text};
use super::numbers::time;
use std::collections::BTreeMap;

/// Beyond these a drawing helps nobody.
const MOST_NETWORKS: usize = 24;
const MOST_SITES: usize = 12;
/// How many nodes of one network are drawn by name.
const MOST_NODES: usize = 9;

const MARGIN: f64 = 20.0;
const SITE_HEIGHT: f64 = 66.0;
const CORE_TOP: f64 = 132.0;
const CORE_HEIGHT: f64 = 34.0;
const LEVEL_TOP: f64 = 226.0;
const LEVEL_GAP: f64 = 60.0;
const PILL_HEIGHT: f64 = 24.0;
const PILLS_PER_LINE: usize = 3;
const SPACING: f64 = 26.0;

/// Draws a topology; `None` where it is too large to be seen at once, or empty.
pub(super) fn draw(topology: &Topology) -> Option<String> {
    let fits = (1..=MOST_NETWORKS).contains(&topology.networks.len()) && topology.sites.len() <= MOST_SITES;
    fits.then(|| Drawing::new(topology).draw())
}

/// A node in a network, at the beginning or after a move.
struct Pill<'a> {
    node: &'a str,
    label: String,
    class: &'static str,
    /// Which of the domains, for its colour.
    domain: usize,
    x: f64,
    y: f64,
    width: f64,
}

struct Area<'a> {
    network: &'a Network,
    pills: Vec<Pill<'a>>,
    level: usize,
    children: Vec<usize>,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

struct Drawing<'a> {
    topology: &'a Topology,
    areas: Vec<Area<'a>>,
    width: f64,
    height: f64,
}

impl<'a> Drawing<'a> {
    fn new(topology: &'a Topology) -> Self {
        let mut areas: Vec<Area<'_>> = topology.networks.iter().map(|network| area(topology, network)).collect();
        let index: BTreeMap<&str, usize> =
            topology.networks.iter().enumerate().map(|(index, network)| (network.name.as_str(), index)).collect();
        let mut roots = Vec::new();
        for child in 0..areas.len() {
            let behind = areas[child].network.behind.as_deref().and_then(|behind| index.get(behind).copied());
            match behind.filter(|&parent| parent < child) {
                Some(parent) => {
                    areas[child].level = areas[parent].level + 1;
                    areas[parent].children.push(child);
                }
                None => roots.push(child),
            }
        }
        let mut drawing = Self { topology, areas, width: 0.0, height: 0.0 };
        let tallest = |level: usize, areas: &[Area<'_>]| {
            areas.iter().filter(|area| area.level == level).map(|area| area.height).fold(0.0, f64::max)
        };
        let levels = drawing.areas.iter().map(|area| area.level).max().unwrap_or(0);
        let mut tops = Vec::new();
        let mut top = LEVEL_TOP;
        for level in 0..=levels {
            tops.push(top);
            top += tallest(level, &drawing.areas) + LEVEL_GAP;
        }
        drawing.height = top - LEVEL_GAP + if topology.moves.is_empty() { MARGIN } else { 66.0 };
        let sites: f64 = topology.sites.iter().map(|site| site_width(&site.servers, &site.name) + SPACING).sum();
        let networks: f64 = roots.iter().map(|&root| drawing.subtree(root) + SPACING).sum();
        drawing.width = (sites.max(networks) - SPACING + 2.0 * MARGIN).max(640.0);
        let mut x = (drawing.width - networks + SPACING) / 2.0;
        for root in roots {
            let width = drawing.subtree(root);
            drawing.place(root, x, &tops);
            x += width + SPACING;
        }
        drawing
    }

    fn subtree(&self, area: usize) -> f64 {
        let children: f64 = self.areas[area].children.iter().map(|&child| self.subtree(child) + SPACING).sum();
        (children - SPACING).max(self.areas[area].width)
    }

    fn place(&mut self, area: usize, left: f64, tops: &[f64]) {
        let whole = self.subtree(area);
        let placed = &mut self.areas[area];
        placed.x = left + (whole - placed.width) / 2.0;
        placed.y = tops[placed.level];
        let (x, y) = (placed.x, placed.y);
        for pill in &mut placed.pills {
            pill.x += x;
            pill.y += y;
        }
        let children = placed.children.clone();
        let row: f64 = children.iter().map(|&child| self.subtree(child) + SPACING).sum::<f64>() - SPACING;
        let mut x = left + (whole - row) / 2.0;
        for child in children {
            let width = self.subtree(child);
            self.place(child, x, tops);
            x += width + SPACING;
        }
    }

    fn draw(&self) -> String {
        let mut out = Markup::default();
        let (width, height) = (self.width, self.height);
        out.format(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"topology\" role=\"img\" width=\"{width:.0}\" \
             height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" aria-labelledby=\"topology-title \
             topology-description\"><title id=\"topology-title\">The simulated internet</title>\
             <desc id=\"topology-description\">{}</desc>",
            text(&describe(self.topology))
        ));
        self.sites(&mut out);
        self.core(&mut out);
        for area in &self.areas {
            self.uplink(&mut out, area);
        }
        for area in &self.areas {
            network(&mut out, area);
        }
        self.moves(&mut out);
        out.raw("</svg>");
        out.finish()
    }

    fn sites(&self, out: &mut Markup) {
        let sites = &self.topology.sites;
        let whole: f64 =
            sites.iter().map(|site| site_width(&site.servers, &site.name) + SPACING).sum::<f64>() - SPACING;
        let mut x = (self.width - whole) / 2.0;
        for site in sites {
            let width = site_width(&site.servers, &site.name);
            let middle = x + width / 2.0;
            let domain = self.domain(&site.name).map(|domain| format!(" domain{domain}")).unwrap_or_default();
            out.format(format_args!(
                "<line class=\"link\" x1=\"{middle:.1}\" x2=\"{middle:.1}\" y1=\"{:.1}\" y2=\"{CORE_TOP}\"/>\
                 <text class=\"delay\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
                 <g class=\"site{domain}\"><rect x=\"{x:.1}\" y=\"{MARGIN}\" width=\"{width:.1}\" \
                 height=\"{SITE_HEIGHT}\" rx=\"10\"/><text class=\"name\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
                MARGIN + SITE_HEIGHT,
                middle + 7.0,
                (MARGIN + SITE_HEIGHT).midpoint(CORE_TOP) + 4.0,
                time(site.delay),
                MARGIN + 22.0,
                text(&site.name),
            ));
            let servers: f64 = site.servers.iter().map(|server| pill_width(server) + 8.0).sum::<f64>() - 8.0;
            let mut left = middle - servers / 2.0;
            for server in &site.servers {
                let width = pill_width(server);
                out.format(format_args!(
                    "<g class=\"server\"><rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
                     height=\"{PILL_HEIGHT}\" rx=\"5\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
                    MARGIN + 33.0,
                    left + width / 2.0,
                    MARGIN + 49.5,
                    text(server),
                ));
                left += width + 8.0;
            }
            out.raw("</g>");
            x += width + SPACING;
        }
    }

    fn core(&self, out: &mut Markup) {
        out.format(format_args!(
            "<rect class=\"core\" x=\"{MARGIN}\" y=\"{CORE_TOP}\" width=\"{:.1}\" height=\"{CORE_HEIGHT}\" \
             rx=\"17\"/><text class=\"core-name\" x=\"{:.1}\" y=\"{:.1}\">core of the internet</text>",
            self.width - 2.0 * MARGIN,
            self.width / 2.0,
            CORE_TOP + 22.0
        ));
    }

    fn uplink(&self, out: &mut Markup, area: &Area<'_>) {
        let x = area.x + area.width / 2.0;
        let parent =
            self.areas.iter().find(|parent| Some(parent.network.name.as_str()) == area.network.behind.as_deref());
        let (top_x, top) = match parent {
            Some(parent) if area.level > 0 => (parent.x + parent.width / 2.0, parent.y + parent.height),
            _ => (x, CORE_TOP + CORE_HEIGHT),
        };
        out.format(format_args!(
            "<line class=\"link\" x1=\"{top_x:.1}\" y1=\"{top:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\"/>\
             <text class=\"delay\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            area.y,
            top_x.midpoint(x) + 7.0,
            top.midpoint(area.y) - 1.0,
            time(area.network.delay),
        ));
    }

    fn moves(&self, out: &mut Markup) {
        let bottom = self.areas.iter().map(|area| area.y + area.height).fold(0.0, f64::max);
        let mut places: BTreeMap<&str, &str> = self
            .topology
            .nodes
            .iter()
            .filter_map(|node| Some((node.name.as_str(), node.networks.first()?.as_str())))
            .collect();
        for (number, movement) in self.topology.moves.iter().enumerate() {
            let (Some(to), Some(from)) = (movement.to.as_deref(), places.get(movement.node.as_str())) else { continue };
            if let (Some(start), Some(end)) = (self.pill(from, &movement.node), self.pill(to, &movement.node)) {
                let depth = bottom + 40.0 + 6.0 * (number % 4) as f64;
                let (x1, y1) = (start.x + start.width / 2.0, start.y + PILL_HEIGHT);
                let (x2, y2) = (end.x + end.width / 2.0, end.y + PILL_HEIGHT);
                let tip = y2 + 8.0;
                let (label_x, label_y) = lowest([(x1, y1), (x1, depth), (x2, depth), (x2, tip)]);
                out.format(format_args!(
                    "<g class=\"move\"><path d=\"M{x1:.1} {y1:.1}C{x1:.1} {depth:.1} {x2:.1} {depth:.1} {x2:.1} {tip:.1}\"/>\
                     <path class=\"head\" d=\"M{x2:.1} {y2:.1}l-5 9h10z\"/>\
                     <text x=\"{:.1}\" y=\"{:.1}\">{} moves at {}</text></g>",
                    label_x,
                    label_y + 18.0,
                    text(&movement.node),
                    time(movement.at),
                ));
            }
            places.insert(&movement.node, to);
        }
    }

    fn pill(&self, network: &str, node: &str) -> Option<&Pill<'a>> {
        let area = self.areas.iter().find(|area| area.network.name == network)?;
        area.pills.iter().find(|pill| pill.node == node)
    }

    fn domain(&self, name: &str) -> Option<usize> {
        domain(self.topology, name)
    }
}

/// The point of a cubic curve that is lowest on the page; a twentieth of its length is near enough for a label.
fn lowest([start, first, second, end]: [(f64, f64); 4]) -> (f64, f64) {
    let at = |t: f64| {
        let [a, b, c, d] = [(1.0 - t).powi(3), 3.0 * (1.0 - t).powi(2) * t, 3.0 * (1.0 - t) * t * t, t.powi(3)];
        let mix = |start: f64, first: f64, second: f64, end: f64| a * start + b * first + c * second + d * end;
        (mix(start.0, first.0, second.0, end.0), mix(start.1, first.1, second.1, end.1))
    };
    let points = (0..=20).map(|step| at(f64::from(step) / 20.0));
    points.fold(start, |lowest, point| if point.1 > lowest.1 { point } else { lowest })
}

/// Which of the domains this is, in the order of the drawing; the four colours repeat.
fn domain(topology: &Topology, name: &str) -> Option<usize> {
    let mut domains = topology.sites.iter().filter(|site| topology.nodes.iter().any(|node| node.domain == site.name));
    domains.position(|site| site.name == name).map(|index| index % 4)
}

/// A network's box with everything in it, its corner at the origin.
fn area<'a>(topology: &'a Topology, network: &'a Network) -> Area<'a> {
    let mut pills: Vec<Pill<'a>> = Vec::new();
    let mut pill = |node: &'a str, home: &str, class| {
        if pills.iter().all(|pill| pill.node != node) {
            let domain = domain(topology, home).unwrap_or(0);
            let width = pill_width(node);
            pills.push(Pill { node, label: node.to_owned(), class, domain, x: 0.0, y: 0.0, width });
        }
    };
    for node in topology.nodes.iter().filter(|node| node.networks.contains(&network.name)) {
        pill(&node.name, &node.domain, "node");
    }
    for movement in topology.moves.iter().filter(|movement| movement.to.as_deref() == Some(&network.name)) {
        let home = topology.nodes.iter().find(|node| node.name == movement.node).map_or("", |node| &node.domain);
        pill(&movement.node, home, "node visitor");
    }
    if pills.len() > MOST_NODES {
        let more = pills.len() - MOST_NODES + 1;
        pills.truncate(MOST_NODES - 1);
        let label = format!("{more} more");
        pills.push(Pill { node: "", width: pill_width(&label), label, class: "node", domain: 0, x: 0.0, y: 0.0 });
    }
    let captions = [network.name.clone(), caption(network)];
    let widest = captions.iter().map(|caption| caption.chars().count() as f64 * 6.6 + 28.0).fold(128.0, f64::max);
    let badge = badge(network).chars().count() as f64 * 6.6 + 40.0;
    let line_width = |line: &[Pill<'_>]| line.iter().map(|pill| pill.width + 8.0).sum::<f64>() + 16.0;
    let width = pills.chunks(PILLS_PER_LINE).map(line_width).fold(widest.max(badge), f64::max);
    for (number, line) in pills.chunks_mut(PILLS_PER_LINE).enumerate() {
        let mut x = (width - line_width(line)) / 2.0 + 12.0;
        for pill in line {
            (pill.x, pill.y) = (x, 62.0 + number as f64 * (PILL_HEIGHT + 7.0));
            x += pill.width + 8.0;
        }
    }
    let lines = pills.len().div_ceil(PILLS_PER_LINE) as f64;
    let height = 62.0 + if lines > 0.0 { lines * (PILL_HEIGHT + 7.0) + 5.0 } else { 0.0 };
    Area { network, pills, level: 0, children: Vec::new(), x: 0.0, y: 0.0, width, height }
}

fn network(out: &mut Markup, area: &Area<'_>) {
    let (x, y, width, middle) = (area.x, area.y, area.width, area.x + area.width / 2.0);
    let badge_text = badge(area.network);
    let badge_width = badge_text.chars().count() as f64 * 6.8 + 22.0;
    let class = if area.network.nat.is_some() { "nat" } else { "nat none" };
    out.format(format_args!(
        "<g class=\"network\"><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\" rx=\"10\"/>\
         <g class=\"{class}\">{}<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{badge_width:.1}\" height=\"20\" rx=\"10\"/>\
         <text x=\"{middle:.1}\" y=\"{:.1}\">{}</text></g>\
         <text class=\"name\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>\
         <text class=\"caption\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text></g>",
        area.height,
        tooltip(area.network),
        middle - badge_width / 2.0,
        y - 10.0,
        y + 4.0,
        text(&badge_text),
        y + 29.0,
        text(&area.network.name),
        y + 47.0,
        text(&caption(area.network)),
    ));
    for pill in &area.pills {
        out.format(format_args!(
            "<g class=\"{} domain{}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{PILL_HEIGHT}\" rx=\"12\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            pill.class,
            pill.domain,
            pill.x,
            pill.y,
            pill.width,
            pill.x + pill.width / 2.0,
            pill.y + 16.5,
            text(&pill.label),
        ));
    }
}

fn badge(network: &Network) -> String {
    match (&network.nat, &network.firewall) {
        (Some(nat), None) => format!("NAT: {nat}"),
        (Some(nat), Some(firewall)) => format!("NAT: {nat} · {firewall}"),
        (None, Some(firewall)) => firewall.clone(),
        (None, None) => "no NAT".to_owned(),
    }
}

/// What there was no room for on the badge: shown where the pointer rests on it.
fn tooltip(network: &Network) -> String {
    let record = network.nat_record.as_str();
    if record.is_empty() { String::new() } else { format!("<title>{}</title>", text(record)) }
}

fn caption(network: &Network) -> String {
    let parts = [network.families.as_str(), &network.link];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

fn site_width(servers: &[String], name: &str) -> f64 {
    let servers: f64 = servers.iter().map(|server| pill_width(server) + 8.0).sum();
    (servers + 20.0).max(name.chars().count() as f64 * 7.4 + 32.0).max(118.0)
}

fn pill_width(label: &str) -> f64 {
    label.chars().count() as f64 * 7.2 + 20.0
}

/// The drawing in words, for those who do not see it.
fn describe(topology: &Topology) -> String {
    let mut out = Markup::default();
    for site in &topology.sites {
        out.raw(&format!("{} has {}. ", site.name, site.servers.join(", ")));
    }
    for network in &topology.networks {
        let nodes = topology.nodes.iter().filter(|node| node.networks.contains(&network.name));
        let nodes: Vec<&str> = nodes.map(|node| node.name.as_str()).collect();
        let behind = network.behind.as_deref().unwrap_or("the core");
        let nodes = if nodes.is_empty() { "nobody".to_owned() } else { nodes.join(", ") };
        let badge = badge(network);
        let record = if network.nat_record.is_empty() { badge } else { format!("{badge}: {}", network.nat_record) };
        out.raw(&format!("Network {} ({record}) behind {behind} holds {nodes}. ", network.name));
    }
    for movement in &topology.moves {
        let to = movement.to.as_deref().unwrap_or("no network");
        out.raw(&format!("{} moves to {to} at {}. ", movement.node, time(movement.at)));
    }
    out.finish()
}
