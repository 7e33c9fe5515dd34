//! `ntm status`, `ntm path`, `ntm down`: asking the node that runs on this host.

use crate::cli::host::{NodeArguments, PathArguments, StatusArguments};
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_host::up::chronicle::{PeerStatus, Status};
use ntmobile_host::up::control::{Answer, ControlError, Order, ask};
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
            writeln!(
                out,
                "    in {} packets, {} octets; out {} packets, {} octets",
                tunnel.packets_in, tunnel.bytes_in, tunnel.packets_out, tunnel.bytes_out
            )?;
        }
        if let Some(last) = peer.happenings.last() {
            writeln!(out, "    {} ago {}", time(last.ago_s), last.what)?;
        }
    }
    Ok(())
}

/// Shows how packets to one peer go, and what happened to their tunnel.
pub fn path(arguments: &PathArguments) -> Result<(), Failure> {
    let status = fetch(&arguments.node)?;
    let name = arguments.name.to_lowercase();
    let Some(peer) = status.peers.iter().find(|peer| peer.name == name) else {
        let why = format!("{} has had no tunnel to {name} since it is up: talk to it first", status.name);
        return Err(ControlError::Refused(why).into());
    };
    let mut out = stdout().lock();
    writeln!(out, "{}  {}", peer.name, way(peer))?;
    let addresses: Vec<String> = peer.addresses.iter().map(ToString::to_string).collect();
    writeln!(out, "  known here as {}", addresses.join(", "))?;
    for happening in &peer.happenings {
        writeln!(out, "  {} ago {}", time(happening.ago_s), happening.what)?;
    }
    Ok(())
}

/// Has the node leave.
pub fn down(arguments: &NodeArguments) -> Result<(), Failure> {
    ask(&arguments.run_directory, &arguments.interface, &Order::Down)?;
    writeln!(stdout(), "{} goes down", arguments.interface)?;
    Ok(())
}

fn fetch(arguments: &NodeArguments) -> Result<Status, Failure> {
    match ask(&arguments.run_directory, &arguments.interface, &Order::Status)? {
        Answer::Status(status) => Ok(*status),
        answer => Err(ControlError::Refused(format!("it answered {answer:?}")).into()),
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
