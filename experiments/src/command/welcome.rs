//! `ntm` without arguments: what this is, and what to type next.

use crate::failure::Failure;
use crate::terminal::Terminal;
use std::io::{Write, stdout};

/// Prints it.
pub fn print(terminal: &Terminal) -> Result<(), Failure> {
    let mut out = stdout().lock();
    writeln!(out, "{}", terminal.bold("ntm: NTMobile networks in one process, in virtual time"))?;
    writeln!(out)?;
    writeln!(
        out,
        "An application talks to a permanent virtual address. NTMobile carries its packets between the real"
    )?;
    writeln!(
        out,
        "addresses of the moment: through NATs, between IPv4 and IPv6, end to end where possible, and across"
    )?;
    writeln!(out, "any change of network. This program runs whole networks of it and shows what happened;")?;
    writeln!(out, "it also serves and joins networks of real hosts.")?;
    writeln!(out)?;
    for (command, meaning) in [
        ("ntm run quickstart", "run the built-in tour; it takes seconds and writes a report"),
        ("ntm describe quickstart", "what is in it: domains, networks, nodes, plugins, conversations"),
        ("ntm scenarios", "what else is built in"),
        ("ntm trace runs/quickstart/7 alice bob", "how two nodes came to talk, message by message"),
        ("ntm serve dc --example", "a server on a real host: the settings to begin with; also as, rs, ns, names"),
        ("ntm up --config node.toml", "this host joins a network, with a virtual interface"),
        ("ntm help run", "every option, with examples"),
    ] {
        writeln!(out, "  {command:<40}{}", terminal.faint(meaning))?;
    }
    writeln!(out)?;
    writeln!(out, "A scenario is a page of TOML: ntm describe quickstart --toml > mine.toml")?;
    Ok(())
}
