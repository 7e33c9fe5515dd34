//! Processes of a lab: servers and nodes, each in its namespace, with what it says kept in a file.

use super::resident::{Order, Report};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a server may take to be ready: an overloaded machine is slow, not broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether something has come.
const PAUSE: Duration = Duration::from_millis(10);
/// How many of its last lines are told of a process that has died.
const LAST_LINES: usize = 6;

/// Why a process is not what it should be.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("{label} cannot be started: {source}")]
    Start {
        /// Whose it is.
        label: String,
        /// Why.
        source: io::Error,
    },
    /// It has ended, and should not have.
    #[error("{label} has ended ({how}); the end of its log, {}:\n{last}", log.display())]
    Died {
        /// Whose it is.
        label: String,
        /// How: an exit code or a signal.
        how: String,
        /// Where all that it has said is.
        log: PathBuf,
        /// What it said last.
        last: String,
    },
    /// It does not become ready.
    #[error("{label} was not ready in time; its log is {}", log.display())]
    Slow {
        /// Whose it is.
        label: String,
        /// Where all that it has said is.
        log: PathBuf,
    },
    /// It cannot be spoken to.
    #[error("{label} does not listen: {source}")]
    Deaf {
        /// Whose it is.
        label: String,
        /// Why.
        source: io::Error,
    },
}

/// A process that is to be started.
pub(super) struct Start<'s> {
    /// Whose it is.
    pub(super) label: &'s str,
    /// In which namespace.
    pub(super) namespace: &'s str,
    /// This program.
    pub(super) program: &'s Path,
    /// What it is told on its command line.
    pub(super) arguments: &'s [String],
    /// Variables that it finds.
    pub(super) variables: &'s [(String, String)],
    /// The file for what it says; a process before it may have written there.
    pub(super) log: &'s Path,
}

/// A process; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    label: String,
    child: Child,
    input: Option<ChildStdin>,
    log: PathBuf,
    /// How long the log was when it started.
    log_before: u64,
}

impl Start<'_> {
    fn command(&self) -> io::Result<(Command, u64)> {
        let log = File::options().create(true).append(true).open(self.log)?;
        let before = log.metadata()?.len();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.namespace]).arg(self.program).args(self.arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // A group of its own: Ctrl-C is for the lab, which ends its processes when it has heard what they have to say.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok((command, before))
    }

    /// Starts a server.
    pub(super) fn server(&self) -> Result<Process, ProcessError> {
        let failed = |source| ProcessError::Start { label: self.label.to_owned(), source };
        let (mut command, log_before) = self.command().map_err(failed)?;
        let child = command.spawn().map_err(failed)?;
        Ok(Process { label: self.label.to_owned(), child, input: None, log: self.log.to_owned(), log_before })
    }

    /// Starts a node that listens and reports.
    pub(super) fn resident(&self, reports: Sender<(String, Report)>) -> Result<Process, ProcessError> {
        let failed = |source| ProcessError::Start { label: self.label.to_owned(), source };
        let (mut command, log_before) = self.command().map_err(failed)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let label = self.label.to_owned();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()).map_while(Result::ok) {
                let Ok(report) = serde_json::from_str(&line) else { continue };
                if reports.send((label.clone(), report)).is_err() {
                    return;
                }
            }
        });
        Ok(Process { label: self.label.to_owned(), child, input, log: self.log.to_owned(), log_before })
    }
}

impl Process {
    /// Waits until it says that it is ready.
    pub(super) fn await_ready(&mut self) -> Result<(), ProcessError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.lines().any(|line| line.fields.message == "ready" || line.fields.message == "up") {
                return Ok(());
            }
            self.check()?;
            if Instant::now() > deadline {
                return Err(ProcessError::Slow { label: self.label.clone(), log: self.log.clone() });
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.died(status)),
            Err(source) => Err(ProcessError::Deaf { label: self.label.clone(), source }),
        }
    }

    fn died(&self, status: ExitStatus) -> ProcessError {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        ProcessError::Died { label: self.label.clone(), how: status.to_string(), log: self.log.clone(), last }
    }

    /// Tells it something.
    pub(super) fn tell(&mut self, order: &Order) -> Result<(), ProcessError> {
        let deaf = |source| ProcessError::Deaf { label: self.label.clone(), source };
        let line = serde_json::to_string(order).map_err(io::Error::other).map_err(deaf)?;
        let Some(input) = &mut self.input else { return Err(deaf(io::ErrorKind::NotConnected.into())) };
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(deaf)
    }

    /// Asks it to end.
    pub(super) fn ask_to_end(&self) {
        // One that has ended already is what was wanted.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).stderr(Stdio::null()).status();
    }

    /// Whether it ends in time.
    pub(super) fn ends_by(&mut self, deadline: Instant) -> bool {
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Ok(None) => return false,
                Ok(Some(_)) | Err(_) => return true,
            }
        }
    }

    fn text(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let begin = usize::try_from(self.log_before).unwrap_or(usize::MAX).min(bytes.len());
        String::from_utf8_lossy(&bytes[begin..]).into_owned()
    }

    fn lines(&self) -> impl Iterator<Item = LogLine> {
        let text = self.text();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>().into_iter()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line of a log.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LogLine {
    pub(super) timestamp: String,
    pub(super) level: String,
    pub(super) fields: LogFields,
}

/// What it says.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct LogFields {
    pub(super) message: String,
    #[serde(default)]
    pub(super) entity: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, log: &Path) -> Process {
        let log_file = File::options().create(true).append(true).open(log).expect("a log");
        let log_before = log_file.metadata().expect("it is there").len();
        let child = Command::new("sh").args(["-c", script]).stderr(log_file).spawn().expect("a shell");
        Process { label: "as".into(), child, input: None, log: log.to_owned(), log_before }
    }

    #[test]
    fn readiness_is_that_of_this_life() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let log = home.path().join("as.log");
        let ready = r#"{"timestamp":"2026-01-01T00:00:00.000001Z","level":"INFO","fields":{"message":"ready"}}"#;
        std::fs::write(&log, format!("{ready}\n")).expect("written");
        let mut dies = start("echo '{\"error\":\"no port\"}' >&2; exit 8", &log);
        let error = dies.await_ready().expect_err("it says nothing of the kind").to_string();
        assert!(error.contains("as has ended (exit status: 8)") && error.contains("no port"), "{error}");
        let mut lives = start(&format!("echo '{ready}' >&2; sleep 60"), &log);
        lives.await_ready().expect("it is ready");
        assert!(!lives.ends_by(Instant::now()));
        lives.ask_to_end();
        assert!(lives.ends_by(Instant::now() + PATIENCE));
    }
}
