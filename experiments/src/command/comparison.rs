//! Two runs of a scenario side by side on the terminal.

use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_lab::compare::{Comparison, Row, way};
use ntmobile_lab::record::{Manifest, RunDirectory};
use std::io::Write;
use std::time::Duration;

/// Shows where two runs differ, and why.
pub fn compare(
    one: &RunDirectory,
    other: &RunDirectory,
    terminal: &Terminal,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let comparison = Comparison::of(one, other)?;
    let worlds = comparison.manifests.each_ref().map(world);
    writeln!(out, "  {}   {} → {}", terminal.bold("compared"), worlds[0], worlds[1])?;
    let mut table = Table::default();
    let heading = ["", "", "path", "set-up", "", "round trip", "gap", ""];
    table.row(heading.map(|text| (terminal.faint(text), false)));
    for row in &comparison.rows {
        table.row(cells(row, terminal));
    }
    table.write(out)?;
    writeln!(out)?;
    for row in comparison.rows.iter().filter(|row| !row.paths_agree()) {
        let because = row.because.each_ref().map(|because| because.as_deref().unwrap_or("nothing was decided"));
        let [from, to] = [&row.measured[0].from, &row.measured[0].to];
        writeln!(out, "  {}   {from} → {to}: {}; {}", terminal.bad("path"), because[0], because[1])?;
    }
    let decisions =
        if comparison.paths_agree() { terminal.good("the same in both") } else { terminal.bad("not the same in both") };
    writeln!(out, "  {}      {decisions}", terminal.bold("paths"))?;
    for lab in comparison.manifests.iter().filter_map(|manifest| manifest.lab.as_ref()) {
        let machine = &lab.machine;
        let lateness = format!(
            "packets late by {:.2} ms in the middle, {:.2} ms one in a hundred, {:.2} ms at worst",
            machine.late_median_ms, machine.late_p99_ms, machine.late_worst_ms
        );
        writeln!(out, "  {}    {lateness}", terminal.bold("machine"))?;
        for why in &lab.overload {
            writeln!(out, "  {}   {why}", terminal.bad("overload"))?;
        }
        if !lab.overload.is_empty() {
            writeln!(out, "             {}", terminal.notable("its times say little; repeat on a quiet machine"))?;
        }
    }
    Ok(())
}

fn world(manifest: &Manifest) -> String {
    match &manifest.lab {
        None => "simulator".to_owned(),
        Some(lab) => format!("real kernel, model {}", lab.model),
    }
}

fn cells(row: &Row, terminal: &Terminal) -> [(String, bool); 8] {
    let [one, other] = &row.measured;
    let left = |text: String| (text, false);
    let path = if row.paths_agree() {
        terminal.good(&way(one.path.as_ref()))
    } else {
        terminal.bad(&format!("{} → {}", way(one.path.as_ref()), way(other.path.as_ref())))
    };
    let excess = row.excess();
    let trip = |trips: Option<ntmobile_lab::record::RoundTrips>| trips.map(|trips| trips.median);
    [
        left(format!("{} → {}", one.from, one.to)),
        left(one.kind.clone()),
        left(path),
        (both(one.set_up, other.set_up), true),
        (excess.map(|excess| format!("{:+.1} ms", excess.all)).unwrap_or_default(), true),
        (both(trip(one.round_trip), trip(other.round_trip)), true),
        (both(one.gap, other.gap), true),
        left(excess.map(|excess| terminal.faint(&excess.to_string())).unwrap_or_default()),
    ]
}

fn both(one: Option<Duration>, other: Option<Duration>) -> String {
    let millis =
        |span: Option<Duration>| span.map_or("–".to_owned(), |span| format!("{:.1}", span.as_secs_f64() * 1e3));
    if one.is_none() && other.is_none() { String::new() } else { format!("{} → {}", millis(one), millis(other)) }
}
