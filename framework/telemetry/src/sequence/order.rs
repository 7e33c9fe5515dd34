//! The order of what is drawn: by time, and at the same time after what it was caused by.
//!
//! Where links take no time a request, its answer and what came of it all bear the same time. What an entity sent belongs
//! after the message whose span is above its own, then after what the entity recorded before it.

use super::arrows::Found;
use crate::conversation::Trace;
use crate::read::RecordedSpan;
use std::collections::{BTreeMap, BTreeSet};

/// Something to draw.
pub(super) enum Item<'a> {
    Message(Found<'a>),
    Step(&'a RecordedSpan),
}

impl Item<'_> {
    fn start(&self) -> u64 {
        match self {
            Self::Message(message) => message.sent,
            Self::Step(span) => span.start,
        }
    }

    /// When it is over; a lost message at once.
    fn end(&self) -> u64 {
        match self {
            Self::Message(message) => message.received.unwrap_or(message.sent),
            Self::Step(span) => span.start,
        }
    }

    /// The span that it was part of.
    fn cause(&self) -> Option<[u8; 8]> {
        match self {
            Self::Message(message) => message.cause,
            Self::Step(span) => span.parent,
        }
    }

    /// The span whose children come after it.
    fn effect(&self) -> Option<[u8; 8]> {
        match self {
            Self::Message(message) => message.effect,
            Self::Step(span) => Some(span.context.span),
        }
    }
}

/// Puts messages and steps into the order in which they are drawn.
pub(super) fn causal<'a>(trace: &Trace<'a>, messages: Vec<Found<'a>>, steps: Vec<&'a RecordedSpan>) -> Vec<Item<'a>> {
    let recorded: BTreeMap<[u8; 8], (usize, Option<[u8; 8]>)> =
        trace.spans().iter().enumerate().map(|(index, span)| (span.context.span, (index, span.parent))).collect();
    let mut items: Vec<Item<'a>> =
        messages.into_iter().map(Item::Message).chain(steps.into_iter().map(Item::Step)).collect();
    items.sort_by_key(|item| {
        let span = match item {
            // Nobody recorded when it was sent: it goes after everything else of that time.
            Item::Message(message) if message.cause.is_none() && message.assumed => None,
            Item::Message(message) => Some(message.span),
            Item::Step(span) => Some(span.context.span),
        };
        let place = span.and_then(|span| recorded.get(&span)).map_or(usize::MAX, |(index, _)| *index);
        (item.start(), item.end(), place)
    });
    let effects: BTreeMap<[u8; 8], usize> =
        items.iter().enumerate().rev().filter_map(|(index, item)| Some((item.effect()?, index))).collect();
    // What an item comes after: the nearest span above it that is the effect of another.
    let after = |index: usize| {
        let mut span = items[index].cause()?;
        // Identifiers that were drawn twice could make a circle: no chain is longer than the trace.
        for _ in 0..recorded.len() {
            match effects.get(&span) {
                Some(&cause) if cause != index && items[cause].start() <= items[index].start() => return Some(cause),
                _ => span = recorded.get(&span)?.1?,
            }
        }
        None
    };
    let mut led_to: Vec<Vec<usize>> = vec![Vec::new(); items.len()];
    let mut ready: BTreeSet<usize> = BTreeSet::new();
    for index in 0..items.len() {
        match after(index) {
            Some(cause) => led_to[cause].push(index),
            None => {
                ready.insert(index);
            }
        }
    }
    let mut items: Vec<Option<Item<'a>>> = items.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(items.len());
    while let Some(index) = ready.pop_first() {
        ready.extend(&led_to[index]);
        ordered.extend(items[index].take());
    }
    // Causes that go round in a circle come from a broken trace: drawn all the same, at the end.
    ordered.extend(items.into_iter().flatten());
    ordered
}
