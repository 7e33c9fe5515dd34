//! The critical path: the chain of messages and waits that determined when a trace reached its end.
//!
//! It is walked backwards. What an entity did at some time waited for the last message that it had received by then;
//! that message waited for what its sender had received before; and so on to the beginning. What lies between the arrival of
//! one message and the sending of the next is a wait: computation or a timer.

use super::FIRST_APPLICATION_PACKET;
use super::arrows::Found;
use crate::conversation::Trace;
use crate::read::RecordedSpan;
use ntmobile_proto::trace::SpanKind;

/// A part of the path; without a message it is a wait. Times are nanoseconds since 1970.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) message: Option<usize>,
    pub(super) entity: &'a str,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Where and when the trace reached its end: with the first application packet to arrive, or else with the root span.
pub(super) fn end<'a>(trace: &Trace<'a>) -> (&'a str, u64) {
    let arrives = |span: &&&RecordedSpan| {
        let is_received = matches!(span.kind, SpanKind::Internal | SpanKind::Server | SpanKind::Consumer);
        &*span.name == FIRST_APPLICATION_PACKET && is_received
    };
    let first = trace.spans().iter().filter(arrives).min_by_key(|span| span.end);
    let last = first.copied().unwrap_or_else(|| trace.root());
    (&last.entity, last.end)
}

/// The path to an end from the trace's beginning, in order of time and without a gap.
pub(super) fn path<'a>(messages: &[Found<'a>], end: (&'a str, u64), origin: u64) -> Vec<Part<'a>> {
    let mut path = Vec::new();
    let mut used = vec![false; messages.len()];
    let mut cause = None;
    // Nothing waited for what is drawn below it, though it may bear the same time.
    let mut limit = messages.len();
    let (mut entity, mut time) = end;
    loop {
        let candidates = messages[..limit].iter().enumerate().filter_map(|(index, message)| {
            let received = message.received.filter(|&received| received <= time && message.sent <= received)?;
            // Of messages that came at once, the one that the step says it was caused by.
            let named = cause.is_some() && message.effect == cause;
            (message.to == Some(entity) && !used[index]).then_some((received, named, index))
        });
        let Some((received, _, index)) = candidates.max() else { break };
        let message = &messages[index];
        used[index] = true;
        limit = index;
        if received < time {
            path.push(Part { message: None, entity, from: received, to: time });
        }
        path.push(Part { message: Some(index), entity: message.from, from: message.sent, to: received });
        (entity, time, cause) = (message.from, message.sent, message.cause);
    }
    if origin < time {
        path.push(Part { message: None, entity, from: origin, to: time });
    }
    path.reverse();
    path
}
