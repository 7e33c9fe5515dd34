//! A trace as a sequence diagram: who sent what to whom, when it arrived, and which messages the end waited for.
//!
//! [`Sequence::of`] reads it off a trace; [`text`], [`svg`] and [`mermaid`] draw it. Times are nanoseconds since the trace began.

mod arrows;
mod critical;
mod layout;
pub mod mermaid;
mod order;
pub mod svg;
pub mod text;
mod unchecked;

use crate::conversation::Trace;
use crate::read::RecordedSpan;
use ntmobile_proto::trace::SpanKind;
use serde::{Deserialize, Serialize};

use order::Item;

pub use layout::milliseconds;
pub use unchecked::SequenceError;

/// The name of the span with which a conversation has reached its purpose.
pub const FIRST_APPLICATION_PACKET: &str = "First application packet";

/// A sequence diagram.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "unchecked::Unchecked")]
pub struct Sequence {
    /// The name of the root span.
    pub name: String,
    /// The entities, in order of their first appearance.
    pub lanes: Vec<String>,
    /// The messages, in order of sending; those of the same time after what caused them.
    pub arrows: Vec<Arrow>,
    /// What entities did by themselves, in order of beginning.
    pub steps: Vec<Step>,
    /// The chain of messages and waits that determined the end, in order of time and without a gap.
    pub critical_path: Vec<Link>,
}

/// One transmission of a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arrow {
    /// The lane of the sender.
    pub from: usize,
    /// The lane of the receiver; unknown where it was never seen and nobody said whom it was for.
    pub to: Option<usize>,
    /// The name of the message.
    pub name: String,
    /// What else is known about it, such as `TLS`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it was sent.
    pub sent: u64,
    /// When it arrived; `None` if it was lost on the way, or ignored as the repetition of one that had arrived.
    pub received: Option<u64>,
    /// Whether it is another transmission of a message that was sent before.
    pub repetition: bool,
    /// Whether the time at the other end is not recorded and the middle of the round trip is shown in its stead.
    pub assumed: bool,
    /// Why the request failed, if it did.
    pub failure: Option<String>,
    /// Whether the end waited for it.
    pub critical: bool,
}

/// Something that an entity did by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Whose lane.
    pub lane: usize,
    /// What.
    pub name: String,
    /// What came of it, such as `through rs1.u1.example: both ends are behind NATs`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// When it began.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// How many of the messages are drawn above it.
    pub after: usize,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// A part of the critical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Link {
    /// A message was on its way.
    Message {
        /// Its index among the arrows.
        arrow: usize,
        /// When it was sent.
        from: u64,
        /// When it arrived.
        to: u64,
    },
    /// An entity computed, or waited for a timer.
    Wait {
        /// Whose lane.
        lane: usize,
        /// From when.
        from: u64,
        /// Until when.
        to: u64,
    },
}

impl Link {
    /// How long it took.
    pub fn duration(&self) -> u64 {
        let (Self::Message { from, to, .. } | Self::Wait { from, to, .. }) = self;
        to - from
    }
}

impl Sequence {
    /// Reads the diagram off a trace.
    pub fn of(trace: &Trace<'_>) -> Self {
        let origin = trace.start();
        // In a file that was tampered with, an event may lie before the beginning.
        let offset = |time: u64| time.saturating_sub(origin);
        let root = trace.root();
        let found = arrows::find(trace);
        let is_arrow = |span: &RecordedSpan| found.iter().any(|message| message.effect == Some(span.context.span));
        let shown =
            |span: &&RecordedSpan| span.kind == SpanKind::Internal && span.context != root.context && !is_arrow(span);
        let own: Vec<&RecordedSpan> = trace.spans().iter().copied().filter(shown).collect();
        let items = order::causal(trace, found, own);

        let mut lanes = Lanes::default();
        lanes.index(&root.entity);
        let mut sequence = Self { name: root.name.to_string(), ..Self::default() };
        let mut found = Vec::new();
        for item in items {
            match item {
                Item::Step(span) => sequence.steps.push(step(span, origin, found.len(), &mut lanes)),
                Item::Message(message) => {
                    lanes.index(message.from);
                    if let Some(to) = message.to {
                        lanes.index(to);
                    }
                    found.push(message);
                }
            }
        }
        let path = critical::path(&found, critical::end(trace), origin);
        for (index, message) in found.iter().enumerate() {
            sequence.arrows.push(Arrow {
                from: lanes.index(message.from),
                to: message.to.map(|to| lanes.index(to)),
                name: message.name.to_owned(),
                detail: message.detail.clone(),
                sent: offset(message.sent),
                received: message.received.map(offset),
                repetition: message.repetition,
                assumed: message.assumed,
                failure: message.failure.map(str::to_owned),
                critical: path.iter().any(|part| part.message == Some(index)),
            });
        }
        sequence.critical_path = path
            .into_iter()
            .map(|part| match part.message {
                Some(arrow) => Link::Message { arrow, from: offset(part.from), to: offset(part.to) },
                None => Link::Wait { lane: lanes.index(part.entity), from: offset(part.from), to: offset(part.to) },
            })
            .collect();
        sequence.lanes = lanes.names;
        sequence
    }

    /// How long it took until the end that the critical path leads to.
    pub fn duration(&self) -> u64 {
        self.critical_path.iter().map(Link::duration).sum()
    }
}

fn step(span: &RecordedSpan, origin: u64, after: usize, lanes: &mut Lanes) -> Step {
    Step {
        lane: lanes.index(&span.entity),
        name: span.name.to_string(),
        detail: step_detail(span),
        start: span.start - origin,
        end: span.end - origin,
        after,
        failure: span.failure.clone(),
    }
}

/// What steps say about themselves.
fn step_detail(span: &RecordedSpan) -> String {
    let known = ["ntm.lookup", "ntm.route", "ntm.because"];
    known.into_iter().filter_map(|attribute| span.text(attribute)).collect::<Vec<_>>().join(": ")
}

/// The entities that have appeared so far.
#[derive(Default)]
struct Lanes {
    names: Vec<String>,
}

impl Lanes {
    fn index(&mut self, name: &str) -> usize {
        self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        })
    }
}

#[cfg(test)]
mod tests;
