//! `ntm report`: writes the report of a run again from what is in its directory.

use crate::cli::ReportArguments;
use crate::failure::Failure;
use crate::terminal::Terminal;
use ntmobile_lab::digest::digest;
use ntmobile_lab::record::RunDirectory;
use std::io::{Write, stdout};

/// Writes it.
pub fn report(arguments: &ReportArguments, terminal: &Terminal) -> Result<(), Failure> {
    let directory = RunDirectory::open(&arguments.run)?;
    let path = directory.report_path();
    directory.write(&path, &digest(&directory)?.html())?;
    writeln!(stdout(), "{} {}", terminal.bold("report"), path.display())?;
    Ok(())
}
