//! `ntm scenarios`: what is built in.

use crate::failure::Failure;
use crate::table::Table;
use crate::terminal::Terminal;
use ntmobile_lab::scenario::builtin::BUILTIN;
use std::io::{Write, stdout};

/// Lists them.
pub fn list(terminal: &Terminal) -> Result<(), Failure> {
    let mut table = Table::default();
    for builtin in BUILTIN {
        table.row([(terminal.bold(builtin.name), false), (builtin.scenario()?.summary, false)]);
    }
    let mut out = stdout().lock();
    table.write(&mut out)?;
    writeln!(
        out,
        "\n  ntm describe NAME shows one, ntm run NAME runs it; a TOML file of your own is run by its path."
    )?;
    Ok(())
}
