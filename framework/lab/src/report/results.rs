//! The table of conversations.

use super::data::{Conversation, Path};
use super::markup::{Markup, text};
use super::numbers::{bytes, count, milliseconds, rate, time};

const HEADERS: [(&str, &str); 8] = [
    ("Conversation", "Who started, whom they called, over which networks"),
    ("Path", "Whether packets go end to end or through a Relay Server"),
    ("Set-up, ms", "From the name look-up until the application could send; the tick is the bound"),
    ("RTTs", "Set-up time in round trips between the two ends"),
    ("Bound, ms", "The least that the sequence can take over these links, from topology and sequence alone"),
    ("Traffic", "Application datagrams lost, of those sent; or the bytes of a stream and how long they took"),
    ("Tunnel RTT, ms", "Round trips through the tunnel: the median, then the shortest and the longest"),
    ("Gap, ms", "The longest silence around a handover of either end"),
];

/// Writes the table.
pub(super) fn table(out: &mut Markup, conversations: &[Conversation], left_out: usize) {
    if conversations.is_empty() {
        out.raw("<p class=\"nothing\">The scenario has no conversations.</p>");
        return;
    }
    out.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"results-heading\"><table class=\"results\">");
    out.raw("<thead><tr>");
    for (header, title) in HEADERS {
        out.format(format_args!("<th scope=\"col\" title=\"{}\">{}</th>", text(title), text(header)));
    }
    out.raw("</tr></thead><tbody>");
    let longest = conversations.iter().filter_map(|row| row.set_up.max(row.bound)).max().unwrap_or(1).max(1);
    for conversation in conversations {
        row(out, conversation, longest);
    }
    out.raw("</tbody></table></div>");
    if left_out > 0 {
        let left_out = count(left_out as u64);
        out.format(format_args!("<p class=\"nothing\">{left_out} more conversations are in results.csv.</p>"));
    }
}

fn row(out: &mut Markup, row: &Conversation, longest: u64) {
    let class = if row.failure.is_some() { " class=\"failed\"" } else { "" };
    out.format(format_args!("<tr{class}><th scope=\"row\">"));
    let pair = format!("{} → {}", text(&row.from), text(&row.to));
    match row.diagram {
        Some(diagram) => out.format(format_args!("<a href=\"#diagram-{diagram}\">{pair}</a>")),
        None => out.raw(&pair),
    };
    let about = [row.kind.clone(), row.networks.clone(), format!("at {}", time(row.start))];
    let about: Vec<_> = about.into_iter().filter(|part| !part.is_empty()).collect();
    out.format(format_args!("<small>{}</small></th>", text(&about.join(" · "))));

    cell(out, 1, "", &path(row));
    cell(out, 2, "number", &set_up(row, longest));
    cell(out, 3, "number", &row.set_up_round_trips.map(|trips| format!("{trips:.1}")).unwrap_or_default());
    cell(out, 4, "number", &row.bound.map(milliseconds).unwrap_or_default());
    cell(out, 5, "number", &traffic(row));
    cell(out, 6, "number", &round_trip(row));
    cell(out, 7, "number", &row.gap.map(milliseconds).unwrap_or_default());
    out.raw("</tr>");
}

/// A cell; an empty one says so to those who listen.
fn cell(out: &mut Markup, column: usize, class: &str, content: &str) {
    let label = HEADERS[column].0;
    if content.is_empty() {
        out.format(format_args!(
            "<td class=\"{class} empty\" data-label=\"{label}\"><span aria-label=\"none\">–</span></td>"
        ));
    } else {
        out.format(format_args!("<td class=\"{class}\" data-label=\"{label}\">{content}</td>"));
    }
}

fn path(row: &Conversation) -> String {
    let mut content = match (&row.path, &row.failure) {
        (_, Some(_)) => "<span class=\"badge bad\">failed</span>".to_owned(),
        (Some(Path::Direct), None) => "<span class=\"badge direct\">direct</span>".to_owned(),
        (Some(Path::Relayed(relay)), None) => {
            format!("<span class=\"badge relayed\">relayed</span><small>by {}</small>", text(relay))
        }
        (None, None) => "<span class=\"badge\">none</span>".to_owned(),
    };
    if let Some(why) = row.failure.as_ref().or(row.reason.as_ref()) {
        content.push_str(&format!("<small>{}</small>", text(why)));
    }
    content
}

fn set_up(row: &Conversation, longest: u64) -> String {
    let Some(set_up) = row.set_up else { return String::new() };
    let share = |time: u64| (time as f64 / longest as f64 * 100.0).min(100.0);
    let bound = row.bound.map(|bound| format!("<b style=\"left:{:.1}%\"></b>", share(bound))).unwrap_or_default();
    format!(
        "{}<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{:.1}%\"></i>{bound}</span>",
        milliseconds(set_up),
        share(set_up)
    )
}

fn traffic(row: &Conversation) -> String {
    match (row.sent, row.bytes, row.transfer) {
        (_, taken, Some(transfer)) => {
            let rate = rate(taken, transfer).map(|rate| format!(" · {rate}")).unwrap_or_default();
            format!("{}<small>in {}{rate}</small>", bytes(taken), time(transfer))
        }
        (0, 0, None) => String::new(),
        (0, taken, None) => format!("{}<small>not all of it</small>", bytes(taken)),
        (sent, _, None) => format!("{} lost<small>of {}</small>", count(row.lost), count(sent)),
    }
}

fn round_trip(row: &Conversation) -> String {
    let Some(trip) = row.round_trip else { return String::new() };
    let (least, most) = (milliseconds(trip.least), milliseconds(trip.most));
    format!("{}<small>{least} – {most}</small>", milliseconds(trip.median))
}
