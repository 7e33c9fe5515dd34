//! The guardian: a process that does nothing until the node is gone, and then undoes what the node has left.
//!
//! It is the node's own program, started with other arguments, in a process group of its own so that an interrupt at the
//! terminal does not reach it, and it takes no polite request to end: it ends when the node has.

use super::FootprintError;
use super::journal::Journal;
use std::ffi::OsString;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What the guardian says when it is at its post.
const READY: u8 = b'+';
/// So much is read of what it says before.
const LONGEST_PREAMBLE: u64 = 4_096;
/// A process that dies closes its files one by one: the lock may go a little after the pipe.
const UNTIL_DEAD: Duration = Duration::from_secs(5);
/// How often to look whether the lock is gone.
const LOOK: Duration = Duration::from_millis(5);

/// How to start a guardian: the program calls [`guard`] with the last of its arguments.
#[derive(Clone, Debug)]
pub struct GuardianProgram {
    /// The program.
    pub program: PathBuf,
    /// Its arguments, before the path of the journal.
    pub arguments: Vec<OsString>,
}

/// A guardian of ours. Dropping it lets it find out that nothing is left to do.
#[derive(Debug)]
pub(super) struct Guardian {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Guardian {
    /// Starts one; returns when it is at its post.
    pub(super) fn start(program: &GuardianProgram, journal: &Path) -> Result<Self, FootprintError> {
        let mut process = Command::new(&program.program)
            .args(&program.arguments)
            .arg(journal)
            // It lives as long as the node, and has no use for a password in the node's environment.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(FootprintError::Guardian)?;
        let (pipe, answer) = (process.stdin.take(), process.stdout.take());
        let guardian = Self { process, pipe };
        let said = answer.map_or(Ok(false), is_ready).map_err(FootprintError::Guardian)?;
        if said { Ok(guardian) } else { Err(FootprintError::Guardian(io::Error::other("it is not a guardian"))) }
    }
}

/// Whether a process says that it is at its post. Programs may print something before they come to it.
fn is_ready(output: impl Read) -> io::Result<bool> {
    for byte in BufReader::new(output.take(LONGEST_PREAMBLE)).bytes() {
        if byte? == READY {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // It ends by itself; waiting for it leaves no dead process behind.
        let _ended = self.process.wait();
    }
}

/// The guardian's whole life: waits until the standard input closes, then undoes what the journal says. Writes a sign of
/// being ready to the standard output, and nothing else.
pub fn guard(journal: &Path) -> Result<(), FootprintError> {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGPIPE] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let mut output = io::stdout();
    // If nobody hears it the node is dead already, and the next step finds that out.
    let _heard = output.write_all(&[READY]).and_then(|()| output.flush());
    io::copy(&mut io::stdin(), &mut io::sink()).map_err(FootprintError::Guardian)?;
    let latest = Instant::now() + UNTIL_DEAD;
    loop {
        match Journal::of_the_dead(journal) {
            Ok(Some(journal)) => return journal.undo().map(drop),
            Ok(None) => return Ok(()),
            // Whoever holds it for so long is the next node, which has undone what we would.
            Err(FootprintError::Running { .. }) if Instant::now() >= latest => return Ok(()),
            Err(FootprintError::Running { .. }) => thread::sleep(LOOK),
            Err(error) => return Err(error),
        }
    }
}
