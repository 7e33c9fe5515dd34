//! A sequence diagram as Mermaid's text.

use super::layout::{Row, milliseconds, remark, rows, seconds, step_remark, summary, wait_label};
use super::{Arrow, Sequence};
use std::fmt::Write;

/// Writes a sequence as a Mermaid `sequenceDiagram`. Messages of the critical path bear a ◆.
pub fn write(sequence: &Sequence) -> String {
    let mut out = String::from("sequenceDiagram\n");
    // Writing to a string cannot fail, here and below.
    for (lane, name) in sequence.lanes.iter().enumerate() {
        let _ = writeln!(out, "    participant L{lane} as {}", escape(name));
    }
    for row in rows(sequence) {
        match row {
            Row::Arrow(index) => message(&mut out, &sequence.arrows[index]),
            Row::Step(index) => {
                let step = &sequence.steps[index];
                let text = format!("{} ms · {} · {}", milliseconds(step.start), step.name, step_remark(step));
                let text = text.trim_end_matches(" · ");
                let _ = writeln!(out, "    Note over L{}: {}", step.lane, escape(text));
            }
            Row::Wait(lane, nanos) => {
                let _ = writeln!(out, "    Note over L{lane}: ◆ {}", wait_label(nanos));
            }
            Row::Gap(gap) => {
                let last = sequence.lanes.len().saturating_sub(1);
                let _ = writeln!(out, "    Note over L0,L{last}: {} later", seconds(gap));
            }
        }
    }
    if !sequence.critical_path.is_empty() {
        let last = sequence.lanes.len().saturating_sub(1);
        let _ =
            writeln!(out, "    Note over L0,L{last}: {}", escape(&format!("◆ critical path {}", summary(sequence))));
    }
    out
}

fn message(out: &mut String, arrow: &Arrow) {
    let mark = if arrow.critical { "◆ " } else { "" };
    let text = format!("{mark}{} ms · {} · {}", milliseconds(arrow.sent), arrow.name, remark(arrow));
    let line = if arrow.received.is_some() { "->>" } else { "-x" };
    let to = arrow.to.unwrap_or(arrow.from);
    let _ = writeln!(out, "    L{}{line}L{to}: {}", arrow.from, escape(&text));
}

/// Mermaid ends a statement at `;` and at a line break, begins an entity at `#`, and reads markup between `<` and `>`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ';' | '#' | '<' | '>' | '%' | '"' => {
                let _ = write!(escaped, "#{};", u32::from(character));
            }
            character if character.is_control() => escaped.push(' '),
            character => escaped.push(character),
        }
    }
    escaped
}
