//! What is wrong with settings, said so that it can be put right: what, where it is written, and what was probably meant.

use std::fmt;
use thiserror::Error;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    what: String,
    place: Option<String>,
    nearest: Vec<String>,
    known: Vec<String>,
    hint: Option<String>,
}

impl Problem {
    /// Something is wrong, at no known place.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), place: None, nearest: Vec::new(), known: Vec::new(), hint: None }
    }

    /// A name that is not among those known, with the nearest of them.
    pub fn unknown<S: AsRef<str>>(what: impl Into<String>, name: &str, known: impl IntoIterator<Item = S>) -> Self {
        let known: Vec<String> = known.into_iter().map(|name| name.as_ref().to_owned()).collect();
        Self { nearest: nearest(name, &known), known, ..Self::new(what) }
    }

    /// Where it is written.
    pub fn at(mut self, place: Option<String>) -> Self {
        self.place = self.place.or(place);
        self
    }

    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        match self.nearest.as_slice() {
            [] => {}
            [one] => write!(f, ". Did you mean {one:?}?")?,
            [one, other, ..] => write!(f, ". Did you mean {one:?} or {other:?}?")?,
        }
        if !self.known.is_empty() {
            let end = if self.nearest.is_empty() { "." } else { "" };
            write!(f, "{end} Known: {}", self.known.join(", "))?;
        }
        match &self.hint {
            Some(hint) => write!(f, ". {hint}"),
            None => Ok(()),
        }
    }
}

/// The names most like `name`, best first, at most two, and none that is too far off to be a slip.
fn nearest(name: &str, known: &[String]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(2);
    let mut close: Vec<(usize, &String)> = known
        .iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&wanted, &candidate.to_lowercase());
            // A name cut short is a slip, however much is missing.
            let cut = wanted.len() >= 2 && (candidate.starts_with(&wanted) || candidate.ends_with(&wanted));
            (if cut { distance.min(allowed) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    close.sort();
    let best = close.first().map(|(distance, _)| *distance);
    close.into_iter().filter(|(distance, _)| Some(*distance) == best).take(2).map(|(_, name)| name.clone()).collect()
}

/// Settings that cannot be used, and everything that is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", self.lines())]
pub struct SettingsError {
    problems: Vec<Problem>,
}

impl SettingsError {
    /// Everything that is wrong, in the order in which it was found; at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// `Err` if anything is wrong.
    pub fn unless_empty(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    fn lines(&self) -> String {
        self.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
    }
}

impl From<Problem> for SettingsError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}
