//! What a run came to, on the terminal: the world in a line, a line for each conversation, where to look next.

use crate::failure::Failure;
use crate::scenario::Found;
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_lab::record::{Conversation, Path};
use ntmobile_lab::run::RunRecord;
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::event::{Action, Move};
use ntmobile_lab::scenario::units::TimeSpan;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// The world in a line.
pub fn world(scenario: &Scenario, terminal: &Terminal, out: &mut dyn Write) -> Result<(), Failure> {
    let relays: u32 = scenario.domain.values().map(|domain| u32::from(domain.relays)).sum();
    let notifiers: u32 = scenario.domain.values().map(|domain| u32::from(domain.notification_servers)).sum();
    let nats = scenario.network.values().filter(|network| network.nat.is_some()).count();
    let (domains, nodes) = (scenario.domain.len(), scenario.node.len());
    let line =
        format!("{domains} domains · 1 AS · {domains} DC · {relays} RS · {notifiers} NS · {nodes} nodes · {nats} NATs");
    writeln!(
        out,
        "  {}     {line}     {}",
        terminal.bold("world"),
        terminal.faint(&format!("seed {}", scenario.world.seed))
    )?;
    out.flush()?;
    Ok(())
}

/// What came of each conversation, who moved, and where to look next.
pub fn outcome(found: &Found, record: &RunRecord, terminal: &Terminal, out: &mut dyn Write) -> Result<(), Failure> {
    let manifest = &record.manifest;
    let how = match &manifest.lab {
        None => {
            format!("{:.1} s simulated in {:.2} s, {} events", manifest.simulated_s, manifest.wall_s, manifest.events)
        }
        Some(lab) => {
            let kernel: Vec<&str> = lab.kernel_nats.keys().map(String::as_str).collect();
            let by = if kernel.is_empty() { "none".to_owned() } else { kernel.join(", ") };
            format!("{:.1} s on the real kernel, model {}; NAT by the kernel: {by}", manifest.simulated_s, lab.model)
        }
    };
    writeln!(out, "  {}       {how}\n", terminal.bold("ran"))?;
    let mut table = Table::default();
    for conversation in &record.conversations {
        table.row(row(&found.scenario, conversation, terminal));
    }
    table.write(out)?;
    let mut moved = Table::default();
    for (at, action) in moves(&found.scenario) {
        moved.row(movement(&found.scenario, at, action, &record.conversations, terminal));
    }
    writeln!(out)?;
    moved.write(out)?;
    let directory = record.directory.path().display();
    writeln!(out, "\n  {}    {directory}/report.html", terminal.bold("report"))?;
    writeln!(out, "  {}     {directory}/trace.otlp.jsonl", terminal.bold("trace"))?;
    writeln!(out, "  {}    {directory}/events.log", terminal.bold("events"))?;
    if let Some(first) = record.conversations.first() {
        let next = format!("ntm trace {directory} {} {} · ntm describe {}", first.from, first.to, found.name);
        writeln!(out, "  {}      {}", terminal.bold("next"), terminal.faint(&next))?;
    }
    Ok(())
}

fn row(scenario: &Scenario, row: &Conversation, terminal: &Terminal) -> [(String, bool); 8] {
    let left = |text: String| (text, false);
    let path = match &row.path {
        Some(Path::Direct) => terminal.good("direct"),
        Some(Path::Relayed(_)) => terminal.notable("relayed"),
        None => String::new(),
    };
    if let Some(failure) = &row.failure
        && row.set_up.is_none()
    {
        let rest = [left(terminal.bad(failure)), left(String::new()), left(String::new()), left(String::new())];
        let [why, a, b, c] = rest;
        return [left(pair(row)), left(row.kind.clone()), left(path), left(networks(scenario, row)), why, a, b, c];
    }
    let set_up = row.set_up.map(|span| format!("{} ms", millis(span))).unwrap_or_default();
    let of_bound = match (row.set_up_round_trips, row.bound) {
        (Some(trips), Some(bound)) => format!("({trips:.1} RTT, bound {})", millis(bound)),
        (Some(trips), None) => format!("({trips:.1} RTT)"),
        (None, _) => String::new(),
    };
    let lost = match (row.kind.as_str(), &row.failure, row.transfer) {
        (_, Some(failure), _) => terminal.bad(failure),
        ("tcp", None, Some(span)) => format!("{} MB in {:.1} s", megabytes(row.bytes), span.as_secs_f64()),
        ("tcp", None, None) => terminal.notable(&format!("{} MB, unfinished", megabytes(row.bytes))),
        _ if row.lost() == 0 => "0 lost".to_owned(),
        _ => terminal.notable(&format!("{} lost", row.lost())),
    };
    let trip = row.round_trip.map(|trips| format!("{} ms", millis(trips.median))).unwrap_or_default();
    [
        left(pair(row)),
        left(row.kind.clone()),
        left(path),
        left(networks(scenario, row)),
        (set_up, true),
        left(of_bound),
        (lost, true),
        (trip, true),
    ]
}

fn pair(row: &Conversation) -> String {
    format!("{} → {}", row.from, row.to)
}

fn networks(scenario: &Scenario, row: &Conversation) -> String {
    let at = |node: &str| scenario.node.get(node).and_then(|node| node.networks().next()).unwrap_or_default();
    format!("{} ↔ {}", at(&row.from), at(&row.to))
}

fn moves(scenario: &Scenario) -> impl Iterator<Item = (TimeSpan, &Move)> {
    scenario.event.iter().filter_map(|event| match &event.action {
        Action::Move(action) => Some((event.at, action)),
        _ => None,
    })
}

fn movement(
    scenario: &Scenario,
    at: TimeSpan,
    action: &Move,
    conversations: &[Conversation],
    terminal: &Terminal,
) -> [(String, bool); 4] {
    let earlier = moves(scenario).filter(|(when, other)| other.node == action.node && *when < at).last();
    let from = match earlier {
        Some((_, action)) => action.to.as_str(),
        None => scenario.node.get(&action.node).and_then(|node| node.networks().next()).unwrap_or_default(),
    };
    let touched = conversations.iter().filter(|row| row.from == action.node || row.to == action.node);
    let touched: Vec<&Conversation> = touched.filter(|row| row.gap.is_some()).collect();
    // A stream's gap is longer than its path's: what was lost on the old path is sent again when TCP's time has come.
    let gaps = [false, true].map(|is_tcp| {
        let gaps = touched.iter().filter(|row| (row.kind == "tcp") == is_tcp).filter_map(|row| row.gap);
        gaps.max().map(millis)
    });
    let gap = match gaps {
        [Some(packets), Some(streams)] => format!("gap {packets} ms (tcp {streams})"),
        [Some(gap), None] | [None, Some(gap)] => format!("gap {gap} ms"),
        [None, None] => String::new(),
    };
    let stayed = !touched.is_empty() && touched.iter().all(|row| row.failure.is_none());
    [
        (format!("{} moved {from} → {}", action.node, action.to), false),
        (gap, false),
        (format!("at {at}"), false),
        (if stayed { terminal.good("connections stayed") } else { String::new() }, false),
    ]
}

fn millis(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64() * 1e3)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Everything as one JSON document; times in milliseconds.
pub fn json(record: &RunRecord) -> Value {
    let in_millis = |span: Option<Duration>| span.map(|span| span.as_nanos() as f64 / 1e6);
    let conversations: Vec<Value> = record
        .conversations
        .iter()
        .map(|row| {
            json!({
                "from": row.from,
                "to": row.to,
                "kind": row.kind,
                "start_ms": row.start.0 as f64 / 1e6,
                "path": row.path.as_ref().map(Path::to_string),
                "relay": match &row.path { Some(Path::Relayed(relay)) => Some(relay), _ => None },
                "set_up_ms": in_millis(row.set_up),
                "set_up_round_trips": row.set_up_round_trips,
                "bound_ms": in_millis(row.bound),
                "sent": row.sent,
                "received": row.received,
                "lost": row.lost(),
                "bytes": row.bytes,
                "transfer_ms": in_millis(row.transfer),
                "round_trip_ms": row.round_trip.map(|trips| json!({
                    "least": in_millis(Some(trips.least)),
                    "median": in_millis(Some(trips.median)),
                    "most": in_millis(Some(trips.most)),
                })),
                "gap_ms": in_millis(row.gap),
                "failure": row.failure,
            })
        })
        .collect();
    let manifest = &record.manifest;
    json!({
        "scenario": manifest.scenario,
        "seed": manifest.seed,
        "state": manifest.state,
        "directory": record.directory.path(),
        "simulated_s": manifest.simulated_s,
        "wall_s": manifest.wall_s,
        "events": manifest.events,
        "conversations": conversations,
    })
}
