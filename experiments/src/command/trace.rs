//! `ntm trace`: how two nodes came to talk, drawn from the trace of a run.

use crate::cli::TraceArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_lab::record::RunDirectory;
use ntmobile_telemetry::conversation::stands_for;
use ntmobile_telemetry::read::Recording;
use ntmobile_telemetry::sequence::{Sequence, mermaid, svg, text};
use std::collections::BTreeSet;
use std::io::{Write, stdout};
use thiserror::Error;

/// Draws every conversation of the two.
pub fn trace(arguments: &TraceArguments, terminal: &Terminal) -> Result<(), Failure> {
    let directory = RunDirectory::open(&arguments.run)?;
    let path = directory.trace_path();
    let recording = Recording::open(&path).map_err(|source| Failure::Trace { path, source })?;
    let conversations = recording.conversations_between(&arguments.a, &arguments.b);
    if conversations.is_empty() {
        return Err(missing(&recording, arguments).into());
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

/// Why there is nothing to draw, and what there is instead.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Missing {
    /// Nobody of this name took part.
    #[error("nobody in this run is called {name}. {}", list("These are", .known))]
    Nobody {
        /// The name.
        name: String,
        /// Who took part in conversations.
        known: Vec<String>,
    },
    /// Both took part, but not with each other.
    #[error("{one} and {other} did not talk in this run. {}", list("These did", .pairs))]
    NoConversation {
        /// One.
        one: String,
        /// The other.
        other: String,
        /// Who did talk.
        pairs: Vec<String>,
    },
}

/// What there is, or that there is nothing.
fn list(what: &str, names: &[String]) -> String {
    if names.is_empty() { "Nobody in it talked to anybody".to_owned() } else { format!("{what}: {}", names.join(", ")) }
}

fn missing(recording: &Recording, arguments: &TraceArguments) -> Missing {
    let conversations = recording.conversations();
    let entities = recording.entities();
    for name in [&arguments.a, &arguments.b] {
        let is_called = |known: &str| stands_for(name, known);
        let called = conversations.iter().any(|conversation| is_called(conversation.peer));
        if !called && !entities.iter().any(|known| is_called(known)) {
            let known = conversations.iter().flat_map(|conversation| [conversation.node, conversation.peer]);
            return Missing::Nobody { name: name.clone(), known: sorted(known.map(|name| host(name).to_owned())) };
        }
    }
    let pairs = conversations.iter().map(|one| format!("{} {}", host(one.node), host(one.peer)));
    Missing::NoConversation { one: arguments.a.clone(), other: arguments.b.clone(), pairs: sorted(pairs) }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

fn host(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A run in which alice talked to bob, as its trace's one line tells.
    const TRACE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"alice.u1.example"}}]},"scopeSpans":[{"spans":[{"traceId":"01010101010101010101010101010101","spanId":"0202020202020202","name":"Conversation","kind":1,"startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600000000001","attributes":[{"key":"ntm.node","value":{"stringValue":"alice.u1.example"}},{"key":"ntm.peer","value":{"stringValue":"bob.u2.example"}}]}]}]}]}"#;

    fn drawn(run: &Path, a: &str, b: &str) -> Result<(), Failure> {
        let (a, b) = (a.to_owned(), b.to_owned());
        let arguments = TraceArguments { run: run.to_owned(), a, b, mermaid: true, svg: false };
        trace(&arguments, &Terminal::PLAIN)
    }

    #[test]
    fn what_cannot_be_drawn_says_why_and_what_can() {
        let home = std::env::temp_dir().join(format!("ntm-trace-{}", std::process::id()));
        let said = |a: &str, b: &str| drawn(&home, a, b).expect_err("there is nothing to draw").to_string();
        assert!(
            said("alice", "bob").ends_with("there is no such directory; `ntm run` writes one"),
            "{}",
            said("alice", "bob")
        );
        std::fs::create_dir_all(&home).expect("a directory for the test");
        assert!(said("alice", "bob").ends_with("holds no run: it has no manifest.json"));
        std::fs::write(home.join("manifest.json"), "{}").expect("written");
        std::fs::write(home.join("trace.otlp.jsonl"), TRACE).expect("written");
        drawn(&home, "alice", "bob").expect("drawn by short names");
        drawn(&home, "bob.u2.example", "alice.u1").expect("drawn by full names");
        assert_eq!(said("alice", "mallory"), "nobody in this run is called mallory. These are: alice, bob");
        assert_eq!(said("alice", "alice"), "alice and alice did not talk in this run. These did: alice bob");
        std::fs::write(home.join("trace.otlp.jsonl"), &TRACE[..100]).expect("written");
        assert!(said("alice", "bob").contains("line 1 of the trace is not OTLP/JSON"), "{}", said("alice", "bob"));
        std::fs::remove_dir_all(&home).expect("removed");
    }
}
