//! A program under way: what it says is kept, what it uses can be asked, and it ends with the value.

use crate::failure::Failure;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether something has come.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a program may take to end when it is asked to, before it is killed.
const GRACE: Duration = Duration::from_secs(2);
/// The kernel counts processor time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    name: String,
    words: PathBuf,
}

impl Process {
    /// Starts a command. Its input stays open as long as it lives; the file `words` takes what it says.
    pub(crate) fn start(command: &mut Command, name: &str, words: &Path) -> Result<Self, Failure> {
        let file = |source| Failure::File { path: words.to_owned(), source };
        let said = File::create(words).map_err(file)?;
        let errors = said.try_clone().map_err(file)?;
        let started = command.stdin(Stdio::piped()).stdout(said).stderr(errors).spawn();
        let child = started.map_err(|source| Failure::Start { program: name.to_owned(), source })?;
        Ok(Self { child, name: name.to_owned(), words: words.to_owned() })
    }

    /// All that it has said.
    pub(crate) fn words(&self) -> String {
        fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Waits until it has said this.
    pub(crate) fn await_word(&mut self, word: &str, patience: Duration) -> Result<(), Failure> {
        self.until(patience, |process| process.words().contains(word))
    }

    /// Waits until something is so that it is to bring about.
    pub(crate) fn until(&mut self, patience: Duration, is_so: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = Instant::now() + patience;
        while !is_so(self) {
            let what = match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    sleep(PAUSE);
                    continue;
                }
                Ok(None) => "has been silent for too long",
                _ => "has ended",
            };
            return Err(Failure::Silent { program: self.name.clone(), what, said: self.words() });
        }
        Ok(())
    }

    /// The processor time that it has used, in and out of the kernel.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// The memory that it holds now, in octets.
    pub(crate) fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        kibibytes.unwrap_or(0) << 10
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).stderr(Stdio::null()).status();
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            sleep(PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has used, in and out of the kernel.
pub(crate) fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    ticks_used(&stat).map_or(Duration::ZERO, |ticks| TICK * ticks)
}

/// User and system time of a line of /proc/PID/stat. The name in it may contain anything, and ends with the last parenthesis.
fn ticks_used(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u32>().ok()? + fields.next()?.parse::<u32>().ok()?)
}

/// Runs a command to its end; what it says on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String, Failure> {
    let line = std::iter::once(command.get_program()).chain(command.get_args());
    let line = line.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = command.output().map_err(|source| Failure::Start { program: line.clone(), source })?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let said = format!("{}{said}", String::from_utf8_lossy(&output.stderr)).trim().to_owned();
    Err(Failure::Command { command: line, said })
}

/// Where the shell would find a program.
pub(crate) fn found(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 1 0 5";
        assert_eq!(ticks_used(stat), Some(281));
        assert_eq!(ticks_used("7 (cut"), None);
    }

    #[test]
    fn a_program_that_fails_is_quoted() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; false"])).expect_err("it fails");
        assert_eq!(error.to_string(), "sh -c echo no such luck >&2; false: no such luck");
    }
}
