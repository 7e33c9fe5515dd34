//! Messages out of spans: a sender's span and the spans of those who received it.

use super::FIRST_APPLICATION_PACKET;
use crate::conversation::Trace;
use crate::read::RecordedSpan;
use ntmobile_proto::trace::{SpanKind, Value};
use std::collections::BTreeMap;

/// The attribute that names the server a request was for.
const SERVER: &str = "ntm.server";

/// The attribute that names who is at the other end.
const PEER: &str = "ntm.peer";

/// The attribute of a message that was passed on as it came, to somebody else.
const PASSED_ON: &str = "ntm.passed_on";

/// The attribute that says what carried it.
const TRANSPORT: &str = "ntm.transport";

/// One transmission of a message; times are nanoseconds since 1970.
#[derive(Clone, Debug)]
pub(super) struct Found<'a> {
    pub(super) from: &'a str,
    pub(super) to: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) detail: String,
    pub(super) sent: u64,
    pub(super) received: Option<u64>,
    pub(super) repetition: bool,
    pub(super) assumed: bool,
    pub(super) failure: Option<&'a str>,
    /// The span that tells of it: the sender's, or the receiver's where there is none.
    pub(super) span: [u8; 8],
    /// The span that sending it was part of.
    pub(super) cause: Option<[u8; 8]>,
    /// The span of having received it.
    pub(super) effect: Option<[u8; 8]>,
}

/// All messages of a trace, in no particular order.
pub(super) fn find<'a>(trace: &Trace<'a>) -> Vec<Found<'a>> {
    let senders: BTreeMap<[u8; 8], &RecordedSpan> =
        trace.spans().iter().filter(|span| sends(span)).map(|span| (span.context.span, *span)).collect();
    let mut received: BTreeMap<[u8; 8], Vec<&RecordedSpan>> = BTreeMap::new();
    // An answer that was sent again, because the request was, carries the request's own context.
    let mut answered: BTreeMap<[u8; 8], Vec<&RecordedSpan>> = BTreeMap::new();
    // What came through a relay, by the span of having received it.
    let mut relayed: BTreeMap<[u8; 8], (&str, &str)> = BTreeMap::new();
    let mut found = Vec::new();
    for span in trace.spans().iter().copied().filter(|span| receives(span)) {
        match span.parent.and_then(|parent| senders.get(&parent)) {
            Some(sender) if sender.entity != span.entity => {
                received.entry(sender.context.span).or_default().push(span);
            }
            Some(request) => answered.entry(request.context.span).or_default().push(span),
            None => found.extend(from_unrecorded_sender(span)),
        }
    }
    for sender in senders.into_values() {
        let receivers = received.remove(&sender.context.span).unwrap_or_default();
        if receivers.is_empty() && sender.kind == SpanKind::Client && sender.failure.is_none() {
            found.extend(round_trip(sender));
        } else {
            let (relays, ends): (Vec<_>, Vec<_>) =
                receivers.into_iter().partition(|span| span.attribute(PASSED_ON).is_some());
            let mut sent = transmissions(sender, if relays.is_empty() { &ends } else { &relays });
            if !relays.is_empty() {
                sent.extend(passed_on(sender, &relays, &ends));
                relayed.extend(ends.iter().map(|end| (end.context.span, (&*relays[0].entity, &*sender.entity))));
            }
            for answer in answered.remove(&sender.context.span).unwrap_or_default() {
                let answer = repeated_answer(sender, answer, &mut sent);
                sent.extend(answer);
            }
            found.extend(sent);
        }
    }
    // An answer goes to where the request came from, so through the same relay; which cannot open it and records nothing.
    for message in &mut found {
        if let Some((relay, asker)) = message.cause.and_then(|cause| relayed.get(&cause))
            && message.to == Some(asker)
        {
            message.detail = format!("by {relay}");
        }
    }
    first_packets(trace, &mut found);
    found
}

/// The second part of the way of a message that came by a relay: each copy that it passed on, to those who received one.
fn passed_on<'a>(sender: &'a RecordedSpan, relays: &[&'a RecordedSpan], ends: &[&'a RecordedSpan]) -> Vec<Found<'a>> {
    let to = ends.first().map(|end| &*end.entity);
    let mut found: Vec<Found<'_>> = relays
        .iter()
        .filter(|relay| relay.attribute(PASSED_ON) == Some(&Value::Flag(true)))
        .map(|relay| Found {
            sent: relay.end,
            repetition: relay.context.span != relays[0].context.span,
            span: relay.context.span,
            cause: Some(relay.context.span),
            ..message(&relay.entity, to, sender)
        })
        .collect();
    for end in ends {
        let last = found.iter_mut().rfind(|found| found.sent <= end.start && found.received.is_none());
        if let Some(found) = last {
            *found = Found {
                to: Some(&end.entity),
                received: Some(end.start),
                effect: Some(end.context.span),
                ..found.clone()
            };
        }
    }
    found
}

fn sends(span: &RecordedSpan) -> bool {
    matches!(span.kind, SpanKind::Client | SpanKind::Producer)
}

fn receives(span: &RecordedSpan) -> bool {
    matches!(span.kind, SpanKind::Server | SpanKind::Consumer)
}

fn other_end(span: &RecordedSpan) -> Option<&str> {
    span.text(SERVER).or_else(|| span.text(PEER))
}

fn message<'a>(from: &'a str, to: Option<&'a str>, span: &'a RecordedSpan) -> Found<'a> {
    Found {
        from,
        to,
        name: &span.name,
        detail: if span.text(TRANSPORT) == Some("tls") { "TLS".to_owned() } else { String::new() },
        sent: span.start,
        received: None,
        repetition: false,
        assumed: false,
        failure: None,
        span: span.context.span,
        cause: span.parent,
        effect: None,
    }
}

/// Every time a message was sent, and those times that it arrived. A receiver had it from the last transmission before
/// it: an earlier one would have come earlier.
fn transmissions<'a>(sender: &'a RecordedSpan, receivers: &[&'a RecordedSpan]) -> Vec<Found<'a>> {
    let to = receivers.first().map(|receiver| &*receiver.entity).or_else(|| other_end(sender));
    let repeated = sender.events.iter().filter(|(_, name)| name.starts_with("retransm")).map(|(at, _)| *at);
    let mut sent: Vec<u64> = std::iter::once(sender.start).chain(repeated).collect();
    sent.sort_unstable();
    sent.dedup();
    let mut found: Vec<Found<'_>> = sent
        .iter()
        .map(|&sent| {
            let repetition = sent != sender.start;
            let failure = sender.failure.as_deref().filter(|_| !repetition);
            Found { sent, repetition, failure, ..message(&sender.entity, to, sender) }
        })
        .collect();
    for receiver in receivers {
        let arrival = receiver.start.max(sender.start);
        let index = sent.partition_point(|&sent| sent <= arrival).saturating_sub(1);
        let (to, effect) = (Some(&*receiver.entity), Some(receiver.context.span));
        match found.get_mut(index) {
            Some(free) if free.received.is_none() => {
                *free = Found { to, received: Some(arrival), effect, ..free.clone() };
            }
            // A copy that the network made.
            Some(taken) => {
                let copy = Found { to, received: Some(arrival), effect, repetition: true, ..taken.clone() };
                found.push(copy);
            }
            None => {}
        }
    }
    found
}

/// A request to somebody who records nothing, such as a DNS server: only the round trip is known, so the middle of it
/// stands for the time at the other end.
fn round_trip(request: &RecordedSpan) -> Vec<Found<'_>> {
    let Some(server) = other_end(request) else { return transmissions(request, &[]) };
    let mut found = transmissions(request, &[]);
    // The last copy is the one that was answered; those before it were lost.
    let Some(query) = found.last_mut() else { return found };
    let middle = query.sent + (request.end - query.sent.min(request.end)) / 2;
    (query.received, query.assumed) = (Some(middle), true);
    let name = if &*request.name == "DNS Query" { "DNS Answer" } else { "answer" };
    // The server's own lane has no span, so the answer's cause is the request itself.
    query.effect = Some(request.context.span);
    found.push(Found {
        name,
        sent: middle,
        received: Some(request.end.max(middle)),
        assumed: true,
        cause: Some(request.context.span),
        effect: None,
        ..message(server, Some(&request.entity), request)
    });
    found
}

/// An answer that was sent again. It proves that the last transmission of the request before it arrived, though the server
/// recorded nothing of that; the middle of the round trip stands for when.
fn repeated_answer<'a>(
    request: &'a RecordedSpan,
    answer: &'a RecordedSpan,
    sent: &mut [Found<'a>],
) -> Option<Found<'a>> {
    let from = other_end(answer).or_else(|| other_end(request))?;
    let asked = sent.iter_mut().filter(|found| found.sent <= answer.start).max_by_key(|found| found.sent)?;
    let middle = asked.sent + (answer.start - asked.sent) / 2;
    let effect = Some(answer.context.span);
    if asked.received.is_none() {
        *asked = Found { to: Some(from), received: Some(middle), assumed: true, effect, ..asked.clone() };
    }
    Some(Found {
        sent: middle,
        received: Some(answer.start),
        repetition: true,
        assumed: true,
        cause: asked.effect,
        effect,
        ..message(from, Some(&answer.entity), answer)
    })
}

/// Application packets carry no trace: only who received the first one knows of it. Who set out sent it as soon as it
/// could, which is when the root span ended; the other end with the last message that it received.
fn first_packets<'a>(trace: &Trace<'a>, found: &mut Vec<Found<'a>>) {
    let root = trace.root();
    let is_first = |span: &&&RecordedSpan| &*span.name == FIRST_APPLICATION_PACKET && span.kind == SpanKind::Internal;
    let mut packets: Vec<&RecordedSpan> = trace.spans().iter().filter(is_first).copied().collect();
    packets.sort_by_key(|span| span.end);
    for span in packets {
        let Some(peer) = other_end(span) else { continue };
        let could_send = Some(root.end).filter(|&end| *root.entity == *peer && end <= span.end);
        let was_told = found.iter().filter(|message| message.to == Some(peer)).filter_map(|message| message.received);
        let Some(sent) = could_send.or_else(|| was_told.filter(|&told| told <= span.end).max()) else { continue };
        found.push(Found {
            sent,
            received: Some(span.end),
            assumed: true,
            cause: None,
            effect: Some(span.context.span),
            ..message(peer, Some(&span.entity), span)
        });
    }
}

/// A message whose sender's span is not in the recording, because it was cut off.
fn from_unrecorded_sender(received: &RecordedSpan) -> Option<Found<'_>> {
    let from = other_end(received)?;
    Some(Found {
        received: Some(received.start),
        assumed: true,
        cause: None,
        effect: Some(received.context.span),
        ..message(from, Some(&received.entity), received)
    })
}
