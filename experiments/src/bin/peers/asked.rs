//! A program that answers each line of its input with one of its output.

use crate::failure::Failure;
use crate::process::processor_time;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The program; it ends with the value.
#[derive(Debug)]
pub(crate) struct Asked {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Asked {
    /// Starts it and waits for its first line.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self, Failure> {
        let start = |source| Failure::Start { program: name.to_owned(), source };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(start)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(start(std::io::ErrorKind::BrokenPipe.into()));
        };
        let mut this = Self { name, child, input, output: BufReader::new(output) };
        this.hear()?;
        Ok(this)
    }

    /// Says a line and waits for the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Result<String, Failure> {
        self.say(line)?;
        self.hear()
    }

    /// Says a line; its answer is still to be heard.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Failure> {
        let said = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
        said.map_err(|source| Failure::Start { program: self.name.to_owned(), source })
    }

    /// The processor time that it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(self.child.id())
    }

    /// Waits for a line.
    pub(crate) fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(Failure::Silent { program: self.name.to_owned(), what: "has ended", said: line }),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_answered_in_turn_and_an_end_is_noticed() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; read line; echo \"<$line>\""]);
        let mut asked = Asked::start("sh", &mut command).expect("a shell is everywhere");
        assert_eq!(asked.ask("one").expect("it answers"), "<one>");
        let error = asked.hear().expect_err("it has ended").to_string();
        assert!(error.starts_with("sh has ended"), "{error}");
    }
}
