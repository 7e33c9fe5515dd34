//! One scenario in two worlds: where the simulator and the real kernel differ, conversation by conversation, and why.
//!
//! Decisions must be the same; times differ, since the simulator computes in no time. What a set-up takes longer is divided
//! by the traces of both runs: on the way (links, and until the receiver had been woken), processing (what an entity took
//! between a message and the next), and the rest, which no entity waited for: timers and sockets on the application's side.

use crate::digest::DigestError;
use crate::record::{Conversation, Manifest, Path, RunDirectory};
use ntmobile_telemetry::conversation::Conversation as Told;
use ntmobile_telemetry::read::Recording;
use ntmobile_telemetry::sequence::{Link, Sequence};
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Why two runs cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// One of them cannot be read.
    #[error(transparent)]
    Read(#[from] DigestError),
    /// They are of different scenarios.
    #[error("{one} and {other} are runs of different scenarios: their conversations are not the same")]
    Different {
        /// One.
        one: std::path::PathBuf,
        /// The other.
        other: std::path::PathBuf,
    },
}

/// Two runs of a scenario.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Their manifests.
    pub manifests: [Manifest; 2],
    /// A row for each conversation.
    pub rows: Vec<Row>,
}

/// A conversation in both runs.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub measured: [Conversation; 2],
    /// What its set-up consisted of.
    pub set_up: [Option<Parts>; 2],
    /// Why its packets went the way that they did, in the words of the DC that decided it.
    pub because: [Option<String>; 2],
}

/// What a set-up consisted of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// How many messages the end waited for.
    pub messages: usize,
    /// How long these were on the way.
    pub on_the_way: Duration,
    /// How long entities took between them.
    pub processing: Duration,
    /// What is in neither.
    pub rest: Duration,
}

impl Comparison {
    /// Compares two runs.
    pub fn of(one: &RunDirectory, other: &RunDirectory) -> Result<Self, CompareError> {
        let (ours, theirs) = (Run::read(one)?, Run::read(other)?);
        let same = |(one, other): (&Conversation, &Conversation)| {
            (&one.from, &one.to, &one.kind) == (&other.from, &other.to, &other.kind)
        };
        let is_same = ours.rows.len() == theirs.rows.len() && ours.rows.iter().zip(&theirs.rows).all(same);
        if !is_same {
            let (one, other) = (one.path().to_owned(), other.path().to_owned());
            return Err(CompareError::Different { one, other });
        }
        let (our_told, their_told) = (ours.recording.conversations(), theirs.recording.conversations());
        let rows = ours.rows.iter().zip(&theirs.rows).map(|(one, other)| {
            let told = [ours.told(&our_told, one), theirs.told(&their_told, other)];
            Row {
                measured: [one.clone(), other.clone()],
                because: told.map(|told| told.and_then(Told::because).map(str::to_owned)),
                set_up: [
                    told[0].and_then(|told| ours.parts(told, one)),
                    told[1].and_then(|told| theirs.parts(told, other)),
                ],
            }
        });
        let rows = rows.collect();
        Ok(Self { manifests: [ours.manifest, theirs.manifest], rows })
    }

    /// Whether every conversation went the same way in both.
    pub fn paths_agree(&self) -> bool {
        self.rows.iter().all(Row::paths_agree)
    }
}

impl Row {
    /// Whether it went the same way in both.
    pub fn paths_agree(&self) -> bool {
        self.measured[0].path == self.measured[1].path
    }

    /// By how much more the second took for its set-up, and for what.
    pub fn excess(&self) -> Option<Excess> {
        let [one, other] = [self.measured[0].set_up?, self.measured[1].set_up?];
        let parts = self.set_up[0].zip(self.set_up[1]);
        Some(Excess { all: millis(other) - millis(one), parts })
    }
}

/// By how much more the second run took.
#[derive(Clone, Copy, Debug)]
pub struct Excess {
    /// Altogether, in milliseconds.
    pub all: f64,
    parts: Option<(Parts, Parts)>,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((one, other)) = self.parts else { return Ok(()) };
        let more = |one: Duration, other: Duration| millis(other) - millis(one);
        write!(
            f,
            "{:+.1} on the way of {} messages, {:+.1} processing, {:+.1} timers and sockets",
            more(one.on_the_way, other.on_the_way),
            other.messages,
            more(one.processing, other.processing),
            more(one.rest, other.rest)
        )?;
        if one.messages != other.messages {
            write!(f, "; {} messages before", one.messages)?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A run as it is read.
struct Run {
    manifest: Manifest,
    rows: Vec<Conversation>,
    recording: Recording,
}

impl Run {
    fn read(directory: &RunDirectory) -> Result<Self, DigestError> {
        let path = directory.trace_path();
        let recording = Recording::open(&path).map_err(|source| DigestError::Trace { path, source })?;
        Ok(Self { manifest: directory.manifest()?, rows: directory.results()?, recording })
    }

    /// When a moment of the run was, in the trace's times.
    fn at(&self, since: Duration) -> u64 {
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.recording.epoch.unwrap_or_default().saturating_add(since)
    }

    /// When a conversation began, and when its application could send.
    fn set_up(&self, row: &Conversation) -> Option<(u64, u64)> {
        let start = Duration::from_nanos(row.start.0);
        Some((self.at(start), self.at(start + row.set_up?)))
    }

    /// The tunnel that a conversation uses: the last one of its ends that was begun before its application could send.
    fn told<'t>(&self, all: &'t [Told<'t>], row: &Conversation) -> Option<&'t Told<'t>> {
        let (_, end) = self.set_up(row)?;
        let host = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        all.iter().rev().find(|told| {
            let ends = [host(told.node), host(told.peer)];
            let same = ends == [row.from.as_str(), row.to.as_str()] || ends == [row.to.as_str(), row.from.as_str()];
            same && told.trace.start() <= end
        })
    }

    /// What a set-up consisted of; as much of it as lies between its beginning and its end.
    fn parts(&self, told: &Told<'_>, row: &Conversation) -> Option<Parts> {
        let (start, end) = self.set_up(row)?;
        let mut parts = Parts::default();
        let base = told.trace.start();
        for link in Sequence::of(&told.trace).critical_path {
            let (Link::Message { from, to, .. } | Link::Wait { from, to, .. }) = link;
            // A diagram's times begin with it.
            let within = (base + to).min(end).saturating_sub((base + from).max(start));
            if within == 0 {
                continue;
            }
            match link {
                Link::Message { .. } => {
                    parts.messages += 1;
                    parts.on_the_way += Duration::from_nanos(within);
                }
                Link::Wait { .. } => parts.processing += Duration::from_nanos(within),
            }
        }
        parts.rest = row.set_up?.saturating_sub(parts.on_the_way + parts.processing);
        Some(parts)
    }
}

/// Which way packets went, in a word or two.
pub fn way(path: Option<&Path>) -> String {
    match path {
        None => "none".to_owned(),
        Some(Path::Direct) => "direct".to_owned(),
        Some(Path::Relayed(relay)) => format!("by {relay}"),
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
