//! A sequence diagram in the terminal.

use super::layout::{
    MarkedWait, Row, host_and_domain, marked_waits, milliseconds, remark, rows, seconds, step_remark, summary,
    wait_label,
};
use super::{Arrow, Sequence};
use std::fmt::Write;

/// How wide the column of times is.
const GUTTER: usize = 12;

/// The narrowest that a lane may be.
const NARROWEST_LANE: usize = 7;

/// The widest that a lane need be.
const WIDEST_LANE: usize = 20;

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal. Lanes are never narrower than seven, so many lanes may need more.
    pub width: usize,
    /// Whether to use colours (ANSI escape sequences).
    pub colour: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self { width: 100, colour: false }
    }
}

/// Draws a sequence: one message per line, the critical path in heavy lines.
pub fn draw(sequence: &Sequence, style: Style) -> String {
    let drawing = Drawing::new(sequence, style);
    let mut out = String::new();
    drawing.header(&mut out);
    for index in 0..drawing.rows.len() {
        drawing.row(&mut out, index);
    }
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{:GUTTER$}{}", "", drawing.lifelines(drawing.rows.len()).trim_end());
    let _ = writeln!(out, "critical path ━  {}", summary(sequence));
    // Beside the arrows there may be no room for the whole reason.
    let arrows = sequence.arrows.iter().filter_map(|arrow| Some((&arrow.name, arrow.failure.as_ref()?)));
    let steps = sequence.steps.iter().filter_map(|step| Some((&step.name, step.failure.as_ref()?)));
    for (name, failure) in arrows.chain(steps) {
        let _ = writeln!(out, "failed           {name}: {failure}");
    }
    out
}

struct Drawing<'a> {
    sequence: &'a Sequence,
    style: Style,
    rows: Vec<Row>,
    waits: Vec<MarkedWait>,
    /// The distance between lanes.
    lane: usize,
    /// Whether remarks stand on lines of their own, above the arrows.
    stacked: bool,
}

impl<'a> Drawing<'a> {
    fn new(sequence: &'a Sequence, style: Style) -> Self {
        let rows = rows(sequence);
        let waits = marked_waits(sequence, &rows);
        let lanes = sequence.lanes.len().max(1);
        let arrows = sequence.arrows.iter().map(|arrow| label(arrow).chars().count());
        let steps = sequence.steps.iter().map(|step| step.name.chars().count() + 2 + step_remark(step).chars().count());
        // One very long failure must not squeeze all lanes.
        let longest = arrows.chain(steps).max().unwrap_or(0).min(style.width / 2);
        let beside = style.width.saturating_sub(GUTTER + longest + 1) / lanes;
        let stacked = beside < NARROWEST_LANE;
        let available = if stacked { style.width.saturating_sub(GUTTER) / lanes } else { beside };
        Self { sequence, style, rows, waits, lane: available.clamp(NARROWEST_LANE, WIDEST_LANE), stacked }
    }

    fn position(&self, lane: usize) -> usize {
        self.lane / 2 + lane * self.lane
    }

    fn width(&self) -> usize {
        self.sequence.lanes.len() * self.lane
    }

    fn header(&self, out: &mut String) {
        let names: Vec<_> = self.sequence.lanes.iter().map(|name| host_and_domain(name)).collect();
        let mut line = |part: &dyn Fn(usize) -> &'a str| {
            let cells = (0..names.len()).map(|lane| format!("{:^1$}", shorten(part(lane), self.lane - 1), self.lane));
            let _ = writeln!(out, "{:GUTTER$}{}", "", cells.collect::<String>().trim_end());
        };
        line(&|lane| names[lane].0);
        line(&|lane| names[lane].1);
    }

    /// The lifelines at a row; heavy where the critical path waits.
    fn lifelines(&self, row: usize) -> String {
        self.cells(row).into_iter().collect()
    }

    fn cells(&self, row: usize) -> Vec<char> {
        let mut cells = vec![' '; self.width()];
        for lane in 0..self.sequence.lanes.len() {
            let waits = |wait: &MarkedWait| {
                wait.lane == lane && wait.from.is_none_or(|from| from < row) && wait.to.is_none_or(|to| row < to)
            };
            cells[self.position(lane)] = if self.waits.iter().any(waits) { '┃' } else { '│' };
        }
        cells
    }

    fn row(&self, out: &mut String, row: usize) {
        let mut cells = self.cells(row);
        let (time, text, colour) = match self.rows[row] {
            Row::Gap(gap) => {
                for lane in 0..self.sequence.lanes.len() {
                    cells[self.position(lane)] = '⋮';
                }
                (None, format!("{} later", seconds(gap)), "2")
            }
            Row::Wait(lane, nanos) => {
                cells[self.position(lane)] = '┃';
                (None, wait_label(nanos), "2")
            }
            Row::Step(index) => {
                let step = &self.sequence.steps[index];
                cells[self.position(step.lane)] = '◆';
                let text = format!("{}  {}", step.name, step_remark(step)).trim_end().to_owned();
                (Some(step.start), text, if step.failure.is_some() { "31" } else { "0" })
            }
            Row::Arrow(index) => {
                let arrow = &self.sequence.arrows[index];
                self.arrow(&mut cells, arrow);
                let colour = match arrow {
                    Arrow { received: None, .. } | Arrow { failure: Some(_), .. } => "31",
                    Arrow { critical: true, .. } => "1",
                    _ => "0",
                };
                (Some(arrow.sent), label(arrow), colour)
            }
        };
        let time = time.map(|time| format!("{} ms", milliseconds(time))).unwrap_or_default();
        let lines: String = cells.into_iter().collect();
        let (on, off) = match (self.style.colour, colour) {
            (true, "1" | "2" | "31") => (format!("\x1b[{colour}m"), "\x1b[0m"),
            _ => (String::new(), ""),
        };
        let room = self.style.width.saturating_sub(GUTTER + if self.stacked { 0 } else { self.width() + 1 });
        let text = shorten(&text, room);
        let gutter = GUTTER - 2;
        if self.stacked {
            let _ = writeln!(out, "{}", format!("{time:>gutter$}  {on}{text}{off}").trim_end());
            let _ = writeln!(out, "{:GUTTER$}{on}{}{off}", "", lines.trim_end());
        } else {
            let _ = writeln!(out, "{}", format!("{time:>gutter$}  {on}{lines} {text}{off}").trim_end());
        }
    }

    /// Draws an arrow over the lifelines.
    fn arrow(&self, cells: &mut [char], arrow: &Arrow) {
        let heavy = arrow.critical;
        let from = self.position(arrow.from);
        let target = arrow.to.map(|to| self.position(to)).filter(|&to| to != from);
        // One that never arrived, nobody knows where, goes half-way to the next lane.
        let to = target.unwrap_or(if from + self.lane < cells.len() { from + self.lane } else { from - self.lane / 2 });
        let rightwards = to > from;
        let line = if heavy {
            '━'
        } else if arrow.received.is_some() {
            '─'
        } else {
            '╌'
        };
        cells[from] = match (rightwards, heavy) {
            (true, false) => '├',
            (true, true) => '┝',
            (false, false) => '┤',
            (false, true) => '┥',
        };
        let end = if arrow.received.is_some() { to } else { from.midpoint(to) };
        let between = if rightwards { from + 1..end } else { end + 1..from };
        for cell in &mut cells[between.clone()] {
            *cell = match (*cell, heavy) {
                ('│' | '┃', false) => '┼',
                ('│' | '┃', true) => '┿',
                _ => line,
            };
        }
        let tip = if rightwards { between.end.saturating_sub(1) } else { between.start };
        cells[tip] = match (arrow.received.is_some(), rightwards) {
            (true, true) => '▶',
            (true, false) => '◀',
            (false, _) => '╳',
        };
    }
}

fn label(arrow: &Arrow) -> String {
    format!("{}  {}", arrow.name, remark(arrow))
}

/// A name that must fit: its end gives way to an ellipsis.
fn shorten(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    name.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
