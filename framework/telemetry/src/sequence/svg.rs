//! A sequence diagram as SVG, in the manner of the papers' figures.
//!
//! Colours are CSS variables, so a page that shows the drawing can give it its own; alone it follows the reader's light or
//! dark preference.

use super::layout::{
    MarkedWait, Row, host_and_domain, marked_waits, milliseconds, remark, rows, seconds, step_remark, summary,
    wait_label,
};
use super::{Arrow, Sequence, Step};
use std::fmt::Write;

/// Where the drawing will stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a file of its own.
    Alone,
    /// In a page that has [`STYLE`] in its style sheet, under an element identifier that no other drawing has.
    Page(&'a str),
}

/// The style sheet that drawings need. The variables are the page's to set; the values here are for a light page.
pub const STYLE: &str = "\
.sequence{font-family:system-ui,sans-serif;font-size:12.5px;fill:var(--ink,#1b1f24)}\
.sequence .time,.sequence .remark{fill:var(--muted,#57606a);font-variant-numeric:tabular-nums}\
.sequence .time{text-anchor:end;font-size:11.5px}\
.sequence .remark{font-size:11px}\
.sequence .lifeline{stroke:var(--line,#c4ccd4);stroke-width:1.2}\
.sequence .box{fill:var(--card,#f6f8fa);stroke:var(--line,#c4ccd4)}\
.sequence .host{font-weight:600;text-anchor:middle}\
.sequence .domain{fill:var(--muted,#57606a);font-size:11px;text-anchor:middle}\
.sequence .label{text-anchor:middle;paint-order:stroke;stroke:var(--paper,#fff);stroke-width:4px;stroke-linejoin:round}\
.sequence .arrow{stroke:var(--muted,#57606a);stroke-width:1.4;fill:none}\
.sequence .head{fill:var(--muted,#57606a);stroke:none}\
.sequence .critical .arrow,.sequence .wait{stroke:var(--accent,#0b65c2);stroke-width:2.6;fill:none}\
.sequence .critical .head{fill:var(--accent,#0b65c2)}\
.sequence .critical .name{font-weight:600}\
.sequence .lost .arrow{stroke:var(--bad,#b42318);stroke-dasharray:4 3}\
.sequence .cross{stroke:var(--bad,#b42318);stroke-width:1.8;fill:none}\
.sequence .failed .remark,.sequence .lost .remark{fill:var(--bad,#b42318)}\
.sequence .step{fill:var(--accent,#0b65c2);stroke:var(--paper,#fff);stroke-width:2}\
.sequence .beside{text-anchor:start}\
.sequence .gap{fill:var(--muted,#57606a);font-style:italic}";

const ALONE: &str = "\
svg{background:#fff}\
@media (prefers-color-scheme:dark){svg{--ink:#e6edf3;--muted:#9aa7b4;--line:#3d4751;--card:#1c232b;--accent:#58a6ff;\
--bad:#ff7b72;--paper:#0d1117;background:#0d1117}}";

const GUTTER: f64 = 84.0;
const HEADER: f64 = 44.0;
const ROW: f64 = 38.0;
const SLANT: f64 = 7.0;
const BOX: f64 = 112.0;
const TOP: f64 = 8.0;

/// Draws a sequence.
pub fn draw(sequence: &Sequence, place: Place<'_>) -> String {
    let drawing = Drawing::new(sequence);
    let identifier = match place {
        Place::Alone => "sequence",
        Place::Page(identifier) => identifier,
    };
    let (width, height) = (drawing.width, drawing.bottom + HEADER + TOP);
    let mut out = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"sequence\" role=\"img\" width=\"{width:.0}\" \
         height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         aria-labelledby=\"{id}-title {id}-description\">",
        id = escape(identifier),
    );
    let _ = write!(
        out,
        "<title id=\"{id}-title\">{name} among {lanes}</title><desc id=\"{id}-description\">{description}</desc>",
        id = escape(identifier),
        name = escape(&sequence.name),
        lanes = escape(&sequence.lanes.join(", ")),
        description = escape(&describe(sequence)),
    );
    if place == Place::Alone {
        let _ = write!(out, "<style>{STYLE}{ALONE}</style>");
    }
    drawing.lanes(&mut out);
    drawing.waits(&mut out);
    for (row, y) in drawing.rows.iter().zip(&drawing.tops) {
        match row {
            Row::Arrow(index) => drawing.arrow(&mut out, &sequence.arrows[*index], *y),
            Row::Step(index) => drawing.step(&mut out, &sequence.steps[*index], *y),
            Row::Wait(lane, nanos) => {
                let x = drawing.lanes[*lane] + 12.0;
                let text = wait_label(*nanos);
                let _ = write!(out, "<text class=\"gap label beside\" x=\"{x:.1}\" y=\"{:.1}\">{text}</text>", y + 4.0);
            }
            Row::Gap(gap) => {
                let middle = (drawing.lanes.first().unwrap_or(&GUTTER) + drawing.lanes.last().unwrap_or(&GUTTER)) / 2.0;
                let text = format!("{} later", seconds(*gap));
                let _ = write!(out, "<text class=\"gap label\" x=\"{middle:.1}\" y=\"{y:.1}\">⋯ {text} ⋯</text>");
            }
        }
    }
    out.push_str("</svg>");
    out
}

/// The drawing in words, for those who do not see it.
fn describe(sequence: &Sequence) -> String {
    let mut text = format!("{}. ", summary(sequence));
    for arrow in &sequence.arrows {
        let to = arrow.to.map_or("nobody known", |to| &sequence.lanes[to]);
        let from = &sequence.lanes[arrow.from];
        let _ =
            write!(text, "{} ms: {} from {from} to {to}, {}. ", milliseconds(arrow.sent), arrow.name, remark(arrow));
    }
    text
}

struct Drawing<'a> {
    sequence: &'a Sequence,
    rows: Vec<Row>,
    waits: Vec<MarkedWait>,
    /// Where each lane stands.
    lanes: Vec<f64>,
    /// Where each row begins.
    tops: Vec<f64>,
    bottom: f64,
    width: f64,
}

impl<'a> Drawing<'a> {
    fn new(sequence: &'a Sequence) -> Self {
        let rows = rows(sequence);
        let waits = marked_waits(sequence, &rows);
        let count = sequence.lanes.len();
        // Each arrow's label fits above it: between the lanes that it joins.
        let mut gaps = vec![BOX + 14.0; count.saturating_sub(1)];
        let mut right: f64 = BOX / 2.0 + 8.0;
        for arrow in &sequence.arrows {
            let needed = label_width(&arrow.name, &short_remark(arrow)) + 30.0;
            let (low, high) = ends(arrow, count);
            match gaps.get_mut(low..high) {
                Some(spanned) if !spanned.is_empty() => {
                    let missing = needed - spanned.iter().sum::<f64>();
                    if missing > 0.0 {
                        let each = missing / spanned.len() as f64;
                        spanned.iter_mut().for_each(|gap| *gap += each);
                    }
                }
                _ => right = right.max(needed),
            }
        }
        for step in sequence.steps.iter().filter(|step| step.lane + 1 == count) {
            right = right.max(label_width(&step.name, &short_step_remark(step)) + 24.0);
        }
        let mut lanes = Vec::with_capacity(count);
        let mut x = GUTTER + BOX / 2.0;
        for lane in 0..count {
            lanes.push(x.round());
            x += gaps.get(lane).copied().unwrap_or(0.0);
        }
        let mut y = TOP + HEADER + 34.0;
        let mut tops = Vec::with_capacity(rows.len());
        for _ in &rows {
            tops.push(y);
            y += ROW;
        }
        let width = (lanes.last().copied().unwrap_or(GUTTER) + right).ceil();
        Self { sequence, rows, waits, lanes, tops, bottom: y, width }
    }

    fn lanes(&self, out: &mut String) {
        for (name, x) in self.sequence.lanes.iter().zip(&self.lanes) {
            let (host, domain) = host_and_domain(name);
            let _ = write!(
                out,
                "<line class=\"lifeline\" x1=\"{x}\" x2=\"{x}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                TOP + HEADER,
                self.bottom
            );
            for top in [TOP, self.bottom] {
                let _ = write!(
                    out,
                    "<rect class=\"box\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{BOX}\" height=\"{HEADER}\" rx=\"7\"/>\
                     <text class=\"host\" x=\"{x}\" y=\"{:.1}\">{}</text>\
                     <text class=\"domain\" x=\"{x}\" y=\"{:.1}\">{}</text>",
                    x - BOX / 2.0,
                    top + 19.0,
                    escape(&fit(host, 14)),
                    top + 35.0,
                    escape(&fit(domain, 18)),
                );
            }
        }
    }

    fn waits(&self, out: &mut String) {
        for wait in &self.waits {
            let Some(x) = self.lanes.get(wait.lane) else { continue };
            let top = wait.from.map_or(TOP + HEADER, |row| self.tops[row] + SLANT);
            let bottom = wait.to.map_or(self.bottom, |row| self.tops[row]);
            let _ = write!(out, "<line class=\"wait\" x1=\"{x}\" x2=\"{x}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>");
        }
    }

    fn arrow(&self, out: &mut String, arrow: &Arrow, y: f64) {
        let from = self.lanes[arrow.from];
        let target = arrow.to.filter(|&to| to != arrow.from).and_then(|to| self.lanes.get(to).copied());
        let arrived = arrow.received.is_some() && target.is_some();
        let full = target.unwrap_or(from + 90.0);
        let to = if arrived { full } else { (from + full) / 2.0 };
        let end = y + if arrived { SLANT } else { SLANT / 2.0 };
        let classes =
            [(arrow.critical, " critical"), (arrow.received.is_none(), " lost"), (arrow.failure.is_some(), " failed")];
        let classes: String = classes.into_iter().filter(|(on, _)| *on).map(|(_, class)| class).collect();
        let direction = if to > from { 1.0 } else { -1.0 };
        let _ = write!(
            out,
            "<g class=\"message{classes}\"><text class=\"time\" x=\"{:.1}\" y=\"{:.1}\">{} ms</text>",
            GUTTER - 14.0,
            y + 4.0,
            milliseconds(arrow.sent)
        );
        let shaft = to - direction * if arrived { 7.0 } else { 0.0 };
        let _ = write!(out, "<path class=\"arrow\" d=\"M{from:.1} {y:.1}L{shaft:.1} {end:.1}\"/>");
        if arrived {
            let back = to - direction * 9.0;
            let (low, high) = (end - 4.5, end + 3.5);
            let _ =
                write!(out, "<path class=\"head\" d=\"M{to:.1} {end:.1}L{back:.1} {low:.1}L{back:.1} {high:.1}Z\"/>");
        } else {
            let (x1, x2, y1, y2) = (to - 4.0, to + 4.0, end - 4.0, end + 4.0);
            let _ = write!(
                out,
                "<path class=\"cross\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}M{x1:.1} {y2:.1}L{x2:.1} {y1:.1}\"/>"
            );
        }
        let (class, x) = if target.is_some() { ("label", (from + full) / 2.0) } else { ("label beside", from + 12.0) };
        let _ = write!(
            out,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\"><tspan class=\"name\">{}</tspan>\
             <tspan class=\"remark\" dx=\"6\">{}</tspan></text></g>",
            y - 5.0,
            escape(&arrow.name),
            escape(&short_remark(arrow)),
        );
    }

    fn step(&self, out: &mut String, step: &Step, y: f64) {
        let x = self.lanes[step.lane];
        let class = if step.failure.is_some() { "message failed" } else { "message" };
        let _ = write!(
            out,
            "<g class=\"{class}\"><text class=\"time\" x=\"{:.1}\" y=\"{:.1}\">{} ms</text>\
             <circle class=\"step\" cx=\"{x}\" cy=\"{y:.1}\" r=\"6\"/>\
             <text class=\"label beside\" x=\"{:.1}\" y=\"{:.1}\">{}<tspan class=\"remark\" dx=\"6\">{}</tspan></text></g>",
            GUTTER - 14.0,
            y + 4.0,
            milliseconds(step.start),
            x + 12.0,
            y + 4.0,
            escape(&step.name),
            escape(&short_step_remark(step)),
        );
    }
}

/// The lanes that an arrow's label lies between.
fn ends(arrow: &Arrow, lanes: usize) -> (usize, usize) {
    match arrow.to {
        Some(to) if to != arrow.from => (arrow.from.min(to), arrow.from.max(to)),
        _ => (arrow.from, (arrow.from + 1).min(lanes.saturating_sub(1))),
    }
}

fn short_remark(arrow: &Arrow) -> String {
    fit(&remark(arrow), 60)
}

fn short_step_remark(step: &Step) -> String {
    fit(&step_remark(step), 60)
}

/// How wide a label will about be: fonts differ, so generously.
fn label_width(name: &str, remark: &str) -> f64 {
    name.chars().count() as f64 * 7.2 + remark.chars().count() as f64 * 6.2 + 6.0
}

fn fit(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

/// Text as it may stand in XML and HTML, in content and in attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // XML 1.0 has no way to write most control characters.
            character if character.is_control() && !matches!(character, '\n' | '\t') => escaped.push('\u{fffd}'),
            character => escaped.push(character),
        }
    }
    escaped
}
