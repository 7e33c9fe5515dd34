//! Processes whose words are kept, waited for, and answered.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often it is looked whether something has come.
const PAUSE: Duration = Duration::from_millis(50);

/// A process whose words are kept in a file; it is killed when this is dropped.
pub struct Process {
    child: Child,
    words: PathBuf,
    seen: usize,
}

impl Process {
    /// Starts a command; `words` is the file that takes what it says on either output.
    pub fn start(mut command: Command, words: &Path) -> io::Result<Self> {
        let file = File::create(words)?;
        let child = command.stdin(Stdio::piped()).stdout(file.try_clone()?).stderr(file).spawn()?;
        Ok(Self { child, words: words.to_owned(), seen: 0 })
    }

    /// All that it has said.
    pub fn words(&self) -> String {
        std::fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// Waits until it says this, later than what was waited for before.
    ///
    /// # Panics
    /// When it ends before, or does not say it in time.
    pub fn await_word(&mut self, word: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let said = self.words();
            if let Some(place) = said.get(self.seen..).and_then(|rest| rest.find(word)) {
                self.seen += place + word.len();
                return;
            }
            let ended = self.child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "{} ended with {ended:?} and never said {word:?}:\n{said}", self.words.display());
            assert!(Instant::now() < deadline, "{} did not say {word:?}:\n{said}", self.words.display());
            sleep(PAUSE);
        }
    }

    /// Says a line to it.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("its input is a pipe");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("it listens");
    }

    /// Its process identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal, as `kill` names it.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill starts").success(), "the process is gone");
    }

    /// Waits for its end; its exit code.
    pub fn end(&mut self, patience: Duration) -> Option<i32> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.words.display(), self.words());
            sleep(PAUSE);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
