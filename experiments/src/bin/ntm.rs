//! The `ntm` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ntmobile_experiments::cli::main()
}
