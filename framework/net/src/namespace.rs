//! Network namespaces: work that is done in another one.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

/// Where `ip netns` keeps those that have a name.
const NAMED: &str = "/run/netns";

/// A network namespace. It lives at least as long as this.
#[derive(Debug)]
pub struct NetworkNamespace {
    path: PathBuf,
    file: File,
}

impl NetworkNamespace {
    /// The one that `ip netns` knows by this name.
    pub fn named(name: &str) -> io::Result<Self> {
        Self::at(&Path::new(NAMED).join(name))
    }

    /// The one that this file stands for, as in `/proc/4711/ns/net`.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }

    /// The file by which it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Does something on a thread of its own in the namespace, and returns when it is done. What is made there, such as
    /// sockets and devices, stays there wherever it is used afterwards. Needs CAP_SYS_ADMIN.
    ///
    /// # Panics
    /// When the work does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("namespace".into()).spawn_scoped(scope, || {
                // SAFETY: the descriptor is open during the call, which concerns this thread alone.
                match unsafe { libc::setns(self.file.as_raw_fd(), libc::CLONE_NEWNET) } {
                    0 => Ok(work()),
                    _ => Err(io::Error::last_os_error()),
                }
            })?;
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_namespace_cannot_be_entered() {
        assert!(NetworkNamespace::named("there is none of this name").is_err());
        let file = tempfile::NamedTempFile::new().expect("a file");
        let namespace = NetworkNamespace::at(file.path()).expect("a file can be opened");
        assert!(namespace.enter(|| ()).is_err());
    }
}
