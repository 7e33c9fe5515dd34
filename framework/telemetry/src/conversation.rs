//! Traces out of a recording, and the conversations between two nodes among them.

use crate::read::{RecordedSpan, Recording};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the span that a conversation starts with.
pub const CONVERSATION: &str = "Conversation";

/// Why a conversation was signalled, from its `ntm.reason`.
pub const NEW_TUNNEL: &str = "new-tunnel";

/// All spans of one trace.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    /// By start, then end; never empty.
    spans: Vec<&'a RecordedSpan>,
    root: usize,
}

impl<'a> Trace<'a> {
    /// All spans by start, then end.
    pub fn spans(&self) -> &[&'a RecordedSpan] {
        &self.spans
    }

    /// The span that everything else comes from. In a trace that was cut off, the first whose cause is not in it.
    pub fn root(&self) -> &'a RecordedSpan {
        self.spans[self.root]
    }

    /// When it began, in nanoseconds since 1970.
    pub fn start(&self) -> u64 {
        self.spans[0].start.min(self.root().start)
    }

    fn new(spans: Vec<&'a RecordedSpan>) -> Self {
        let known: BTreeSet<[u8; 8]> = spans.iter().map(|span| span.context.span).collect();
        let parentless = spans.iter().position(|span| span.parent.is_none());
        let orphan = || spans.iter().position(|span| span.parent.is_none_or(|parent| !known.contains(&parent)));
        let root = parentless.or_else(orphan).unwrap_or(0);
        Self { spans, root }
    }
}

/// A trace in which one node set out to reach another.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// Its spans.
    pub trace: Trace<'a>,
    /// The node that set out.
    pub node: &'a str,
    /// The node it wanted.
    pub peer: &'a str,
    /// Why: `new-tunnel`, `handover` or `direct-failed`.
    pub reason: &'a str,
}

impl Recording {
    /// All traces in order of their beginning.
    pub fn traces(&self) -> Vec<Trace<'_>> {
        let mut by_identifier: BTreeMap<[u8; 16], Vec<&RecordedSpan>> = BTreeMap::new();
        for span in &self.spans {
            by_identifier.entry(span.context.trace).or_default().push(span);
        }
        let mut traces: Vec<_> = by_identifier.into_values().map(Trace::new).collect();
        traces.sort_by_key(Trace::start);
        traces
    }

    /// All conversations in order of their beginning.
    pub fn conversations(&self) -> Vec<Conversation<'_>> {
        self.traces().into_iter().filter_map(Conversation::of).collect()
    }

    /// The conversations between two nodes, whichever of them set out, in order of their beginning. A name stands for
    /// every node whose name is it or begins with it and a dot: `alice` for `alice.u1.example`.
    pub fn conversations_between(&self, one: &str, other: &str) -> Vec<Conversation<'_>> {
        let between = |conversation: &Conversation<'_>| {
            let Conversation { node, peer, .. } = conversation;
            (stands_for(one, node) && stands_for(other, peer)) || (stands_for(one, peer) && stands_for(other, node))
        };
        self.conversations().into_iter().filter(between).collect()
    }

    /// The names of all entities that recorded anything.
    pub fn entities(&self) -> BTreeSet<&str> {
        let spans = self.spans.iter().map(|span| &*span.entity);
        spans.chain(self.counters.keys().map(String::as_str)).collect()
    }
}

impl<'a> Conversation<'a> {
    fn of(trace: Trace<'a>) -> Option<Self> {
        let root = trace.root();
        if &*root.name != CONVERSATION {
            return None;
        }
        let node = root.text("ntm.node").unwrap_or(&root.entity);
        let peer = root.text("ntm.peer")?;
        let reason = root.text("ntm.reason").unwrap_or(NEW_TUNNEL);
        Some(Self { node, peer, reason, trace })
    }
}

fn stands_for(short: &str, name: &str) -> bool {
    let short = short.trim_end_matches('.');
    name.get(..short.len()).is_some_and(|start| start.eq_ignore_ascii_case(short))
        && matches!(name.as_bytes().get(short.len()), None | Some(b'.'))
        && !short.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_proto::trace::SpanKind;
    use ntmobile_wire::trace_context::TraceContext;

    fn span(trace: u8, number: u8, parent: Option<u8>, name: &str, start: u64) -> RecordedSpan {
        RecordedSpan {
            entity: "alice.u1.example".into(),
            context: TraceContext { trace: [trace; 16], span: [number; 8] },
            parent: parent.map(|parent| [parent; 8]),
            links: Vec::new(),
            name: name.into(),
            kind: SpanKind::Internal,
            start,
            end: start + 10,
            attributes: Vec::new(),
            events: Vec::new(),
            failure: None,
        }
    }

    fn conversation(trace: u8, node: &str, peer: &str, start: u64) -> RecordedSpan {
        let mut root = span(trace, trace, None, CONVERSATION, start);
        root.attributes.push(("ntm.node".into(), node.to_owned().into()));
        root.attributes.push(("ntm.peer".into(), peer.to_owned().into()));
        root
    }

    fn recording(mut spans: Vec<RecordedSpan>) -> Recording {
        spans.sort_by_key(|span| (span.start, span.end));
        Recording { spans, ..Recording::default() }
    }

    #[test]
    fn spans_are_grouped_by_trace_in_order_of_beginning() {
        let recording = recording(vec![
            span(9, 1, None, "Login", 5),
            span(1, 2, None, "Registration", 20),
            span(9, 3, Some(1), "Login Request", 6),
        ]);
        let traces = recording.traces();
        let names: Vec<Vec<&str>> =
            traces.iter().map(|trace| trace.spans().iter().map(|span| &*span.name).collect()).collect();
        assert_eq!(names, [vec!["Login", "Login Request"], vec!["Registration"]]);
        assert_eq!(&*traces[0].root().name, "Login");
    }

    #[test]
    fn the_root_is_found_even_when_it_starts_last_or_is_missing() {
        let late = recording(vec![span(1, 2, Some(1), "DNS Query", 3), span(1, 1, None, CONVERSATION, 4)]);
        assert_eq!(&*late.traces()[0].root().name, CONVERSATION);
        assert_eq!(late.traces()[0].start(), 3);
        let missing = recording(vec![span(1, 3, Some(2), "inner", 3), span(1, 2, Some(1), "outer", 3)]);
        assert_eq!(&*missing.traces()[0].root().name, "outer");
    }

    #[test]
    fn conversations_are_found_by_either_end_and_by_short_names() {
        let recording = recording(vec![
            conversation(1, "alice.u1.example", "bob.u2.example", 30),
            conversation(2, "bob.u2.example", "alice.u1.example", 10),
            conversation(3, "alice.u1.example", "bobby.u2.example", 20),
            span(4, 1, None, "Login", 1),
        ]);
        let starts = |one: &str, other: &str| -> Vec<u64> {
            recording.conversations_between(one, other).iter().map(|found| found.trace.start()).collect()
        };
        assert_eq!(starts("alice", "bob"), [10, 30]);
        assert_eq!(starts("bob.u2.example", "ALICE.u1"), [10, 30]);
        assert_eq!(starts("alice", "bobby"), [20]);
        assert_eq!(starts("alice", "carol"), [0; 0]);
        assert_eq!(starts("", "bob"), [0; 0]);
        assert_eq!(recording.conversations().len(), 3);
    }
}
