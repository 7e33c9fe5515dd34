//! What all drawings share: the rows from top to bottom, and how times and names are written.

use super::{Link, Sequence, Step};

/// A time without events that is worth a line of its own, in nanoseconds.
const LONG_GAP: u64 = 1_000_000_000;

/// One line of a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    /// A message, by its index.
    Arrow(usize),
    /// A step, by its index.
    Step(usize),
    /// Nothing happened for so many nanoseconds.
    Gap(u64),
    /// The critical path waits on a lane for so many nanoseconds, and nothing else on that lane says why.
    Wait(usize, u64),
}

/// A wait of the critical path in terms of rows: the lane is marked from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkedWait {
    pub(super) lane: usize,
    /// The row whose arrow ends here; `None` for the top.
    pub(super) from: Option<usize>,
    /// The row whose arrow begins here; `None` for the bottom.
    pub(super) to: Option<usize>,
}

/// All lines from top to bottom.
pub(super) fn rows(sequence: &Sequence) -> Vec<Row> {
    let mut steps = sequence.steps.iter().enumerate().peekable();
    let mut timed = Vec::with_capacity(sequence.arrows.len() + sequence.steps.len());
    for (index, arrow) in sequence.arrows.iter().enumerate() {
        while let Some((step, Step { start, .. })) = steps.next_if(|(_, step)| step.after <= index) {
            timed.push((*start, Row::Step(step)));
        }
        timed.push((arrow.sent, Row::Arrow(index)));
    }
    timed.extend(steps.map(|(index, step)| (step.start, Row::Step(index))));
    let mut rows = Vec::with_capacity(timed.len());
    let mut quiet_since = 0;
    for (time, row) in timed {
        let gap = time.saturating_sub(quiet_since);
        if gap >= LONG_GAP {
            rows.push(Row::Gap(gap));
        }
        let until = match row {
            Row::Arrow(index) => sequence.arrows[index].received.unwrap_or(time),
            Row::Step(index) => sequence.steps[index].end,
            Row::Gap(_) | Row::Wait(..) => time,
        };
        quiet_since = quiet_since.max(until);
        rows.push(row);
    }
    insert_waits(sequence, &mut rows);
    rows
}

/// Gives every wait of the critical path that no step explains a line before the message that ends it.
fn insert_waits(sequence: &Sequence, rows: &mut Vec<Row>) {
    let path = &sequence.critical_path;
    for (link, next) in path.iter().zip(path.iter().skip(1).map(Some).chain([None])) {
        let Link::Wait { lane, from, to } = *link else { continue };
        let explains = |step: &super::Step| step.lane == lane && step.start < to && step.end > from;
        if sequence.steps.iter().any(explains) {
            continue;
        }
        let place = match next {
            Some(Link::Message { arrow, .. }) => rows.iter().position(|row| *row == Row::Arrow(*arrow)),
            _ => None,
        };
        rows.insert(place.unwrap_or(rows.len()), Row::Wait(lane, to - from));
    }
}

/// What a wait is called.
pub(super) fn wait_label(nanos: u64) -> String {
    format!("waits {} ms", milliseconds(nanos))
}

/// Where lanes are marked because the critical path waits there.
pub(super) fn marked_waits(sequence: &Sequence, rows: &[Row]) -> Vec<MarkedWait> {
    let row_of = |link: Option<&Link>| match link {
        Some(Link::Message { arrow, .. }) => rows.iter().position(|row| *row == Row::Arrow(*arrow)),
        _ => None,
    };
    let path = &sequence.critical_path;
    let mut marked = Vec::new();
    for (index, link) in path.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|index| path.get(index));
        match link {
            Link::Wait { lane, .. } => {
                marked.push(MarkedWait { lane: *lane, from: row_of(before), to: row_of(path.get(index + 1)) });
            }
            // One message straight after the other: a wait of no time still joins them.
            Link::Message { arrow, .. } => {
                if let Some(Link::Message { .. }) = before {
                    let lane = sequence.arrows[*arrow].from;
                    marked.push(MarkedWait { lane, from: row_of(before), to: row_of(Some(link)) });
                }
            }
        }
    }
    marked
}

/// A time in milliseconds as short as it can be told apart: `12.5`, `0.042`, `1234.0`.
pub fn milliseconds(nanos: u64) -> String {
    let millis = nanos as f64 / 1e6;
    if nanos == 0 {
        "0.0".to_owned()
    } else if nanos < 1_000_000 {
        format!("{millis:.3}")
    } else {
        format!("{millis:.1}")
    }
}

/// A long time in seconds.
pub(super) fn seconds(nanos: u64) -> String {
    format!("{:.1} s", nanos as f64 / 1e9)
}

/// A name in two lines: the host, and its domain.
pub(super) fn host_and_domain(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

/// What stands beside an arrow: its name, how long it was on the way, and what became of it.
pub(super) fn remark(arrow: &super::Arrow) -> String {
    let again = if arrow.repetition { "sent again" } else { "" };
    let fate = match (arrow.received, &arrow.failure) {
        (Some(received), _) => format!("+{} ms", milliseconds(received - arrow.sent)),
        (None, Some(_)) => String::new(),
        (None, None) if arrow.repetition => "lost or ignored".to_owned(),
        (None, None) => "lost".to_owned(),
    };
    let failure = arrow.failure.as_ref().map(|failure| format!("failed: {failure}")).unwrap_or_default();
    let parts = [arrow.detail.as_str(), &fate, again, &failure];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// What stands beside a step: how long it took and what came of it.
pub(super) fn step_remark(step: &super::Step) -> String {
    let duration = step.end - step.start;
    let duration = if duration > 0 { format!("{} ms", milliseconds(duration)) } else { String::new() };
    let failure = step.failure.as_ref().map(|failure| format!("failed: {failure}")).unwrap_or_default();
    let parts = [duration.as_str(), &step.detail, &failure];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// The critical path in words.
pub(super) fn summary(sequence: &Sequence) -> String {
    let (mut messages, mut travelling, mut waiting) = (0, 0, 0);
    for link in &sequence.critical_path {
        match link {
            Link::Message { .. } => {
                messages += 1;
                travelling += link.duration();
            }
            Link::Wait { .. } => waiting += link.duration(),
        }
    }
    let plural = if messages == 1 { "" } else { "s" };
    format!(
        "{} ms: {messages} message{plural} on the way {} ms, waiting {} ms",
        milliseconds(travelling + waiting),
        milliseconds(travelling),
        milliseconds(waiting)
    )
}
