//! `ntm status`, `ntm path`, `ntm down`: asking the node that runs on this host.

use crate::cli::host::{NodeArguments, PathArguments, StatusArguments};
use crate::failure::Failure;
use crate::terminal::{Terminal, harmless};
use ntmobile_host::up::UpError;
use ntmobile_host::up::chronicle::{AttemptStatus, PeerStatus, Status, TunnelStatus};
use ntmobile_host::up::control::{Answer, ControlError, Order, ask};
use ntmobile_host::up::remains::clear;
use serde_json::Value;
use std::io::{Write, stdout};

/// Shows the node and its peers, one screen.
pub fn status(arguments: &StatusArguments, terminal: &Terminal) -> Result<(), Failure> {
    let status = fetch(&arguments.node)?;
    let mut out = stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&status).map_err(std::io::Error::from)?)?;
        return Ok(());
    }
    writeln!(out, "{}  {}  {}", terminal.good(&status.name), status.v4, status.v6)?;
    writeln!(out, "  {}, up for {}, process {}", status.interface, time(status.up_s), status.process)?;
    let addresses: Vec<String> = status.addresses.iter().map(ToString::to_string).collect();
    writeln!(out, "  at {}", if addresses.is_empty() { "no network".to_owned() } else { addresses.join(", ") })?;
    if let Some(seen_at) = status.seen_at {
        writeln!(out, "  last seen by its coordinator at {seen_at}")?;
    }
    for peer in &status.peers {
        writeln!(out, "\n  {}  {}", peer.name, way(peer))?;
        if let Some(tunnel) = &peer.tunnel {
            write_tunnel(&mut out, tunnel)?;
        }
        if let Some(last) = peer.happenings.last() {
            writeln!(out, "    {} ago {}", time(last.ago_s), last.what)?;
        }
    }
    Ok(())
}

fn write_tunnel(out: &mut impl Write, tunnel: &TunnelStatus) -> std::io::Result<()> {
    let mut facts = vec![format!("for {}", time(tunnel.since_s))];
    if tunnel.path_since_s != tunnel.since_s {
        facts.push(format!("this way for {}", time(tunnel.path_since_s)));
    }
    facts.extend(tunnel.round_trip_us.map(|time| format!("round trip {}.{} ms", time / 1_000, time % 1_000 / 100)));
    facts.extend(tunnel.handover_ms.map(|time| format!("last move took {time} ms")));
    facts.extend(tunnel.room.map(|octets| format!("room for {octets} octets")));
    writeln!(out, "    {}", facts.join(", "))?;
    writeln!(
        out,
        "    in {} packets, {} octets; out {} packets, {} octets",
        tunnel.packets_in, tunnel.bytes_in, tunnel.packets_out, tunnel.bytes_out
    )
}

/// Shows how packets to one peer go, why, what was tried, and what happened to their tunnel.
pub fn path(arguments: &PathArguments) -> Result<(), Failure> {
    let status = fetch(&arguments.node)?;
    let name = arguments.name.to_lowercase();
    let Some(peer) = status.peers.iter().find(|peer| peer.name == name) else {
        let why = format!("{} has had no tunnel to {name} since it is up: talk to it first", status.name);
        return Err(ControlError::Refused(why).into());
    };
    let mut out = stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(peer).map_err(std::io::Error::from)?)?;
        return Ok(());
    }
    writeln!(out, "{}  {}", peer.name, way(peer))?;
    if let Some(because) = peer.tunnel.as_ref().and_then(|tunnel| tunnel.relayed_because.as_ref()) {
        writeln!(out, "  relayed because {because}")?;
    }
    let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
    if !addresses.is_empty() {
        writeln!(out, "  known here as {}", addresses.join(", "))?;
    }
    for attempt in &peer.attempts {
        writeln!(out, "  tried {}", tried(attempt))?;
    }
    for happening in &peer.happenings {
        writeln!(out, "  {} ago {}", time(happening.ago_s), happening.what)?;
    }
    Ok(())
}

/// One attempt, in a line.
fn tried(attempt: &AttemptStatus) -> String {
    let candidates: Vec<String> = attempt.candidates.iter().map(ToString::to_string).collect();
    let (verb, way) = (if attempt.is_ours { "to" } else { "from" }, candidates.join(", "));
    let by = attempt.relay.as_ref().map_or("directly".to_owned(), |relay| format!("through {relay}"));
    let outcome = match (&attempt.answered, &attempt.failure) {
        (_, Some(failure)) => failure.clone(),
        (Some(answered), None) => format!("{answered} answered"),
        (None, None) => "nobody answered".to_owned(),
    };
    format!("{by} {verb} {way} ({}): {outcome} after {} ms", attempt.reason, attempt.took_ms)
}

/// Has the node leave; where it was killed, and nobody has undone yet what it has left, does that.
pub fn down(arguments: &NodeArguments) -> Result<(), Failure> {
    let NodeArguments { run_directory, interface } = arguments;
    match ask(run_directory, interface, &Order::Down) {
        Ok(_) => writeln!(stdout(), "{interface} goes down")?,
        Err(absent @ ControlError::NotRunning(_)) => {
            let remnants = clear(run_directory, interface).map_err(UpError::from)?.ok_or(absent)?;
            let remnants: Vec<String> = remnants.iter().map(ToString::to_string).collect();
            let what = if remnants.is_empty() { "nothing but its notes".to_owned() } else { remnants.join(", ") };
            writeln!(stdout(), "the node on {interface} was killed; what it had left is undone: {what}")?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn fetch(arguments: &NodeArguments) -> Result<Status, Failure> {
    match ask(&arguments.run_directory, &arguments.interface, &Order::Status)? {
        Answer::Status(status) => Ok(made_harmless(&status)?),
        answer => Err(ControlError::Refused(format!("it answered {answer:?}")).into()),
    }
}

/// The same with all its texts fit for a terminal: much of what a node tells others have said to it.
fn made_harmless(status: &Status) -> std::io::Result<Status> {
    let mut value = serde_json::to_value(status)?;
    spell_out(&mut value);
    Ok(serde_json::from_value(value)?)
}

fn spell_out(value: &mut Value) {
    match value {
        // Every one is shown within a line.
        Value::String(text) => *text = harmless(text).replace('\n', "\\n"),
        Value::Array(values) => values.iter_mut().for_each(spell_out),
        Value::Object(fields) => fields.values_mut().for_each(spell_out),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn way(peer: &PeerStatus) -> String {
    match &peer.tunnel {
        None => "no tunnel now; the next packet has it built".to_owned(),
        Some(tunnel) => match &tunnel.relay {
            None => format!("directly, to {}", tunnel.next_hop),
            Some(relay) => format!("through {relay}, at {}", tunnel.next_hop),
        },
    }
}

/// A time as people say it.
fn time(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_host_has_said_stays_within_its_line() {
        let peer: PeerStatus = serde_json::from_value(serde_json::json!({
            "name": "bob.u2.example", "addresses": [], "tunnel": null,
            "attempts": [{
                "ago_s": 1, "reason": "new-tunnel", "relay": null, "candidates": [], "is_ours": true, "took_ms": 7,
                "answered": null, "failure": "refused: \u{1b}]0;title\u{7}",
            }],
            "happenings": [{ "ago_s": 1, "what": "not built: refused:\n\u{9b}2J" }],
        }))
        .expect("a peer");
        let status: Status = serde_json::from_value(serde_json::json!({
            "name": "alice.u1.example", "v4": "100.64.0.1", "v6": "fd00::1", "interface": "ntm0", "process": 7, "up_s": 1,
            "addresses": [], "seen_at": null, "peers": [peer],
        }))
        .expect("a status");
        let shown = made_harmless(&status).expect("it has the same form");
        let peer = &shown.peers[0];
        assert_eq!(tried(&peer.attempts[0]), "directly to  (new-tunnel): refused: \\u{1b}]0;title\\u{7} after 7 ms");
        assert_eq!(peer.happenings[0].what, "not built: refused:\\n\\u{9b}2J");
        assert_eq!((shown.name, shown.v6), (status.name, status.v6));
    }
}
