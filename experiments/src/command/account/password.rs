//! Where a password comes from: a file, a variable, a terminal that does not show it, or standard input. Never an argument.

use crate::cli::host::PasswordArguments;
use crate::failure::Failure;
use ntmobile_host::accounts::Hidden;
use ntmobile_host::files;
use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::process::Command;

/// The password that the arguments lead to; none if there is to be none.
pub(super) fn of(arguments: &PasswordArguments) -> Result<Option<Hidden>, Failure> {
    if arguments.no_password {
        return Ok(None);
    }
    let password = if let Some(path) = &arguments.password_file {
        first_line(&files::read_secret(path)?)
    } else if let Some(variable) = &arguments.password_env {
        let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
        value.ok_or_else(|| Failure::Password(format!("the variable {variable} holds no password")))?
    } else if stdin().is_terminal() {
        asked()?
    } else {
        line()?
    };
    Ok(Some(Hidden(password)))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn line() -> Result<String, Failure> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line).map_err(|error| Failure::Password(format!("standard input: {error}")))?;
    Ok(first_line(&line))
}

/// Asks twice, since nobody sees what they type.
fn asked() -> Result<String, Failure> {
    let _unseen = Unseen::begin()?;
    let [first, second] = ["Password: ", "Once more: "].map(|prompt| {
        // A prompt that cannot be shown is no reason to stop.
        let _ = write!(stderr(), "{prompt}");
        let line = line();
        let _ = writeln!(stderr());
        line
    });
    let (first, second) = (first?, second?);
    if first == second { Ok(first) } else { Err(Failure::Password("the two were not the same".to_owned())) }
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Unseen;

impl Unseen {
    fn begin() -> Result<Self, Failure> {
        // Ctrl-C must not leave the terminal mute. A second handler cannot be set; there is none in this command.
        let _ = ctrlc::set_handler(|| {
            echo(true);
            std::process::exit(130);
        });
        let unseen = Self;
        if echo(false) {
            Ok(unseen)
        } else {
            Err(Failure::Password("the terminal cannot be kept from showing it; use --password-file".to_owned()))
        }
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        echo(true);
    }
}

/// Whether the terminal did as it was told.
fn echo(shown: bool) -> bool {
    Command::new("stty").arg(if shown { "echo" } else { "-echo" }).status().is_ok_and(|status| status.success())
}
