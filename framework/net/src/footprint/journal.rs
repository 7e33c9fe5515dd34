//! The journal: one line for each change, written before the change is made.
//!
//! It is locked by the process that owns it for as long as that process lives, however it ends. A last line that was not
//! written to its end belongs to a change that was not made. What the owner undoes before its end stays for a while, since undoing
//! it once more changes nothing; then a shorter journal takes the place of the long one, under a lock of its own.
//!
//! **Whoever can write the journal has root change the host's resolver and routes.** So it is believed, and begun, only where nobody but
//! root and the node's own user can write: neither the file nor its directory, and neither is a symbolic link.

use super::FootprintError;
use super::remnant::Remnant;
use super::resolver::Hook;
use super::systemd::SystemdLink;
use crate::links;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

/// What the names of journals end with.
const ENDING: &str = ".undo";

/// So many changes that have been undone are kept before the journal is made shorter.
const UNDONE: usize = 1_024;

/// A change, and what is needed to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) enum Step {
    /// This process owns what follows.
    Begin { process: u32, interface: String },
    /// The interface is made, and the kernel's IPsec tables know it by this number.
    KernelInterface { number: u32 },
    /// The link was in this state.
    Link { is_up: bool, mtu: u32 },
    /// The interface gets an address.
    Address { address: IpAddr, prefix: u8 },
    /// A network is routed to the interface.
    Route { network: IpAddr, prefix: u8 },
    /// The host's programs ask us for names.
    Resolver(Hook),
    /// systemd's resolver asks us for names.
    SystemdLink(SystemdLink),
}

/// A journal that we own.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Where the last step begins.
    last: u64,
    /// What has been undone and is still written down.
    undone: Vec<Step>,
}

/// What became of an attempt to own a journal.
enum Claim {
    Ours(Journal),
    /// Its owner lives.
    Owned(File),
    Absent,
}

impl Journal {
    /// Where the journal of `interface` will be; what a predecessor has left is undone.
    pub(super) fn prepare(directory: &Path, interface: &str) -> Result<PathBuf, FootprintError> {
        let path = path(directory, interface)?;
        Self::undo_stale(directory, interface, || {})?;
        // Nobody else may write there, whatever the process's umask would allow.
        let made = DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(|source| FootprintError::Journal { path: path.clone(), source })?;
        check_directory(directory)?;
        Ok(path)
    }

    /// Begins the journal.
    pub(super) fn begin(path: PathBuf, interface: &str) -> Result<Self, FootprintError> {
        let refused = |source| FootprintError::Journal { path: path.clone(), source };
        match claim(&path, true)? {
            Claim::Ours(mut journal) => {
                let begin = Step::Begin { process: process::id(), interface: interface.to_owned() };
                journal.append(&begin)?;
                Ok(journal)
            }
            Claim::Owned(file) => Err(running(interface, file)),
            Claim::Absent => Err(refused(io::ErrorKind::NotFound.into())),
        }
    }

    /// Undoes what a predecessor has left, and does `also` before anybody else can own the interface; `None` if there was no journal.
    pub(super) fn undo_stale(
        directory: &Path,
        interface: &str,
        also: impl FnOnce(),
    ) -> Result<Option<BTreeSet<Remnant>>, FootprintError> {
        let path = path(directory, interface)?;
        if directory.exists() {
            check_directory(directory)?;
        }
        match claim(&path, false)? {
            Claim::Ours(journal) => {
                also();
                journal.undo().map(Some)
            }
            Claim::Owned(file) => Err(running(interface, file)),
            Claim::Absent => Ok(None),
        }
    }

    /// The journal of an owner that has just died; `None` if there is none any more.
    pub(super) fn of_the_dead(path: &Path) -> Result<Option<Self>, FootprintError> {
        match claim(path, false)? {
            Claim::Ours(journal) => Ok(Some(journal)),
            Claim::Owned(file) => Err(running("it", file)),
            Claim::Absent => Ok(None),
        }
    }

    /// Writes down a change that is going to be made.
    pub(super) fn append(&mut self, step: &Step) -> Result<(), FootprintError> {
        let line = line(step);
        let refused = |source| FootprintError::Journal { path: self.path.clone(), source };
        self.last = self.file.metadata().map_err(refused)?.len();
        let written = self.file.write_all(&line);
        if written.is_err() {
            // Half a line would hide all that come after it.
            self.take_back();
        }
        written.map_err(|source| FootprintError::Journal { path: self.path.clone(), source })
    }

    /// The change that was written down last was not made.
    pub(super) fn take_back(&mut self) {
        // If this fails the change is undone though it was not made, which changes nothing.
        let _undone_for_nothing = self.file.set_len(self.last);
    }

    /// A change that was written down has been undone.
    pub(super) fn forget(&mut self, step: Step) {
        self.undone.push(step);
        if self.undone.len() >= UNDONE {
            if let Err(error) = self.shorten() {
                // It is tried again after as many more.
                tracing::warn!(%error, path = %self.path.display(), "the journal cannot be made shorter");
            }
            self.undone.clear();
        }
    }

    /// Puts a journal without what has been undone in the place of this one.
    fn shorten(&mut self) -> io::Result<()> {
        let mut undone: HashMap<&Step, usize> = HashMap::new();
        for step in &self.undone {
            *undone.entry(step).or_default() += 1;
        }
        let mut text = Vec::new();
        for step in steps(&mut self.file)? {
            match undone.get_mut(&step) {
                Some(left) if *left > 0 => *left -= 1,
                _ => text.extend(line(&step)),
            }
        }
        let beside = self.path.with_extension("new");
        // One that was left behind when its writer was killed.
        let _there_may_be_none = fs::remove_file(&beside);
        let mut file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&beside)?;
        file.lock()?;
        let moved = file.write_all(&text).and_then(|()| fs::rename(&beside, &self.path));
        moved.inspect_err(|_| drop(fs::remove_file(&beside)))?;
        self.file = file;
        Ok(())
    }

    /// Undoes everything, the last change first; what there was. The journal is removed, or kept if something could not be undone.
    pub(super) fn undo(mut self) -> Result<BTreeSet<Remnant>, FootprintError> {
        let refused = |source| FootprintError::Journal { path: self.path.clone(), source };
        let steps = steps(&mut self.file).map_err(refused)?;
        let interface = steps.iter().find_map(|step| match step {
            Step::Begin { interface, .. } => Some(interface.as_str()),
            _ => None,
        });
        let index = interface.and_then(links::index);
        let (mut undone, mut failures) = (BTreeSet::new(), Vec::new());
        for step in steps.iter().rev() {
            match undo(step, index) {
                Ok(remnant) => undone.extend(remnant),
                Err(error) => failures.push(error.to_string()),
            }
        }
        if !failures.is_empty() {
            return Err(FootprintError::Undo(failures.join("; ")));
        }
        fs::remove_file(&self.path).map(|()| undone).map_err(refused)
    }
}

/// Undoes one change; what was there of it. An interface that is gone has taken its addresses and routes with it.
fn undo(step: &Step, index: Option<u32>) -> io::Result<Option<Remnant>> {
    match (step, index) {
        (Step::Resolver(hook), _) => hook.undo().map(|was_ours| was_ours.then_some(Remnant::Resolver)),
        (Step::KernelInterface { number }, index) => {
            links::remove_kernel_interface(index, *number).map(|()| index.map(|_| Remnant::Interface))
        }
        (Step::SystemdLink(link), Some(_)) => link.undo().map(|()| Some(Remnant::Resolver)),
        (Step::Route { network, prefix }, Some(index)) => {
            links::remove_route(index, *network, *prefix).map(|()| Some(Remnant::Routes))
        }
        (Step::Address { address, prefix }, Some(index)) => {
            links::remove_address(index, *address, *prefix).map(|()| Some(Remnant::Addresses))
        }
        (Step::Link { is_up, mtu }, Some(index)) => {
            links::set_state(index, &links::State { is_up: *is_up, mtu: *mtu }).map(|()| None)
        }
        (Step::Begin { .. }, _) | (_, None) => Ok(None),
    }
}

/// Opens and locks a journal. Its owner may remove it between the two: then what was locked is no journal any more.
fn claim(path: &Path, create: bool) -> Result<Claim, FootprintError> {
    let refused = |source| FootprintError::Journal { path: path.to_owned(), source };
    loop {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(create).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => return Ok(Claim::Absent),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(foreign(path, LINK)),
            opened => opened.map_err(refused)?,
        };
        check(path, &file.metadata().map_err(refused)?, fs::Metadata::is_file)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Claim::Owned(file)),
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        let is_same = fs::metadata(path).is_ok_and(|there| {
            file.metadata().is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
        });
        if is_same {
            return Ok(Claim::Ours(Journal { path: path.to_owned(), file, last: 0, undone: Vec::new() }));
        }
    }
}

const LINK: &str = "it is a symbolic link";

fn foreign(path: &Path, why: &'static str) -> FootprintError {
    FootprintError::Foreign { path: path.to_owned(), why }
}

/// Nobody but root and our own user may make, rename or remove a journal.
fn check_directory(directory: &Path) -> Result<(), FootprintError> {
    let refused = |source| FootprintError::Journal { path: directory.to_owned(), source };
    let metadata = fs::symlink_metadata(directory).map_err(refused)?;
    if metadata.is_symlink() {
        return Err(foreign(directory, LINK));
    }
    check(directory, &metadata, fs::Metadata::is_dir)
}

/// What is there is what it should be, and nobody but root and our own user can write to it.
fn check(path: &Path, metadata: &fs::Metadata, is_right: fn(&fs::Metadata) -> bool) -> Result<(), FootprintError> {
    // SAFETY: the call takes nothing and cannot fail.
    let own = unsafe { libc::geteuid() };
    if !is_right(metadata) {
        return Err(foreign(path, "it is not what it should be"));
    }
    if metadata.uid() != 0 && metadata.uid() != own {
        return Err(foreign(path, "it belongs to another user"));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(foreign(path, "others may write to it"));
    }
    Ok(())
}

fn running(interface: &str, mut file: File) -> FootprintError {
    let process = match steps(&mut file).unwrap_or_default().first() {
        Some(Step::Begin { process, .. }) => *process,
        // It has not come so far.
        _ => 0,
    };
    FootprintError::Running { interface: interface.to_owned(), process }
}

fn line(step: &Step) -> Vec<u8> {
    let mut line = serde_json::to_vec(step).expect("a step is plain data");
    line.push(b'\n');
    line
}

fn steps(file: &mut File) -> io::Result<Vec<Step>> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(text.split(|&byte| byte == b'\n').map_while(|line| serde_json::from_slice(line).ok()).collect())
}

/// The journal of an interface of this network namespace: another's may be called the same.
fn path(directory: &Path, interface: &str) -> Result<PathBuf, FootprintError> {
    let is_name = (1..=15).contains(&interface.len())
        && interface.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b'@')
        && interface != "."
        && interface != "..";
    if !is_name {
        return Err(FootprintError::Name(interface.to_owned()));
    }
    Ok(directory.join(format!("{interface}@{}{ENDING}", namespace())))
}

/// The number of the network namespace of this thread.
fn namespace() -> u64 {
    fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino())
}

/// The interfaces of this network namespace that have a journal.
pub(super) fn interfaces(directory: &Path) -> Vec<String> {
    let ending = format!("@{}{ENDING}", namespace());
    let Ok(files) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok()?.strip_suffix(&ending).map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set where this test is run once more, by itself: a process's umask is that of all its threads.
    const DIRECTORY: &str = "NTM_TEST_JOURNAL_DIRECTORY";

    #[test]
    fn a_directory_that_was_just_made_is_believed_whatever_the_umask() {
        if let Some(directory) = std::env::var_os(DIRECTORY) {
            Journal::prepare(Path::new(&directory), "lo").expect("nobody else can write there");
            return;
        }
        let home = tempfile::TempDir::new().expect("a directory");
        let name = std::thread::current().name().expect("tests have names").to_owned();
        let status = Command::new("sh")
            .args(["-c", "umask 0002 && exec \"$0\" --exact \"$1\""])
            .arg(std::env::current_exe().expect("this program"))
            .arg(name)
            .env(DIRECTORY, home.path().join("run/ntm"))
            .status();
        assert!(status.expect("it runs").success());
        assert!(home.path().join("run/ntm").is_dir(), "it was this test that ran");
    }
}
