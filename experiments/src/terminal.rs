//! What the terminal can do, and the few colours we use: none unless a person looks on, none when NO_COLOR is set.

use std::borrow::Cow;
use std::io::IsTerminal;

/// Where output goes.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    colours: bool,
    error_colours: bool,
    live: bool,
}

impl Terminal {
    /// As the process finds it.
    pub fn of_process() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let (out, err) = (std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
        Self { colours: wanted && out, error_colours: wanted && err, live: err }
    }

    /// One without colours and without a person.
    pub const PLAIN: Self = Self { colours: false, error_colours: false, live: false };

    /// Whether a line of standard error can be drawn over.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether standard output may be coloured.
    pub fn has_colours(&self) -> bool {
        self.colours
    }

    /// How many columns standard output has: as COLUMNS says, or room enough for most diagrams.
    pub fn width(&self) -> usize {
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        said.filter(|columns| *columns >= 40).unwrap_or(110)
    }

    /// A title.
    pub fn bold(&self, text: &str) -> String {
        paint(self.colours, "1", text)
    }

    /// Something of less importance.
    pub fn faint(&self, text: &str) -> String {
        paint(self.colours, "2", text)
    }

    /// Something good.
    pub fn good(&self, text: &str) -> String {
        paint(self.colours, "32", text)
    }

    /// Something to look at.
    pub fn notable(&self, text: &str) -> String {
        paint(self.colours, "33", text)
    }

    /// Something bad on standard output.
    pub fn bad(&self, text: &str) -> String {
        paint(self.colours, "31", text)
    }

    /// Something bad on standard error.
    pub fn error(&self, text: &str) -> String {
        paint(self.error_colours, "1;31", text)
    }
}

/// A text that may come from elsewhere, as it may be written to a terminal: what would steer it is spelled out, all but the ends of
/// lines.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n';
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut spelled = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if steers(c) { spelled.extend(c.escape_default()) } else { spelled.push(c) }
    }
    Cow::Owned(spelled)
}

fn paint(enabled: bool, code: &str, text: &str) -> String {
    if enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn nothing_from_elsewhere_steers_a_terminal() {
        assert_eq!(
            harmless("refused: \u{1b}[2J\u{9b}1m\r\nnext\u{7f}"),
            "refused: \\u{1b}[2J\\u{9b}1m\\r\nnext\\u{7f}"
        );
        assert_eq!(harmless("größer → 日本"), "größer → 日本");
    }
}
