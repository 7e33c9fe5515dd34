//! Whom a node has tunnels with, written down, so that its programs' connections go on when it was killed and starts again.
//!
//! Without it a new process would route nobody's address into the interface until some program asks for a name, and
//! connections that are open ask for none. The file is beside the undo journal and goes when the node ends politely; what it
//! holds beyond names and addresses that peers have anyway is nothing.

use ntmobile_proto::endpoint::Peer;
use ntmobile_wire::address::VirtualAddresses;
use ntmobile_wire::identifier::ApplicationId;
use ntmobile_wire::name::Fqdn;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// So many are remembered, those whose tunnels were built last.
const MOST: usize = 256;
/// After so many lines the file is written anew.
const LINES: usize = 4 * MOST;

/// One line of the file: in the first one, the node itself.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    application: u32,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

/// A peer, and the addresses that programs here know it by.
pub(super) type Acquaintance = (Peer, VirtualAddresses);

/// The file of a node that runs.
#[derive(Debug)]
pub(super) struct Legacy {
    path: PathBuf,
    own: Acquaintance,
    /// The one whose tunnel was built last is the last.
    known: VecDeque<Acquaintance>,
    /// `None` if nothing can be written down any more.
    file: Option<File>,
    lines: usize,
}

impl Legacy {
    /// Takes up what a predecessor of the same node has left in this file.
    pub(super) fn resume(path: PathBuf, name: &Fqdn, addresses: VirtualAddresses) -> Self {
        let own = (Peer { name: name.clone(), application: ApplicationId(0) }, addresses);
        let mut known = VecDeque::new();
        let mut lines = File::open(&path).map(read).unwrap_or_default().into_iter();
        if lines.next().as_ref() == Some(&own) {
            lines.for_each(|acquaintance| note(&mut known, acquaintance));
        }
        let mut legacy = Self { path, own, known, file: None, lines: 0 };
        legacy.rewrite();
        legacy
    }

    /// Everybody, those whose tunnels were built last at the end.
    pub(super) fn known(&self) -> impl DoubleEndedIterator<Item = &Acquaintance> {
        self.known.iter()
    }

    /// A tunnel to this one stands.
    pub(super) fn meet(&mut self, acquaintance: Acquaintance) {
        note(&mut self.known, acquaintance.clone());
        self.lines += 1;
        if self.lines > LINES {
            return self.rewrite();
        }
        let Some(file) = &mut self.file else { return };
        if let Err(error) = write(file, [&acquaintance]) {
            self.file = None;
            tell(&error);
        }
    }

    /// The node ends politely: who comes next begins anew.
    pub(super) fn forget(self) {
        // What is left is taken up by the next start, which does no harm.
        let _ = std::fs::remove_file(&self.path);
    }

    fn rewrite(&mut self) {
        let new = self.path.with_extension("peers-new");
        let written =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).and_then(|mut file| {
                write(&mut file, std::iter::once(&self.own).chain(&self.known))?;
                std::fs::rename(&new, &self.path)?;
                Ok(file)
            });
        self.lines = self.known.len();
        self.file = written.inspect_err(tell).ok();
    }
}

fn tell(error: &io::Error) {
    tracing::warn!(%error, "if this process is killed, programs' connections do not go on when it starts again");
}

fn note(known: &mut VecDeque<Acquaintance>, acquaintance: Acquaintance) {
    known.retain(|(peer, _)| *peer != acquaintance.0);
    if known.len() == MOST {
        known.pop_front();
    }
    known.push_back(acquaintance);
}

/// What is written, up to where its writer was killed.
fn read(file: File) -> Vec<Acquaintance> {
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    let acquaintance = |line: String| {
        let Line { name, application, v4, v6 } = serde_json::from_str(&line).ok()?;
        let peer = Peer { name: Fqdn::parse(&name).ok()?, application: ApplicationId(application) };
        Some((peer, VirtualAddresses { v4, v6 }))
    };
    lines.map_while(acquaintance).collect()
}

fn write<'a>(file: &mut File, lines: impl IntoIterator<Item = &'a Acquaintance>) -> io::Result<()> {
    let mut text = Vec::new();
    for (peer, VirtualAddresses { v4, v6 }) in lines {
        let line = Line { name: peer.name.to_string(), application: peer.application.0, v4: *v4, v6: *v6 };
        serde_json::to_writer(&mut text, &line)?;
        text.push(b'\n');
    }
    file.write_all(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(number: u16) -> VirtualAddresses {
        let [high, low] = number.to_be_bytes();
        VirtualAddresses { v4: [100, 64, high, low].into(), v6: [0xfd00, 0, 0, 1, 0, 0, 0, number].into() }
    }

    fn acquaintance(number: u16) -> Acquaintance {
        let name = Fqdn::parse(&format!("peer{number}.u2.example")).expect("a name");
        (Peer { name, application: ApplicationId(0) }, addresses(number))
    }

    fn resume(directory: &std::path::Path, name: &str) -> Legacy {
        let name = Fqdn::parse(name).expect("a name");
        Legacy::resume(directory.join("ntm0@1.peers"), &name, addresses(0))
    }

    #[test]
    fn whom_a_killed_node_had_tunnels_with_is_known_to_the_next_and_to_no_other_node() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let mut first = resume(home.path(), "alice.u1.example");
        for number in [1, 2, 3, 1] {
            first.meet(acquaintance(number));
        }
        drop(first);
        let second = resume(home.path(), "alice.u1.example");
        let known: Vec<_> = second.known().cloned().collect();
        assert_eq!(known, [2, 3, 1].map(acquaintance), "the last is the newest");
        second.forget();
        assert_eq!(resume(home.path(), "alice.u1.example").known().count(), 0, "it has ended politely");
        resume(home.path(), "alice.u1.example").meet(acquaintance(4));
        assert_eq!(resume(home.path(), "mallory.u1.example").known().count(), 0, "that was Alice");
    }

    #[test]
    fn the_file_is_bounded_and_a_torn_line_is_no_line() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let mut first = resume(home.path(), "alice.u1.example");
        for number in 0..3_000 {
            first.meet(acquaintance(number));
        }
        drop(first);
        let path = home.path().join("ntm0@1.peers");
        let text = std::fs::read(&path).expect("there");
        assert!(text.iter().filter(|octet| **octet == b'\n').count() <= LINES + 1);
        std::fs::write(&path, &text[..text.len() - 5]).expect("written");
        let second = resume(home.path(), "alice.u1.example");
        let last = second.known().last().cloned();
        assert_eq!(last, Some(acquaintance(2_998)), "the one before the torn one");
        assert!(second.known().count() <= MOST);
    }

    #[test]
    fn where_nothing_can_be_written_the_node_runs_without() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let mut nowhere = resume(&home.path().join("absent"), "alice.u1.example");
        nowhere.meet(acquaintance(1));
        assert_eq!(nowhere.known().count(), 1);
    }
}
