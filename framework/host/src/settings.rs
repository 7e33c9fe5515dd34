//! What the files of real hosts say: one kind of file for each server, one for a node.
//!
//! A file is TOML; environment variables stand above it, as in `NTM_SERVER__STATE=/srv/ntm`. An unknown key, a name that is
//! none and a plugin that does not exist are errors that say where they are written. Every key has its default, its unit and
//! its meaning in the example that comes with each kind ([`SettingsFile::EXAMPLE`]), which is the reference too.

mod common;
mod coordinator;
mod names;
mod node;
mod servers;
#[cfg(test)]
mod tests;
mod written;

pub use common::{HostSettings, LogForm, RemoteServer, ServerSettings};
pub use coordinator::{CoordinatorFile, CoordinatorPlugins, CoordinatorTimes, DomainSettings};
pub use names::{HostRecord, NamesFile, NamesSettings, ZoneRecord};
pub use node::{Authentication, Model, NodeFile, NodePlugins, NodeSettings, TunSettings};
pub use servers::{
    AccountServerFile, AccountServerTimes, AccountsSettings, NotificationServerFile, NotificationSettings,
    RelayServerFile, RelaySettings,
};
pub use written::{Prefix4, Prefix6, Written};

use ntmobile_settings::{Layers, Merged, Problem, SettingsError, join};
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a file cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// It cannot be read.
    #[error("{path} cannot be read: {source}{}", if_missing(source))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What it says is wrong.
    #[error(transparent)]
    Wrong(#[from] SettingsError),
}

/// What to do where there is no such file.
fn if_missing(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => "; write it as --example shows, or name another with --config",
        _ => "",
    }
}

/// A kind of file.
pub trait SettingsFile: DeserializeOwned {
    /// A file of this kind that explains itself: required keys are set, all others are there with their defaults, commented
    /// out.
    const EXAMPLE: &'static str;

    /// Looks at what the form alone does not rule out.
    fn check(&self, _check: &mut Check<'_>) {}

    /// Makes paths that the file gives relative to itself relative to where the process runs.
    fn resolve(&mut self, directory: &Path);

    /// Reads a file and the environment.
    fn load(path: &Path) -> Result<Self, LoadError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| LoadError::Unreadable { path: path.to_owned(), source })?;
        // Only names and values that are text can be meant for us.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let mut file = Self::read(&path.display().to_string(), &text, variables)?;
        file.resolve(path.parent().unwrap_or(Path::new(".")));
        Ok(file)
    }

    /// Reads a text, which errors call `name`, and variables.
    fn read(
        name: &str,
        text: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SettingsError> {
        let merged = Layers::new(name, text)?.environment(variables)?.merge()?;
        let file: Self = merged.decode(|_key| None)?;
        let mut check = Check { source: &merged, problems: Vec::new() };
        file.check(&mut check);
        SettingsError::unless_empty(check.problems)?;
        Ok(file)
    }
}

/// Gathers what is wrong, with its places.
pub struct Check<'m> {
    source: &'m Merged,
    problems: Vec<Problem>,
}

impl Check<'_> {
    /// The value at `path` is wrong.
    pub fn wrong(&mut self, path: &[&str], what: impl std::fmt::Display) {
        let place = self.source.place_of(path);
        self.problems.push(Problem::new(format!("{}: {what}", join(path))).at(Some(place)));
    }

    /// The value at `path` must be one of those known.
    pub fn known(&mut self, path: &[&str], name: &str, known: &[&'static str]) {
        if !known.contains(&name) {
            let problem = Problem::unknown(format!("unknown name {name:?} for {}", join(path)), name, known);
            let place = self.source.place_of(path);
            self.problems.push(problem.at(Some(place)));
        }
    }
}
