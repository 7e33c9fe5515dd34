//! A lab that stands on this machine: its name, its lock, and how all of it is removed again, whoever has left it behind.
//!
//! Whatever a lab makes bears its prefix or lies in its directory, so that it can be removed without anybody having written
//! down what there was. The lock is the kernel's: it is free again when the process that held it is gone, however it went.

use super::kernel::{self, KernelError};
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Where the directories of labs are.
const HOME: &str = "/run/ntm-lab";
/// Where `ip netns exec` looks for a namespace's own files.
const NETNS_FILES: &str = "/etc/netns";
/// How long whoever holds a lab may take to take it down.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often it is looked whether that has happened.
const PAUSE: Duration = Duration::from_millis(50);

/// Why a lab cannot stand, or cannot be taken down.
#[derive(Debug, Error)]
pub enum StandingError {
    /// A lab's name is part of other names.
    #[error("{0:?} is no name for a lab: up to 16 lower-case letters, digits and hyphens")]
    Name(String),
    /// Only root may make namespaces.
    #[error("the lab makes network namespaces, which needs root: sudo ntm lab …")]
    NotRoot,
    /// There is one.
    #[error(
        "the lab {name:?} stands already, by process {process}: ntm lab down takes it down, --name builds another beside it"
    )]
    Taken {
        /// Its name.
        name: String,
        /// Who holds it.
        process: String,
    },
    /// There is none.
    #[error("no lab {0:?} stands: ntm lab up SCENARIO builds one")]
    None(String),
    /// Its directory cannot be used.
    #[error("{path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The process that holds it does not end.
    #[error("process {0} holds the lab and does not end")]
    Stuck(String),
}

/// A lab's name, and with it everything's that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabName(String);

impl LabName {
    /// Takes a name.
    pub fn parse(name: &str) -> Result<Self, StandingError> {
        let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 16 || !name.chars().all(is_fit) {
            return Err(StandingError::Name(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The namespace of a host.
    pub fn namespace(&self, label: &str) -> String {
        format!("{}{label}", self.prefix())
    }

    fn prefix(&self) -> String {
        // No name has a dot in it, so none is the beginning of another's.
        format!("ntm-{}.", self.0)
    }

    /// Where its files are while it stands.
    pub fn directory(&self) -> PathBuf {
        Path::new(HOME).join(&self.0)
    }

    fn resolver_directory(&self, label: &str) -> PathBuf {
        Path::new(NETNS_FILES).join(self.namespace(label))
    }

    fn lock_file(&self) -> PathBuf {
        // Beside the directory, which goes while the lock is held.
        Path::new(HOME).join(format!("{}.lock", self.0))
    }

    fn description_file(&self) -> PathBuf {
        self.directory().join("lab.json")
    }

    /// What stands there.
    pub fn description(&self) -> Result<Description, StandingError> {
        let text = std::fs::read_to_string(self.description_file()).ok();
        text.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| StandingError::None(self.0.clone()))
    }

    /// Takes a lab down, whoever has left it behind; whether there was anything of it.
    pub fn take_down(&self) -> Result<bool, StandingError> {
        check_root()?;
        let was_there = self.is_there();
        let deadline = std::time::Instant::now() + PATIENCE;
        let mut told = 0;
        let lock = loop {
            let process = match self.lock() {
                Ok(lock) => break lock,
                Err(StandingError::Taken { process, .. }) => process,
                Err(error) => return Err(error),
            };
            if std::time::Instant::now() > deadline {
                return Err(StandingError::Stuck(process));
            }
            // Asked once, and made to when half of the time is over.
            let is_late = std::time::Instant::now() + PATIENCE / 2 > deadline;
            for (number, signal) in [(1, "-TERM"), (2, "-KILL")] {
                if told < number && (number == 1 || is_late) && tell(&process, &self.lock_file(), signal) {
                    told = number;
                }
            }
            std::thread::sleep(PAUSE);
        };
        self.remove()?;
        self.release(lock);
        Ok(was_there)
    }

    fn is_there(&self) -> bool {
        self.directory().exists() || !kernel::namespaces(&self.prefix()).is_empty()
    }

    fn lock(&self) -> Result<File, StandingError> {
        let path = self.lock_file();
        let refused = |source| StandingError::Directory { path: path.clone(), source };
        std::fs::create_dir_all(HOME).map_err(refused)?;
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(refused)?;
        match file.try_lock() {
            // Whoever held it has removed the file meanwhile: this is the lock of nothing.
            Ok(()) if !is_still(&file, &path) => self.lock(),
            Ok(()) => {
                // Whoever was killed with the lock has left its number, which may be another's by now.
                file.set_len(0).map_err(refused)?;
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => {
                let process = std::fs::read_to_string(&path).unwrap_or_default();
                Err(StandingError::Taken { name: self.0.clone(), process: process.trim().to_owned() })
            }
            Err(TryLockError::Error(source)) => Err(refused(source)),
        }
    }

    /// Removes everything that bears this name.
    fn remove(&self) -> Result<(), StandingError> {
        for namespace in kernel::namespaces(&self.prefix()) {
            kernel::remove_namespace(&namespace)?;
        }
        let mut directories = vec![self.directory()];
        if let Ok(entries) = std::fs::read_dir(NETNS_FILES) {
            let ours = entries
                .filter_map(Result::ok)
                .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&self.prefix())));
            directories.extend(ours.map(|entry| entry.path()));
        }
        for path in directories {
            match std::fs::remove_dir_all(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StandingError::Directory { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives the name free, with the directories that nobody else uses.
    fn release(&self, lock: File) {
        // The file goes while it is still locked, so that nobody takes one that is about to go.
        let _ = std::fs::remove_file(self.lock_file());
        drop(lock);
        // Those of others stay: they are not empty.
        let _ = std::fs::remove_dir(HOME);
        let _ = std::fs::remove_dir(NETNS_FILES);
    }
}

/// What stands, for whoever asks from another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The scenario's name.
    pub scenario: String,
    /// What its hosts are called: servers, nodes, routers.
    pub hosts: Vec<String>,
    /// Those of them that are nodes.
    pub nodes: Vec<String>,
}

/// The right to build a lab of a name; all of it is removed when this is dropped.
#[derive(Debug)]
pub struct Standing {
    name: LabName,
    lock: Option<File>,
}

impl Standing {
    /// Takes the name, and removes what somebody who was killed has left behind under it.
    pub fn claim(name: &LabName) -> Result<Self, StandingError> {
        check_root()?;
        kernel::check_tools()?;
        let mut lock = name.lock()?;
        // Before anything that takes time: who wants the lab down asks whoever the file names.
        let written = lock.write_all(std::process::id().to_string().as_bytes());
        written.map_err(|source| StandingError::Directory { path: name.lock_file(), source })?;
        let standing = Self { name: name.clone(), lock: Some(lock) };
        name.remove()?;
        let directory = name.directory();
        let made = ntmobile_host::files::private_directory(&directory);
        made.map_err(|error| StandingError::Directory { path: directory, source: io::Error::other(error) })?;
        Ok(standing)
    }

    /// Its name.
    pub fn name(&self) -> &LabName {
        &self.name
    }

    /// Makes a host's namespace.
    pub(super) fn add_host(&self, label: &str) -> Result<(), StandingError> {
        Ok(kernel::add_namespace(&self.name.namespace(label))?)
    }

    /// Gives a host a resolver configuration of its own, which `ip netns exec` puts in place of the machine's.
    pub(super) fn set_resolver(&self, label: &str, text: &str) -> Result<(), StandingError> {
        let directory = self.name.resolver_directory(label);
        let path = directory.join("resolv.conf");
        let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&path, text));
        written.map_err(|source| StandingError::Directory { path: directory, source })
    }

    /// Tells other processes what stands.
    pub(super) fn describe(&self, description: &Description) -> Result<(), StandingError> {
        let path = self.name.description_file();
        let text = serde_json::to_string_pretty(description).expect("names have a form in JSON");
        std::fs::write(&path, text).map_err(|source| StandingError::Directory { path, source })
    }

    /// Takes everything down, and says whether that went well.
    pub fn take_down(mut self) -> Result<(), StandingError> {
        let removed = self.name.remove();
        if let Some(lock) = self.lock.take() {
            self.name.release(lock);
        }
        removed
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // Nobody is left to tell; the next lab of this name removes what remains.
            let _ = self.name.remove();
            self.name.release(lock);
        }
    }
}

/// Sends a signal to the process that has a lab's lock; whether there was one. A number alone says too little: whoever had it may
/// have ended, and it may be anybody's by now.
fn tell(process: &str, lock_file: &Path, signal: &str) -> bool {
    if !has_open(process, lock_file) {
        return false;
    }
    // One that has ended meanwhile is what was wanted.
    let _ = std::process::Command::new("kill").args([signal, process]).status();
    true
}

/// Whether a process has this file open.
fn has_open(process: &str, path: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    let (Ok(process), Some(wanted)) = (process.parse::<u32>(), identity(path)) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return false };
    open.filter_map(Result::ok).any(|open| identity(&open.path()) == Some(wanted))
}

/// Whether an open file is the one of this name.
fn is_still(file: &File, path: &Path) -> bool {
    let number = |metadata: io::Result<std::fs::Metadata>| metadata.map(|metadata| metadata.ino()).ok();
    number(file.metadata()) == number(std::fs::metadata(path))
}

/// Root is whoever may write where namespaces are kept.
fn check_root() -> Result<(), StandingError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1));
    if effective == Some("0") { Ok(()) } else { Err(StandingError::NotRoot) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_has_the_lock_is_told() {
        use std::os::unix::process::ExitStatusExt;

        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("lab.lock");
        let lock = File::create(&path).expect("made");
        let end = |mut command: std::process::Command| {
            let mut process = command.arg("600").spawn().expect("it runs");
            let is_told = tell(&process.id().to_string(), &path, "-TERM");
            process.kill().expect("it is ours");
            (is_told, process.wait().expect("it has ended").signal())
        };
        assert_eq!(end(std::process::Command::new("sleep")), (false, Some(9)), "a stranger is not");
        let mut holder = std::process::Command::new("sleep");
        holder.stdin(lock);
        assert_eq!(end(holder), (true, Some(15)));
        assert!(!tell("", &path, "-TERM"), "it has not written its number yet");
    }

    #[test]
    fn a_name_is_nobody_else_s_beginning() {
        for wrong in ["", "Lab", "a.b", "a/b", "seventeen-letters"] {
            assert!(matches!(LabName::parse(wrong), Err(StandingError::Name(_))), "{wrong}");
        }
        let (one, other) = (LabName::parse("a").expect("fit"), LabName::parse("a-b").expect("fit"));
        assert!(!other.namespace("as").starts_with(&one.prefix()));
        assert_eq!(one.namespace("dc.u1.example"), "ntm-a.dc.u1.example");
    }
}
