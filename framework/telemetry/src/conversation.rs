//! Traces out of a recording, and the conversations between two nodes among them.

use crate::read::{RecordedSpan, Recording};
use std::collections::{BTreeMap, BTreeSet};

/// The name of the span in which a node sets out to reach another.
pub const CONVERSATION: &str = "Conversation";

/// The name of the span in which a node that has moved takes a conversation along. It is part of the conversation's trace.
pub const HANDOVER: &str = "Handover";

/// The name of the step in which a DC decides which way packets go.
pub const PATH_DECISION: &str = "Path Decision";

/// Why a conversation was signalled, from its `ntm.reason`.
pub const NEW_TUNNEL: &str = "new-tunnel";

/// All spans of one trace, or of one chapter of it: its beginning, or a handover.
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

    /// Its chapters: what each conversation's or handover's span has led to, up to the next. What no such span has led to
    /// belongs to the chapter of the root.
    fn chapters(self) -> Vec<Self> {
        let by_identifier: BTreeMap<[u8; 8], &RecordedSpan> =
            self.spans.iter().map(|span| (span.context.span, *span)).collect();
        let opens = |span: &RecordedSpan| matches!(&*span.name, CONVERSATION | HANDOVER);
        let root = self.root();
        let opener = |span: &'a RecordedSpan| {
            let mut current = span;
            // Identifiers that were drawn twice could make a circle: no chain is longer than the trace.
            for _ in 0..by_identifier.len() {
                if opens(current) {
                    break;
                }
                match current.parent.and_then(|parent| by_identifier.get(&parent)) {
                    Some(parent) => current = parent,
                    None => return root.context.span,
                }
            }
            current.context.span
        };
        let mut chapters: BTreeMap<[u8; 8], Vec<&'a RecordedSpan>> = BTreeMap::new();
        for span in &self.spans {
            chapters.entry(opener(span)).or_default().push(span);
        }
        let chapter = |(opener, spans): ([u8; 8], Vec<&'a RecordedSpan>)| {
            let root = spans.iter().position(|span| span.context.span == opener).unwrap_or(0);
            Self { spans, root }
        };
        chapters.into_iter().map(chapter).collect()
    }
}

/// A chapter in which one node set out to reach another, or took the conversation along to another network.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// Its spans, without those of the trace's other chapters.
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

    /// All conversations and handovers in order of their beginning.
    pub fn conversations(&self) -> Vec<Conversation<'_>> {
        let chapters = self.traces().into_iter().flat_map(Trace::chapters);
        let mut conversations: Vec<_> = chapters.filter_map(Conversation::of).collect();
        conversations.sort_by_key(|conversation| conversation.trace.start());
        conversations
    }

    /// The conversations and handovers between two nodes, whichever of them set out, in order of their beginning. A name stands for
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
        if !matches!(&*root.name, CONVERSATION | HANDOVER) {
            return None;
        }
        let node = root.text("ntm.node").unwrap_or(&root.entity);
        let peer = root.text("ntm.peer")?;
        let reason = root.text("ntm.reason").unwrap_or(NEW_TUNNEL);
        Some(Self { node, peer, reason, trace })
    }

    /// Which way its packets went in the end, such as `direct` or `through rs1.u1.example`.
    pub fn route(&self) -> Option<&'a str> {
        self.trace.root().text("ntm.route").or_else(|| self.decision()?.text("ntm.route"))
    }

    /// Why they went that way, in the words of the DC that decided it.
    pub fn because(&self) -> Option<&'a str> {
        self.decision()?.text("ntm.because")
    }

    /// The last decision is the one that counts: a direct path may have failed before.
    fn decision(&self) -> Option<&'a RecordedSpan> {
        self.trace.spans.iter().rev().find(|span| &*span.name == PATH_DECISION).copied()
    }
}

/// Whether a name that somebody gave stands for an entity: it is its name, or begins it and ends before a dot.
pub fn stands_for(short: &str, name: &str) -> bool {
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

    #[test]
    fn a_handover_is_a_chapter_of_its_own() {
        let mut handover = conversation(1, "bob.u2.example", "alice.u1.example", 60);
        handover.name = HANDOVER.into();
        handover.context.span = [20; 8];
        handover.parent = Some([3; 8]);
        handover.attributes.push(("ntm.reason".into(), "handover".into()));
        let mut decision = span(1, 21, Some(20), PATH_DECISION, 61);
        decision.attributes.push(("ntm.because".into(), "one end can be reached".into()));
        decision.attributes.push(("ntm.route".into(), "direct".into()));
        let recording = recording(vec![
            conversation(1, "alice.u1.example", "bob.u2.example", 10),
            span(1, 3, Some(1), "Route Direction", 11),
            span(1, 4, Some(99), "of a cause that was cut off", 12),
            handover,
            decision,
        ]);
        let conversations = recording.conversations();
        let found: Vec<_> = conversations
            .iter()
            .map(|found| (found.node, found.reason, found.trace.start(), found.trace.spans().len()))
            .collect();
        assert_eq!(found, [("alice.u1.example", NEW_TUNNEL, 10, 3), ("bob.u2.example", "handover", 60, 2)]);
        assert_eq!(conversations[1].because(), Some("one end can be reached"));
        assert_eq!(conversations[1].route(), Some("direct"));
        assert_eq!(conversations[0].because(), None);
        assert_eq!(recording.traces().len(), 1, "it is still one trace");
    }

    #[test]
    fn a_circle_of_causes_ends() {
        let recording = recording(vec![
            conversation(1, "alice.u1.example", "bob.u2.example", 10),
            span(1, 3, Some(4), "hen", 11),
            span(1, 4, Some(3), "egg", 12),
        ]);
        assert!(!recording.conversations().is_empty());
    }
}
