//! Messages out of spans: a sender's span and the spans of those who received it.

use super::FIRST_APPLICATION_PACKET;
use crate::conversation::Trace;
use crate::read::RecordedSpan;
use ntmobile_proto::trace::SpanKind;
use std::collections::BTreeMap;

/// The attribute that names the server a request was for.
const SERVER: &str = "ntm.server";

/// The attribute that names who is at the other end.
const PEER: &str = "ntm.peer";

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
            let mut sent = transmissions(sender, &receivers);
            for answer in answered.remove(&sender.context.span).unwrap_or_default() {
                let answer = repeated_answer(sender, answer, &mut sent);
                sent.extend(answer);
            }
            found.extend(sent);
        }
    }
    first_packets(trace, &mut found);
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
    let middle = request.start + (request.end - request.start) / 2;
    let query = message(&request.entity, Some(server), request);
    let name = if &*request.name == "DNS Query" { "DNS Answer" } else { "answer" };
    let answer = Found { name, sent: middle, ..message(server, Some(&request.entity), request) };
    vec![
        Found { received: Some(middle), assumed: true, ..query },
        Found { received: Some(request.end), assumed: true, cause: None, effect: Some(request.context.span), ..answer },
    ]
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
