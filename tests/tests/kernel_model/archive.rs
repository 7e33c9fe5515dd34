//! A root file system as the kernel unpacks it into memory at its start (`cpio`, format `newc`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Types of files, as their modes have them.
const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive that is being made.
#[derive(Default)]
pub(crate) struct Archive {
    octets: Vec<u8>,
    known: BTreeSet<PathBuf>,
}

impl Archive {
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) {
        if !self.known.insert(path.to_owned()) {
            return;
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            self.directory(parent);
        }
        let name = path.to_str().expect("a name in letters");
        let number = self.known.len();
        let fields = [number, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.octets.extend_from_slice(b"070701");
        for field in fields {
            self.octets.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.octets.extend_from_slice(name.as_bytes());
        self.octets.push(0);
        self.align();
        self.octets.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.octets.resize(self.octets.len().next_multiple_of(4), 0);
    }

    /// A directory, and those that it is in.
    pub(crate) fn directory(&mut self, path: impl AsRef<Path>) {
        self.entry(path.as_ref(), DIRECTORY, &[]);
    }

    /// A file of its own.
    pub(crate) fn text(&mut self, path: &str, mode: u32, text: &str) {
        self.entry(Path::new(path), FILE | mode, text.as_bytes());
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, to: &str) {
        self.entry(Path::new(path), LINK, to.as_bytes());
    }

    /// A file of the host.
    pub(crate) fn file(&mut self, from: &Path, to: impl AsRef<Path>) -> io::Result<()> {
        let mode = fs::metadata(from)?.permissions().mode() & 0o777;
        self.entry(to.as_ref(), FILE | mode, &fs::read(from)?);
        Ok(())
    }

    /// A directory of the host with all that is in it.
    pub(crate) fn tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.directory(to);
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.tree(&entry.path(), &to)?;
            } else {
                self.file(&entry.path(), to)?;
            }
        }
        Ok(())
    }

    /// A program of the host with the libraries that it is linked to.
    pub(crate) fn program(&mut self, from: &Path, to: impl AsRef<Path>) -> io::Result<()> {
        self.file(from, to)?;
        let linked = Command::new("ldd").arg(from).output()?;
        for library in String::from_utf8_lossy(&linked.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            self.file(Path::new(library), library.trim_start_matches('/'))?;
        }
        Ok(())
    }

    /// The whole.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(Path::new("TRAILER!!!"), 0, &[]);
        self.octets
    }
}
