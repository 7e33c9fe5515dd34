//! `ntm trace`: how two nodes came to talk, drawn from the trace of a run.

use crate::cli::TraceArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_lab::record::RunDirectory;
use ntmobile_telemetry::read::Recording;
use ntmobile_telemetry::sequence::{Sequence, mermaid, svg, text};
use std::io::{Write, stdout};

/// Draws every conversation of the two.
pub fn trace(arguments: &TraceArguments, terminal: &Terminal) -> Result<(), Failure> {
    let directory = RunDirectory::open(&arguments.run)?;
    let path = directory.trace_path();
    let recording = Recording::open(&path).map_err(|source| Failure::Trace { path, source })?;
    let conversations = recording.conversations_between(&arguments.a, &arguments.b);
    if conversations.is_empty() {
        return Err(Failure::NotThere(missing(&recording, arguments)));
    }
    let mut out = stdout().lock();
    for conversation in conversations {
        let sequence = Sequence::of(&conversation.trace);
        if arguments.mermaid {
            writeln!(out, "{}", mermaid::write(&sequence))?;
        } else if arguments.svg {
            writeln!(out, "{}", svg::draw(&sequence, svg::Place::Alone))?;
        } else {
            let heading = format!("{} → {} ({})", conversation.node, conversation.peer, conversation.reason);
            writeln!(out, "{}\n", terminal.bold(&heading))?;
            let style = text::Style { width: terminal.width(), colour: terminal.has_colours() };
            writeln!(out, "{}", text::draw(&sequence, style))?;
        }
    }
    Ok(())
}

/// What there is instead.
fn missing(recording: &Recording, arguments: &TraceArguments) -> String {
    let mut pairs: Vec<String> = recording
        .conversations()
        .iter()
        .map(|conversation| format!("{} {}", host(conversation.node), host(conversation.peer)))
        .collect();
    pairs.sort();
    pairs.dedup();
    let (a, b) = (&arguments.a, &arguments.b);
    if pairs.is_empty() {
        format!("{a} and {b} did not talk in this run, and nobody else did")
    } else {
        format!("{a} and {b} did not talk in this run. These did: {}", pairs.join(", "))
    }
}

fn host(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}
