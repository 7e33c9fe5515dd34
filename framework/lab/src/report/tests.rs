//! What the page says, and that nothing in the data can break it.

use super::data::{Conversation, Failure, Network, Node, Report, Site};
use super::example::report;

/// Elements that HTML closes by itself.
const VOID: [&str; 4] = ["meta", "br", "!doctype", "link"];

/// Walks all tags and holds the page to properly nested elements with quoted attributes.
fn check_nesting(html: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("every tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        if let Some(closed) = tag.strip_prefix('/') {
            let last = open.pop();
            assert_eq!(last.as_deref(), Some(closed), "</{closed}> closes {last:?}");
            continue;
        }
        let name: String = tag.chars().take_while(|c| !c.is_whitespace() && *c != '/').collect();
        assert!(name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!'), "<{tag}> is no tag");
        // What is between these is not markup.
        if ["style", "script"].contains(&name.as_str()) {
            let end = rest.find(&format!("</{name}>")).expect("it ends");
            rest = &rest[end + name.len() + 3..];
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} left open");
}

#[test]
fn the_page_is_well_formed_and_loads_nothing() {
    let html = report().html();
    check_nesting(&html);
    for loads in ["src=", "@import", "url(", "<link", "<iframe", "fetch("] {
        assert!(!html.contains(loads), "{loads}");
    }
    let namespace = "http://www.w3.org/2000/svg";
    assert_eq!(html.matches("http").count() - html.matches("http-equiv").count(), html.matches(namespace).count());
}

#[test]
fn everything_that_was_measured_is_on_the_page() {
    let html = report().html();
    let expected = [
        "<h1>quickstart</h1>",
        "seed <b>7</b>",
        "alice → dave",
        "direct",
        "by rs1.u1.example",
        "both ends are behind different NATs",
        ">306.0<",
        "3 lost<small>of 500</small>",
        "20 MB<small>in 8.4 s · 19.05 Mbit/s</small>",
        ">141.0<",
        "nobody.u2.example: no such name",
        "critical path",
        "Tunnel Request",
        "erin moves at 20 s",
        ">NAT: symmetric<",
        "<title>mapping address-and-port-dependent, filtering address-and-port-dependent, 60 s</title>",
        "2 more failures are in the trace.",
        "signalling.retransmitted",
        "ntm run quickstart --seed 7",
        "href=\"trace.otlp.jsonl\"",
    ];
    for text in expected {
        let html = html.replace("<span class=\"bar\"", "<");
        assert!(html.contains(text), "the page does not say {text}");
    }
}

#[test]
fn every_row_leads_to_its_diagram() {
    let html = report().html();
    for index in 0..3 {
        assert!(html.contains(&format!("href=\"#diagram-{index}\"")));
        assert!(html.contains(&format!("<details id=\"diagram-{index}\"")));
    }
    assert_eq!(html.matches("\" open>").count(), 1, "the first is open, the others are not");
}

#[test]
fn identifiers_are_unique() {
    let html = report().html();
    let mut identifiers: Vec<&str> = html.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let all = identifiers.len();
    identifiers.sort_unstable();
    identifiers.dedup();
    assert_eq!(identifiers.len(), all);
    for reference in html.split("aria-labelledby=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        for one in reference.split_whitespace() {
            assert!(identifiers.binary_search(&one).is_ok(), "{one} labels something and is nowhere");
        }
    }
}

#[test]
fn the_same_data_give_the_same_page() {
    assert_eq!(report().html(), report().html());
}

#[test]
fn the_page_and_the_json_say_the_same() {
    let report = report();
    let json = serde_json::to_string(&report).expect("plain data");
    assert_eq!(serde_json::from_str::<Report>(&json).expect("just written"), report);
}

#[test]
fn data_cannot_break_out_of_its_place() {
    let hostile = "</script><img src=x onerror=alert(1)>\"'&\u{0}".to_owned();
    let mut report = report();
    report.run.scenario = hostile.clone();
    report.run.command = hostile.clone();
    report.run.files.push((hostile.clone(), hostile.clone()));
    report.failures.push(Failure { why: hostile.clone(), ..Failure::default() });
    report.conversations.push(Conversation {
        from: hostile.clone(),
        failure: Some(hostile.clone()),
        reason: Some(hostile.clone()),
        ..Conversation::default()
    });
    report.diagrams[0].title = hostile.clone();
    report.diagrams[0].sequence.lanes[0] = hostile.clone();
    report.counters[0].name = hostile.clone();
    report.topology.networks[0].name = hostile.clone();
    report.topology.nodes[0].name = hostile;
    let html = report.html();
    assert!(!html.contains("<img"));
    check_nesting(&html);
}

#[test]
fn an_empty_report_is_a_page_too() {
    let html = Report::default().html();
    check_nesting(&html);
    assert!(html.contains("The scenario has no conversations."));
    assert!(html.contains("stopped before its end"));
}

#[test]
fn a_world_too_large_to_draw_is_told_in_numbers() {
    let mut report = report();
    report.topology.networks = (0..100).map(|n| Network { name: format!("n{n}"), ..Network::default() }).collect();
    assert!(report.html().contains("100 networks, 6 nodes and 3 sites: too many to draw"));
}

#[test]
fn a_crowded_network_names_some_and_counts_the_rest() {
    let mut report = report();
    let crowd = (0..1_000).map(|n| Node {
        name: format!("node{n}"),
        domain: "u1.example".into(),
        networks: vec!["home".into()],
    });
    report.topology.nodes.extend(crowd);
    assert!(report.html().contains("993 more"), "alice and 1,000 others, eight of them named");
}

#[test]
fn networks_that_are_behind_each_other_do_not_loop() {
    let mut report = report();
    for network in &mut report.topology.networks {
        network.behind = Some("hotel".into());
    }
    report.topology.sites.push(Site::default());
    check_nesting(&report.html());
}
