//! The page: from the data to one string of HTML.

use super::data::{Conversation, Diagram, Path, Report};
use super::markup::{Markup, text};
use super::numbers::{count, milliseconds, time};
use super::{results, topology};
use ntmobile_telemetry::sequence::svg;

/// Nothing is loaded, from anywhere: a browser that was told to would refuse.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// How many entities of a counter are named.
const MOST_ENTITIES: usize = 8;

impl Report {
    /// The page. It needs no other file and no network.
    pub fn html(&self) -> String {
        let mut out = Markup::default();
        out.format(format_args!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
             <title>{title} · NTMobile</title><style>{page}{sequence}</style></head><body>",
            title = text(&format!("{} · seed {}", self.run.scenario, self.run.seed)),
            page = include_str!("page.css"),
            sequence = svg::STYLE,
        ));
        self.header(&mut out);
        out.raw("<main>");
        self.failures(&mut out);
        self.machine(&mut out);
        self.topology(&mut out);
        section(&mut out, "results", "Conversations");
        results::table(&mut out, &self.conversations, self.conversations_left_out);
        out.raw("</section>");
        self.diagrams(&mut out);
        self.counters(&mut out);
        self.plugins(&mut out);
        self.again(&mut out);
        out.format(format_args!("</main><script>{}</script></body></html>\n", include_str!("page.js")));
        out.finish()
    }

    fn header(&self, out: &mut Markup) {
        let run = &self.run;
        out.format(format_args!("<header><p class=\"kind\">NTMobile run</p><h1>{}</h1>", text(&run.scenario)));
        if !run.summary.is_empty() {
            out.format(format_args!("<p class=\"summary\">{}</p>", text(&run.summary)));
        }
        let world = if run.lab.is_some() { "on the real kernel" } else { "simulated" };
        let mut facts = vec![format!("seed <b>{}</b>", run.seed), format!("<b>{}</b> {world}", time(run.simulated))];
        if run.events > 0 {
            facts.push(format!("<b>{}</b> events", count(run.events)));
        }
        facts.push(format!("version <b>{}</b>", text(&run.version)));
        if let Some(revision) = &run.revision {
            facts.push(format!("revision <b>{}</b>", text(&revision.chars().take(12).collect::<String>())));
        }
        if !run.complete {
            facts.push("<b class=\"badge bad\">stopped before its end</b>".to_owned());
        }
        if run.lab.as_ref().is_some_and(|lab| !lab.overload.is_empty()) {
            facts.push("<b class=\"badge bad\">the machine was overloaded</b>".to_owned());
        }
        out.format(format_args!("<p class=\"facts\">{}</p><dl class=\"figures\">", facts.join(" · ")));
        for (figure, unit, label) in self.figures() {
            out.format(format_args!("<div><dt>{label}</dt><dd>{figure}<span>{unit}</span></dd></div>"));
        }
        out.raw("</dl></header>");
    }

    /// The numbers that say most: value, unit, what it is.
    fn figures(&self) -> Vec<(String, String, &'static str)> {
        let all = &self.conversations;
        let direct = all.iter().filter(|row| row.path == Some(Path::Direct)).count();
        let relayed = all.iter().filter(|row| matches!(row.path, Some(Path::Relayed(_)))).count();
        let works = all.iter().filter(|row| row.failure.is_none()).count();
        let mut figures = vec![
            (works.to_string(), format!("of {}", all.len()), "conversations came through"),
            (format!("{direct}"), format!("direct, {relayed} relayed"), "paths"),
        ];
        let mut set_ups: Vec<u64> = all.iter().filter_map(|row| row.set_up).collect();
        set_ups.sort_unstable();
        if let Some(median) = set_ups.get(set_ups.len() / 2) {
            figures.push((milliseconds(*median), "ms".to_owned(), "median set-up"));
        }
        let exact = |row: &&Conversation| row.set_up.is_some() && row.set_up == row.bound;
        let bounded = all.iter().filter(|row| row.set_up.is_some() && row.bound.is_some()).count();
        if bounded > 0 {
            let at_bound = all.iter().filter(exact).count();
            figures.push((at_bound.to_string(), format!("of {bounded}"), "set up in the least time possible"));
        }
        let sent: u64 = all.iter().map(|row| row.sent).sum();
        if sent > 0 {
            let lost: u64 = all.iter().map(|row| row.lost).sum();
            figures.push((count(lost), format!("of {}", count(sent)), "datagrams lost"));
        }
        if let Some(gap) = all.iter().filter_map(|row| row.gap).max() {
            figures.push((milliseconds(gap), "ms".to_owned(), "longest handover gap"));
        }
        figures
    }

    fn failures(&self, out: &mut Markup) {
        if self.failures.is_empty() {
            return;
        }
        section(out, "failures", "Failures");
        out.raw("<ul class=\"failures\">");
        for failure in &self.failures {
            let at = failure.at.map(|at| format!(" <small>at {}</small>", time(at))).unwrap_or_default();
            out.format(format_args!(
                "<li><b>{}</b> · {}{at}<br>{}</li>",
                text(&failure.entity),
                text(&failure.what),
                text(&failure.why)
            ));
        }
        out.raw("</ul>");
        if self.failures_left_out > 0 {
            let left_out = count(self.failures_left_out as u64);
            out.format(format_args!("<p class=\"nothing\">{left_out} more failures are in the trace.</p>"));
        }
        out.raw("</section>");
    }

    /// On the real kernel times are the machine's, too.
    fn machine(&self, out: &mut Markup) {
        let Some(lab) = &self.run.lab else { return };
        section(out, "machine", "The machine");
        if !lab.overload.is_empty() {
            out.raw("<p class=\"note\">It was overloaded: its times say little. Paths and what was lost by NATs are unaffected.</p>");
            out.raw("<ul class=\"failures\">");
            for why in &lab.overload {
                out.format(format_args!("<li>{}</li>", text(why)));
            }
            out.raw("</ul>");
        }
        out.raw("<dl class=\"files\">");
        for (name, value) in &lab.facts {
            out.format(format_args!("<dt>{}</dt><dd>{}</dd>", text(name), text(value)));
        }
        out.raw("</dl></section>");
    }

    fn topology(&self, out: &mut Markup) {
        section(out, "topology", "Topology");
        match topology::draw(&self.topology) {
            Some(drawing) => {
                out.raw(
                    "<div class=\"scroll figure\" tabindex=\"0\" role=\"region\" aria-labelledby=\"topology-heading\">",
                );
                out.raw(&drawing).raw("</div><p class=\"note\">Delays are one way.");
                if !self.topology.moves.is_empty() {
                    out.raw(" A dashed outline is where a node moves to.");
                }
                out.raw("</p>");
            }
            None => {
                out.format(format_args!(
                    "<p class=\"nothing\">{} networks, {} nodes and {} sites: too many to draw, or none.</p>",
                    count(self.topology.networks.len() as u64),
                    count(self.topology.nodes.len() as u64),
                    self.topology.sites.len()
                ));
            }
        }
        out.raw("</section>");
    }

    fn diagrams(&self, out: &mut Markup) {
        section(out, "sequences", "Sequences");
        if self.diagrams.is_empty() {
            out.raw("<p class=\"nothing\">The trace holds no sequence to draw.</p></section>");
            return;
        }
        out.raw(
            "<p class=\"note\">Read off the trace. The heavy line is the critical path: the messages and waits that \
             the end waited for. Beside each message stands how long it was on the way.</p>\
             <p class=\"buttons\"><button type=\"button\" data-open=\"true\">Open all</button>\
             <button type=\"button\" data-open=\"false\">Close all</button></p>",
        );
        for conversation in [true, false] {
            let mut first = true;
            for (index, diagram) in self.diagrams.iter().enumerate() {
                if diagram.conversation == conversation {
                    if first && !conversation {
                        out.raw("<h3>Nodes that join</h3>");
                    }
                    self.diagram(out, index, diagram, first && conversation);
                    first = false;
                }
            }
        }
        if self.diagrams_left_out > 0 {
            let left_out = count(self.diagrams_left_out as u64);
            out.format(format_args!("<p class=\"nothing\">{left_out} more: <code>ntm trace</code> draws them.</p>"));
        }
        out.raw("</section>");
    }

    fn diagram(&self, out: &mut Markup, index: usize, diagram: &Diagram, open: bool) {
        let open = if open { " open" } else { "" };
        let failed = diagram.sequence.arrows.iter().any(|arrow| arrow.failure.is_some());
        let failed = if failed { "<span class=\"badge bad\">with failures</span>" } else { "" };
        out.format(format_args!(
            "<details id=\"diagram-{index}\"{open}><summary><b>{}</b><span class=\"badge\">{}</span>{failed}\
             <span class=\"when\">at {} · took {}</span></summary>\
             <div class=\"scroll figure\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div></details>",
            text(&diagram.title),
            text(&diagram.occasion),
            time(diagram.start),
            time(diagram.sequence.duration()),
            text(&diagram.title),
            svg::draw(&diagram.sequence, svg::Place::Page(&format!("sequence-{index}"))),
        ));
    }

    fn counters(&self, out: &mut Markup) {
        section(out, "counters", "Counters");
        if self.counters.is_empty() && self.distributions.is_empty() {
            out.raw("<p class=\"nothing\">Nothing was counted.</p></section>");
            return;
        }
        out.raw(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"counters-heading\">\
             <table class=\"counters\"><thead><tr><th scope=\"col\">Counter</th><th scope=\"col\" class=\"number\">\
             Total</th><th scope=\"col\">By entity</th></tr></thead><tbody>",
        );
        for counter in &self.counters {
            let mut entities: Vec<_> = counter.entities.iter().collect();
            entities.sort_by(|(left, most), (right, more)| more.cmp(most).then_with(|| left.cmp(right)));
            let named = entities.iter().take(MOST_ENTITIES);
            let mut by: Vec<String> =
                named.map(|(name, value)| format!("{}&nbsp;<b>{}</b>", text(name), count(*value))).collect();
            if entities.len() > MOST_ENTITIES {
                by.push(format!("{} more", entities.len() - MOST_ENTITIES));
            }
            out.format(format_args!(
                "<tr><th scope=\"row\"><code>{}</code></th><td class=\"number\">{}</td><td class=\"by\">{}</td></tr>",
                text(&counter.name),
                count(counter.total()),
                by.join(", ")
            ));
        }
        out.raw("</tbody></table></div>");
        if !self.distributions.is_empty() {
            self.distributions(out);
        }
        out.raw("</section>");
    }

    fn distributions(&self, out: &mut Markup) {
        out.raw(
            "<h3>Distributions</h3><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Distributions\">\
             <table class=\"counters\"><thead><tr><th scope=\"col\">What</th><th scope=\"col\">Entity</th>\
             <th scope=\"col\" class=\"number\">Values</th><th scope=\"col\" class=\"number\">Least</th>\
             <th scope=\"col\" class=\"number\">Mean</th><th scope=\"col\" class=\"number\">Greatest</th>\
             </tr></thead><tbody>",
        );
        for one in &self.distributions {
            out.format(format_args!(
                "<tr><th scope=\"row\"><code>{}</code> {}</th><td>{}</td><td class=\"number\">{}</td>\
                 <td class=\"number\">{:.1}</td><td class=\"number\">{:.1}</td><td class=\"number\">{:.1}</td></tr>",
                text(&one.name),
                text(&one.unit),
                text(&one.entity),
                count(one.count),
                one.min,
                one.mean,
                one.max
            ));
        }
        out.raw("</tbody></table></div>");
    }

    fn plugins(&self, out: &mut Markup) {
        if self.run.plugins.is_empty() {
            return;
        }
        section(out, "plugins", "Plugins");
        out.raw(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"plugins-heading\">\
             <table class=\"counters\"><thead><tr><th scope=\"col\">Kind</th><th scope=\"col\">Name</th>\
             <th scope=\"col\">Chosen by</th></tr></thead><tbody>",
        );
        for plugin in &self.run.plugins {
            let mut who: Vec<String> = plugin.entities.iter().take(MOST_ENTITIES).map(|name| text(name)).collect();
            if plugin.entities.len() > MOST_ENTITIES {
                who.push(format!("{} more", plugin.entities.len() - MOST_ENTITIES));
            }
            out.format(format_args!(
                "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td class=\"by\">{}</td></tr>",
                text(&plugin.kind),
                text(&plugin.name),
                who.join(", ")
            ));
        }
        out.raw("</tbody></table></div></section>");
    }

    fn again(&self, out: &mut Markup) {
        section(out, "again", "The same run again");
        let how = match self.run.lab {
            None => "The same seed gives the same run, to the byte:",
            Some(_) => "The same scenario again; the machine's times will be others:",
        };
        out.format(format_args!(
            "<p>{how}</p><pre class=\"command\"><code>{}</code>\
             <button type=\"button\" data-copy>Copy</button></pre>",
            text(&self.run.command)
        ));
        if !self.run.files.is_empty() {
            out.raw("<dl class=\"files\">");
            for (name, what) in &self.run.files {
                let name = text(name);
                out.format(format_args!("<dt><a href=\"{name}\">{name}</a></dt><dd>{}</dd>", text(what)));
            }
            out.raw("</dl>");
        }
        out.raw("</section>");
    }
}

fn section(out: &mut Markup, identifier: &str, heading: &str) {
    out.format(format_args!(
        "<section aria-labelledby=\"{identifier}-heading\"><h2 id=\"{identifier}-heading\">{heading}</h2>"
    ));
}
