//! The control socket of a running node: one order a connection, one line of JSON each way. Only root and the node's own user may
//! connect.
//!
//! | order | answer |
//! | --- | --- |
//! | `"Status"` | `{"Status": …}`, a [`Status`] |
//! | `"Down"` | `"Going"`; then the node ends as after SIGTERM |
//!
//! Anything else is answered by `{"Refused": "why"}`.

use super::chronicle::Status;
use serde::{Deserialize, Serialize};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// The longest order.
const LONGEST_ORDER: u64 = 1_024;
/// The longest answer: every peer with everything that is remembered of it.
const LONGEST_ANSWER: u64 = 8 << 20;
/// How long either side may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failure to take a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What a node can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Everything about it.
    Status,
    /// To leave the network and end.
    Down,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Everything about it.
    Status(Box<Status>),
    /// It ends.
    Going,
    /// It does not understand.
    Refused(String),
}

/// Why a running node could not be asked.
#[derive(Debug, Error)]
pub enum ControlError {
    /// There is none.
    #[error("no node is running on {0}: start one with ntm up, or name its interface (--interface)")]
    NotRunning(String),
    /// It runs, and is not this user's.
    #[error("the node on {0} is not yours to ask: run as root or as its user")]
    NotPermitted(String),
    /// The connection broke.
    #[error("the node on {interface} did not answer: {source}")]
    BrokenOff {
        /// Its interface.
        interface: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// It refused.
    #[error("the node refused: {0}")]
    Refused(String),
}

/// Where the node on an interface of this network namespace listens.
pub fn socket(directory: &Path, interface: &str) -> PathBuf {
    beside(directory, interface, "sock")
}

/// A file that belongs to the node on an interface of this network namespace.
pub(super) fn beside(directory: &Path, interface: &str, ending: &str) -> PathBuf {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino());
    directory.join(format!("{interface}@{namespace}.{ending}"))
}

/// The socket of a running node. Its file goes when it is dropped.
pub(crate) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens. Whoever has the interface's journal is alone: a socket that is there was left behind.
    pub(crate) fn listen(directory: &Path, interface: &str) -> io::Result<Self> {
        let path = socket(directory, interface);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers until the node is told to end. There is no status while it is joining.
    pub(crate) async fn serve(&self, status: impl Fn() -> Option<Status>) {
        loop {
            // One after the other: what is asked for is there.
            match self.listener.accept().await {
                Ok((stream, _)) => match tokio::time::timeout(PATIENCE, take(stream, &status)).await {
                    Ok(Ok(Order::Down)) => return,
                    Ok(Ok(Order::Status)) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "an order was not understood"),
                    Err(_) => tracing::debug!("an order did not come in time"),
                },
                Err(error) => {
                    tracing::warn!(%error, "the control socket took no connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next node removes what is left.
        let _ = fs::remove_file(&self.path);
    }
}

async fn take(stream: UnixStream, status: &impl Fn() -> Option<Status>) -> io::Result<Order> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(LONGEST_ORDER).read_line(&mut line).await?;
    let order = serde_json::from_str(&line);
    let answer = match &order {
        Ok(Order::Status) => status().map_or_else(
            || Answer::Refused("it is joining the network, and nothing is known yet; ask again".to_owned()),
            |status| Answer::Status(Box::new(status)),
        ),
        Ok(Order::Down) => Answer::Going,
        Err(error) => Answer::Refused(error.to_string()),
    };
    let mut text = serde_json::to_string(&answer)?;
    text.push('\n');
    stream.get_mut().write_all(text.as_bytes()).await?;
    Ok(order?)
}

/// Asks the node on an interface of this network namespace.
pub fn ask(directory: &Path, interface: &str, order: &Order) -> Result<Answer, ControlError> {
    let broken_off = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ControlError::NotRunning(interface.to_owned()),
        io::ErrorKind::PermissionDenied => ControlError::NotPermitted(interface.to_owned()),
        _ => ControlError::BrokenOff { interface: interface.to_owned(), source },
    };
    let asked = async {
        let mut stream = BufReader::new(UnixStream::connect(socket(directory, interface)).await?);
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        stream.get_mut().write_all(line.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(LONGEST_ANSWER).read_line(&mut answer).await?;
        Ok(serde_json::from_str(&answer)?)
    };
    let in_time =
        async { tokio::time::timeout(2 * PATIENCE, asked).await.unwrap_or(Err(io::ErrorKind::TimedOut.into())) };
    match actix_rt::System::new().block_on(in_time).map_err(broken_off)? {
        Answer::Refused(why) => Err(ControlError::Refused(why)),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn status() -> Status {
        Status {
            name: "alice.u1.example".to_owned(),
            v4: Ipv4Addr::new(100, 64, 0, 9),
            v6: Ipv6Addr::LOCALHOST,
            interface: "ntm7".to_owned(),
            process: 1,
            up_s: 61,
            addresses: Vec::new(),
            seen_at: None,
            peers: Vec::new(),
        }
    }

    #[test]
    fn a_node_answers_refuses_nonsense_and_ends_when_it_is_told_to() {
        let home = tempfile::tempdir().expect("a directory for the test");
        let directory = home.path();
        let nobody = ask(directory, "ntm7", &Order::Status).expect_err("nobody is there");
        assert!(matches!(nobody, ControlError::NotRunning(_)), "{nobody}");
        std::thread::scope(|scope| {
            let (ready, is_ready) = std::sync::mpsc::channel();
            let node = scope.spawn(move || {
                actix_rt::System::new().block_on(async {
                    let control = Control::listen(directory, "ntm7").expect("a socket");
                    ready.send(()).expect("somebody waits");
                    control.serve(|| Some(status())).await;
                });
            });
            is_ready.recv().expect("it listens");
            let mode = socket(directory, "ntm7").metadata().expect("a socket").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let answer = ask(directory, "ntm7", &Order::Status).expect("an answer");
            assert_eq!(answer, Answer::Status(Box::new(status())));
            let mut nonsense = std::os::unix::net::UnixStream::connect(socket(directory, "ntm7")).expect("connected");
            io::Write::write_all(&mut nonsense, b"open sesame\n").expect("sent");
            let said = io::read_to_string(nonsense).expect("an answer");
            assert!(said.starts_with("{\"Refused\":"), "{said}");
            assert_eq!(ask(directory, "ntm7", &Order::Down).expect("an answer"), Answer::Going);
            node.join().expect("it ends");
        });
        assert!(!socket(directory, "ntm7").exists(), "nothing is left");
    }
}
