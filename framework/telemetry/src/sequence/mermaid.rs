//! A sequence diagram as Mermaid's text.

use super::layout::{Row, milliseconds, remark, rows, seconds, summary};
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
                let failure = step.failure.as_ref().map(|failure| format!(" · failed: {failure}")).unwrap_or_default();
                let text = format!("{} ms · {}{failure}", milliseconds(step.start), step.name);
                let _ = writeln!(out, "    Note over L{}: {}", step.lane, escape(&text));
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
