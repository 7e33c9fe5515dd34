//! The directory of a run: which file is what, and how each is written and read.

use super::manifest::{FORMAT, Manifest};
use super::results::{self, Conversation, CsvError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a run's directory cannot be written or read.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// There is nothing at all.
    #[error("{0}: there is no such directory; `ntm run` writes one")]
    NoDirectory(PathBuf),
    /// There is no run here.
    #[error("{0} holds no run: it has no manifest.json")]
    NoRun(PathBuf),
    /// The manifest is broken.
    #[error("{path}: {source}")]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Where and how.
        source: serde_json::Error,
    },
    /// The manifest is of another version.
    #[error("{path} has format {found}, this version reads {FORMAT}; run the scenario again")]
    Format {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The results are broken.
    #[error("{path}: {source}")]
    Results {
        /// Which.
        path: PathBuf,
        /// Where and how.
        source: CsvError,
    },
}

/// A run's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// Makes an empty one, or empties one that held a run before. Files that are none of a run's stay.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, RecordError> {
        let directory = Self { root: root.into() };
        fs::create_dir_all(&directory.root).map_err(directory.error(&directory.root))?;
        for file in directory.files() {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(directory.error(&file)(error)),
                _ => {}
            }
        }
        Ok(directory)
    }

    /// One that holds a run.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RecordError> {
        let directory = Self { root: root.into() };
        if directory.manifest_path().is_file() {
            Ok(directory)
        } else if directory.root.exists() {
            Err(RecordError::NoRun(directory.root))
        } else {
            Err(RecordError::NoDirectory(directory.root))
        }
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Seed, versions, scenario, plugins, wall-clock times.
    pub fn manifest_path(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    /// Spans and metrics, one OTLP/JSON request a line.
    pub fn trace_path(&self) -> PathBuf {
        self.root.join("trace.otlp.jsonl")
    }

    /// What was measured, a row for each conversation.
    pub fn results_path(&self) -> PathBuf {
        self.root.join("results.csv")
    }

    /// Every packet on every interface.
    pub fn capture_path(&self) -> PathBuf {
        self.root.join("capture.pcapng")
    }

    /// A configuration directory for Wireshark that decrypts the capture.
    pub fn wireshark_path(&self) -> PathBuf {
        self.root.join("wireshark")
    }

    /// What servers and nodes told, a line for each event.
    pub fn events_path(&self) -> PathBuf {
        self.root.join("events.log")
    }

    /// One page with everything in it.
    pub fn report_path(&self) -> PathBuf {
        self.root.join("report.html")
    }

    fn files(&self) -> [PathBuf; 6] {
        [
            self.manifest_path(),
            self.trace_path(),
            self.results_path(),
            self.capture_path(),
            self.events_path(),
            self.report_path(),
        ]
    }

    /// Writes the manifest; last of all files, so that a directory with one is whole.
    pub fn write_manifest(&self, manifest: &Manifest) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(manifest).expect("a manifest holds nothing JSON cannot");
        self.write(&self.manifest_path(), &(text + "\n"))
    }

    /// Reads the manifest.
    pub fn manifest(&self) -> Result<Manifest, RecordError> {
        let path = self.manifest_path();
        let text = fs::read_to_string(&path).map_err(self.error(&path))?;
        let manifest: Manifest =
            serde_json::from_str(&text).map_err(|source| RecordError::Manifest { path: path.clone(), source })?;
        if manifest.format == FORMAT { Ok(manifest) } else { Err(RecordError::Format { path, found: manifest.format }) }
    }

    /// Writes the results.
    pub fn write_results(&self, conversations: &[Conversation]) -> Result<(), RecordError> {
        self.write(&self.results_path(), &results::to_csv(conversations))
    }

    /// Reads the results.
    pub fn results(&self) -> Result<Vec<Conversation>, RecordError> {
        let path = self.results_path();
        let text = fs::read_to_string(&path).map_err(self.error(&path))?;
        results::from_csv(&text).map_err(|source| RecordError::Results { path, source })
    }

    /// Writes a file.
    pub fn write(&self, path: &Path, text: &str) -> Result<(), RecordError> {
        fs::write(path, text).map_err(self.error(path))
    }

    /// What the operating system said about `path`, as an error of this module.
    pub fn error(&self, path: &Path) -> impl FnOnce(io::Error) -> RecordError + use<> {
        let path = path.to_owned();
        move |source| RecordError::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::manifest::{Program, State};

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            scenario: "quickstart".into(),
            seed: 7,
            state: State::Partial,
            program: Program { version: "0.1.0".into(), revision: None },
            started_unix_s: 1,
            wall_s: 0.5,
            wire_version: 1,
            simulated_s: 60.0,
            events: 3,
            plugins: Default::default(),
            lab: None,
            scenario_toml: "[world]\nseed = 7\n".into(),
        }
    }

    #[test]
    fn a_run_reads_back() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let directory = RunDirectory::create(home.path().join("a/7")).expect("created");
        directory.write_results(&[]).expect("written");
        directory.write_manifest(&manifest()).expect("written");
        let again = RunDirectory::open(directory.path()).expect("it holds a run");
        assert_eq!(again.manifest().expect("read"), manifest());
        assert_eq!(again.results().expect("read"), Vec::new());
    }

    #[test]
    fn a_new_run_leaves_nothing_of_the_old_one_but_other_files_stay() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let directory = RunDirectory::create(home.path()).expect("created");
        directory.write_manifest(&manifest()).expect("written");
        let note = home.path().join("notes.txt");
        fs::write(&note, "mine").expect("written");
        RunDirectory::create(home.path()).expect("created again");
        assert!(matches!(RunDirectory::open(home.path()), Err(RecordError::NoRun(_))));
        assert!(note.exists());
    }

    #[test]
    fn a_manifest_of_another_version_is_refused_by_name() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let directory = RunDirectory::create(home.path()).expect("created");
        directory.write_manifest(&Manifest { format: 99, ..manifest() }).expect("written");
        let error = directory.manifest().expect_err("from the future");
        assert!(error.to_string().ends_with("has format 99, this version reads 1; run the scenario again"), "{error}");
    }
}
