//! A trace as the arrows of a sequence figure: who sent what to whom, in order.
//!
//! An arrow leads from the start of a sender's span (client or producer) to the start of a receiver's span (server or
//! consumer) whose parent is the sender's.

use ntmobile_proto::time::Instant;
use ntmobile_proto::trace::{Span, SpanKind};
use ntmobile_wire::name::Fqdn;
use std::collections::{BTreeMap, BTreeSet};

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrow {
    /// When it left for the first time.
    pub sent: Instant,
    /// When it arrived.
    pub received: Instant,
    /// Who sent it.
    pub from: Fqdn,
    /// Who received it.
    pub to: Fqdn,
    /// Its name in the papers.
    pub message: String,
    /// The conversation that it belongs to.
    pub trace: [u8; 16],
}

/// The arrows of all these spans, in order of sending, then of arriving.
pub fn arrows(spans: &[(Fqdn, Span)]) -> Vec<Arrow> {
    let sends = |span: &Span| matches!(span.kind, SpanKind::Client | SpanKind::Producer);
    let receives = |span: &Span| matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
    let senders: BTreeMap<_, _> =
        spans.iter().filter(|(_, span)| sends(span)).map(|(who, span)| (span.context, (who, span))).collect();
    let mut found: Vec<Arrow> = spans
        .iter()
        .filter(|(_, span)| receives(span))
        .filter_map(|(to, span)| {
            let cause = ntmobile_wire::trace_context::TraceContext { trace: span.context.trace, span: span.parent? };
            let (from, sender) = senders.get(&cause)?;
            if *from == to {
                // An answer that was sent again, because the request was, carries the request's own context.
                return None;
            }
            assert_eq!(sender.name, span.name, "{from} sent one thing and {to} received another");
            Some(Arrow {
                sent: sender.start,
                received: span.start,
                from: (*from).clone(),
                to: to.clone(),
                message: span.name.to_string(),
                trace: span.context.trace,
            })
        })
        .collect();
    found.sort();
    found
}

/// What is wrong with a set of spans that should be whole, in words; empty where nothing is.
pub fn flaws(spans: &[(Fqdn, Span)]) -> Vec<String> {
    let known: BTreeMap<_, _> = spans.iter().map(|(who, span)| (span.context, (who, span))).collect();
    let mut flaws = Vec::new();
    if known.len() != spans.len() {
        flaws.push("two spans have the same identity".to_owned());
    }
    for (who, span) in spans {
        if span.start > span.end {
            flaws.push(format!("{who}: {} ends before it begins", span.name));
        }
        let Some(parent) = span.parent else { continue };
        let cause = ntmobile_wire::trace_context::TraceContext { trace: span.context.trace, span: parent };
        let Some((teller, cause)) = known.get(&cause) else {
            flaws.push(format!("{who}: the parent of {} is nowhere", span.name));
            continue;
        };
        let crosses = matches!(span.kind, SpanKind::Server | SpanKind::Consumer);
        if crosses && !matches!(cause.kind, SpanKind::Client | SpanKind::Producer) {
            flaws.push(format!("{who}: {} was received from {}, which sends nothing", span.name, cause.name));
        }
        let repeated_answer = span.kind == SpanKind::Consumer && cause.kind == SpanKind::Client;
        if crosses && *teller == who && !repeated_answer {
            flaws.push(format!("{who}: {} comes from itself", span.name));
        }
        if !crosses && *teller != who {
            flaws.push(format!("{who}: the parent of {} belongs to {teller}", span.name));
        }
        if span.start < cause.start {
            flaws.push(format!("{who}: {} begins before its parent {}", span.name, cause.name));
        }
    }
    flaws
}

/// The traces that these spans belong to.
pub fn traces(spans: &[(Fqdn, Span)]) -> BTreeSet<[u8; 16]> {
    spans.iter().map(|(_, span)| span.context.trace).collect()
}
