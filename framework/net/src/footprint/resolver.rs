//! The host's resolver configuration: putting ours in its place, and giving the place back.

mod keepsake;

use super::{FootprintError, systemd};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;

/// What a file of ours begins with.
const MARK: &str =
    "# An NTMobile node's: programs on this host ask it for names. What was here before comes back when it ends.\n";
/// The port of DNS.
const PORT: u16 = 53;

/// After this time a file has been written to its end.
const SETTLED: Duration = Duration::from_millis(200);

/// What was in the place before.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Before {
    Nothing,
    Text { text: String, mode: u32 },
    Link(PathBuf),
}

/// Our file in the place of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Hook {
    path: PathBuf,
    listener: IpAddr,
    ours: String,
    before: Before,
}

impl Hook {
    /// What to put in the place of what is there now.
    pub(super) fn plan(path: &Path, listener: IpAddr) -> Result<Self, FootprintError> {
        let refused = |source| FootprintError::Resolver { path: path.to_owned(), source };
        let before = look(path).map_err(refused)?;
        let mut hook = Self { path: path.to_owned(), listener, ours: String::new(), before };
        let mut text = hook.text_before();
        if text.starts_with(MARK) {
            // Another node's; or this host has lost its power while one was up.
            hook.before = keepsake::recall(path).ok_or_else(|| FootprintError::ResolverTaken(path.to_owned()))?;
            text = hook.text_before();
        }
        hook.ours = written_for(listener, &text);
        Ok(hook)
    }

    pub(super) fn listener(&self) -> IpAddr {
        self.listener
    }

    /// Puts ours in its place.
    pub(super) fn put(&self) -> Result<(), FootprintError> {
        if let Err(error) = keepsake::keep(&self.path, &self.before) {
            tracing::warn!(%error, path = %self.path.display(), "if this host loses its power, its name servers have to be set again by hand");
        }
        replace(&self.path, &self.ours, 0o644)
            .map_err(|source| FootprintError::Resolver { path: self.path.clone(), source })
    }

    /// Whether what we put there is there, the whole of it.
    pub(super) fn is_in_place(&self) -> bool {
        matches!(look(&self.path), Ok(Before::Text { text, .. }) if text == self.ours)
    }

    /// Whether somebody has written to the place a moment ago, and may not have finished.
    pub(super) fn is_being_written(&self) -> bool {
        let written = fs::symlink_metadata(&self.path).and_then(|metadata| metadata.modified());
        written.is_ok_and(|at| at.elapsed().is_ok_and(|since| since < SETTLED))
    }

    /// Whom the host would ask. A symbolic link's file goes on being written by whoever owns it.
    pub(super) fn name_servers(&self, systemd: &Path) -> Vec<SocketAddr> {
        let mut servers = name_servers(&self.text_before());
        servers.retain(|server| server.ip() != self.listener);
        if servers.iter().all(|server| systemd::is_stub(server.ip())) {
            // systemd's resolver takes our file for the site's and asks us: whoever asked it would ask himself, for ever.
            let uplinks = systemd::uplinks(systemd, self.listener);
            return if uplinks.is_empty() { servers } else { uplinks };
        }
        servers
    }

    /// Gives the place back, unless somebody else has taken it; whether it was ours.
    pub(super) fn undo(&self) -> io::Result<bool> {
        let is_ours = match look(&self.path) {
            Ok(Before::Text { text, .. }) => self.is_ours(&text),
            Ok(_) => false,
            Err(error) => return Err(error),
        };
        if !is_ours {
            keepsake::forget(&self.path);
            return Ok(false);
        }
        match &self.before {
            Before::Nothing => fs::remove_file(&self.path),
            Before::Text { text, mode } => replace(&self.path, text, *mode),
            Before::Link(target) => {
                let new = beside(&self.path);
                symlink(target, &new)?;
                fs::rename(&new, &self.path).inspect_err(|_| drop(fs::remove_file(&new)))
            }
        }
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.path.display())))?;
        keepsake::forget(&self.path);
        Ok(true)
    }

    /// Whether this is our file, or a part of it written over what was there: we may have been killed in writing it. An empty file is
    /// somebody else's.
    fn is_ours(&self, text: &str) -> bool {
        let before = self.text_before();
        let written = text.bytes().zip(self.ours.bytes()).take_while(|(there, ours)| there == ours).count();
        let (written, rest) = text.as_bytes().split_at(written);
        !written.is_empty() && (rest.is_empty() || before.as_bytes().get(written.len()..) == Some(rest))
    }

    fn text_before(&self) -> String {
        match &self.before {
            Before::Nothing => String::new(),
            Before::Text { text, .. } => text.clone(),
            Before::Link(target) => {
                let directory = self.path.parent().unwrap_or(Path::new("/"));
                fs::read_to_string(directory.join(target)).unwrap_or_default()
            }
        }
    }
}

fn look(path: &Path) -> io::Result<Before> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Before::Nothing),
        metadata => metadata?,
    };
    if metadata.is_symlink() {
        return Ok(Before::Link(fs::read_link(path)?));
    }
    Ok(Before::Text { text: fs::read_to_string(path)?, mode: metadata.permissions().mode() & 0o7777 })
}

/// Whether programs of this host ask systemd's resolver past the configuration: they do where `/etc/nsswitch.conf` puts it
/// before DNS.
pub(super) fn is_bypassed(nsswitch: &str) -> bool {
    let hosts = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("hosts:")).unwrap_or_default();
    let services = hosts.split('#').next().unwrap_or_default().split_whitespace();
    services.take_while(|service| *service != "dns").any(|service| service == "resolve")
}

/// Our file: nobody but the listener, and the rest as it was.
fn written_for(listener: IpAddr, before: &str) -> String {
    let mut ours = format!("{MARK}nameserver {listener}\n");
    for line in before.lines() {
        let keyword = line.split_whitespace().next().unwrap_or_default();
        if matches!(keyword, "search" | "domain" | "options" | "sortlist") {
            ours.push_str(line);
            ours.push('\n');
        }
    }
    ours
}

/// The name servers of a configuration; without one, the resolver asks its own host.
pub(super) fn name_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() == Some("nameserver") {
            servers.extend(words.next().and_then(name_server));
        }
    }
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, PORT).into());
    }
    servers
}

/// An address, of a link if it says so (`fe80::1%eth0`).
fn name_server(word: &str) -> Option<SocketAddr> {
    match word.split_once('%') {
        None => Some(SocketAddr::new(word.parse().ok()?, PORT)),
        Some((address, link)) => {
            Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, crate::links::index(link)?).into())
        }
    }
}

/// Puts a file in the place of whatever is there. Where the place cannot be taken by another file (it is mounted, as in
/// containers and namespaces, or its directory is not ours to write) the file that is there is written to, unless it is a
/// symbolic link: what that leads to is somebody else's.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = beside(path);
    let renamed = write(&new, text, mode, true)
        .and_then(|()| fs::rename(&new, path))
        .inspect_err(|_| drop(fs::remove_file(&new)));
    match renamed {
        Err(_) if matches!(look(path), Ok(Before::Text { .. })) => write(path, text, mode, false),
        renamed => renamed,
    }
}

fn write(path: &Path, text: &str, mode: u32, is_new: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(is_new).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    // At no moment is there an empty file, which whoever finds it could not tell from somebody else's.
    file.set_len(text.len() as u64)?;
    if is_new {
        // Whatever the process's mask is, others must be able to read it.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The name of a file that is going to take the place of another.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.ntmobile-{}", process::id()))
}

#[cfg(test)]
mod tests;
