//! The run as a picture: for each column of a part a panel of bars, the spread of the rounds across each bar's end.

use crate::record::Record;
use crate::table::number;
use ntmobile_telemetry::sequence::svg::escape;
use std::fmt::Write;

const PANEL: f64 = 440.0;
const GAP: f64 = 28.0;
const MARGIN: f64 = 24.0;
const HEADER: f64 = 64.0;
const TITLE: f64 = 30.0;
const ROW: f64 = 22.0;
const LABEL: f64 = 118.0;
const VALUE: f64 = 62.0;

const STYLE: &str = "\
svg{background:#fff;font-family:system-ui,sans-serif;font-size:12px;--ink:#1b1f24;--muted:#57606a;--bar:#9fb3c8;--ours:#0b65c2}\
text{fill:var(--ink)}.title{font-size:17px;font-weight:600}.panel{font-weight:600}.muted{fill:var(--muted)}\
.name{text-anchor:end}.bar{fill:var(--bar)}.ours .bar{fill:var(--ours)}.ours text{font-weight:600}\
.value{font-variant-numeric:tabular-nums}.spread{stroke:var(--ink);stroke-width:1.2}\
@media (prefers-color-scheme:dark){svg{background:#0d1117;--ink:#e6edf3;--muted:#9aa7b4;--bar:#46566a;--ours:#58a6ff}}";

/// One panel: what it shows, and of which column.
#[derive(Clone, Debug)]
pub(crate) struct Panel<'a> {
    pub(crate) part: &'a str,
    pub(crate) column: &'a str,
    pub(crate) caption: &'a str,
}

/// Draws panels in two columns.
pub(crate) fn draw(record: &Record, title: &str, remark: &str, panels: &[Panel<'_>]) -> String {
    let heights: Vec<f64> =
        panels.iter().map(|panel| TITLE + ROW * record.rows(panel.part).len() as f64 + GAP).collect();
    let rows: Vec<f64> = heights.chunks(2).map(|row| row.iter().copied().fold(0.0, f64::max)).collect();
    let (width, height) = (2.0 * PANEL + GAP + 2.0 * MARGIN, HEADER + rows.iter().sum::<f64>() + MARGIN);
    let mut out = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" aria-labelledby=\"peers-title\"><title id=\"peers-title\">{0}</title>\
         <style>{STYLE}</style><text class=\"title\" x=\"{MARGIN}\" y=\"32\">{0}</text>\
         <text class=\"muted\" x=\"{MARGIN}\" y=\"51\">{1}</text>",
        escape(title),
        escape(remark),
    );
    let mut top = HEADER;
    for (pair, height) in panels.chunks(2).zip(rows) {
        for (place, panel) in pair.iter().enumerate() {
            draw_panel(&mut out, record, panel, MARGIN + place as f64 * (PANEL + GAP), top);
        }
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

fn draw_panel(out: &mut String, record: &Record, panel: &Panel<'_>, left: f64, top: f64) {
    let rows = record.rows(panel.part);
    let medians: Vec<_> = rows.iter().map(|row| (*row, record.median(panel.part, row, panel.column))).collect();
    let longest =
        medians.iter().filter_map(|(_, median)| Some(median.as_ref()?.most)).fold(f64::MIN_POSITIVE, f64::max);
    let room = PANEL - LABEL - VALUE;
    let _ =
        write!(out, "<text class=\"panel\" x=\"{left:.1}\" y=\"{:.1}\">{}</text>", top + 16.0, escape(panel.caption));
    for (number_of_row, (row, median)) in medians.iter().enumerate() {
        let y = top + TITLE + ROW * number_of_row as f64;
        let (middle, bar) = (y + ROW / 2.0, left + LABEL);
        let class = if row.starts_with("ours") { " class=\"ours\"" } else { "" };
        let _ = write!(
            out,
            "<g{class}><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            bar - 8.0,
            middle + 4.0,
            escape(row)
        );
        if let Some(median) = median {
            let [length, least, most] = [median.value, median.least, median.most].map(|value| value / longest * room);
            let _ = write!(
                out,
                "<rect class=\"bar\" x=\"{bar:.1}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\"/>\
                 <line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\
                 <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                y + 3.0,
                ROW - 6.0,
                bar + least,
                bar + most,
                bar + most.max(length) + 6.0,
                middle + 4.0,
                number(median.value),
            );
        } else {
            let _ = write!(out, "<text class=\"muted\" x=\"{bar:.1}\" y=\"{:.1}\">–</text>", middle + 4.0);
        }
        out.push_str("</g>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sample;

    #[test]
    fn the_longest_bar_fills_its_room_and_names_are_escaped() {
        let sample = |row: &str, value| Sample {
            part: "tools",
            row: row.to_owned(),
            column: "Mb/s".to_owned(),
            round: 1,
            value,
            disturbed: false,
        };
        let record = Record { samples: vec![sample("<ours>", 50.0), sample("b", 100.0)], ..Record::default() };
        let panel = Panel { part: "tools", column: "Mb/s", caption: "TCP" };
        let drawn = draw(&record, "Peers", "", &[panel]);
        assert!(drawn.contains("&lt;ours&gt;") && !drawn.contains("<ours>"));
        assert!(drawn.contains("width=\"260.0\"") && drawn.contains("width=\"130.0\""), "{drawn}");
    }
}
