//! Waiting for the kernel to tell of a change.

use super::ReadError;
use super::snapshot::{Snapshot, View};
use futures::future::BoxFuture;
use rtnetlink::MulticastGroup;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// What is told within this time of the last is told together.
const QUIET: Duration = Duration::from_millis(100);
/// What goes on and on is told at least this often.
const LONGEST: Duration = Duration::from_millis(400);
/// How long to leave the kernel alone when it refuses.
const PAUSE: Duration = Duration::from_secs(1);
/// Room for what is told while nobody listens; more only means that something is known to have been missed.
const BUFFER: usize = 256 << 10;

const GROUPS: [MulticastGroup; 5] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Counts the changes that make a difference. The kernel is listened to from the beginning; the task that reads what it says
/// begins with the first who waits, in that one's runtime, and ends when nobody is left.
#[derive(Debug)]
pub(super) struct Watcher {
    changes: watch::Receiver<u64>,
    listening: Mutex<Option<Listening>>,
}

/// What the task will own.
struct Listening {
    socket: Socket,
    view: View,
    last: Snapshot,
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Watcher {
    pub(super) fn new(view: View) -> Result<Self, ReadError> {
        // First listen, then look: what changes in between is then told.
        let socket = open().map_err(ReadError::Watch)?;
        let last = Snapshot::read(&view).map_err(ReadError::Read)?;
        let (sender, changes) = watch::channel(0);
        Ok(Self { changes, listening: Mutex::new(Some(Listening { socket, view, last, changes: sender })) })
    }

    pub(super) fn change(&self, seen: u64) -> BoxFuture<'static, u64> {
        let begin = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut changes = self.changes.clone();
        if let Some(listening) = begin {
            tokio::spawn(listening.run());
        }
        Box::pin(async move {
            let told = changes.wait_for(|&count| count > seen).await.ok().map(|count| *count);
            match told {
                Some(count) => count,
                // The task's runtime is gone, and whoever could act on a change with it.
                None => std::future::pending().await,
            }
        })
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    socket.set_rx_buf_sz(BUFFER)?;
    let groups = GROUPS.iter().fold(0, |groups, &group| groups | 1 << (group as u32 - 1));
    socket.bind(&SocketAddr::new(0, groups))?;
    Ok(socket)
}

impl Listening {
    async fn run(self) {
        let Self { socket, view, mut last, changes } = self;
        // SAFETY: the socket owns its open descriptor, and is neither closed nor replaced while it is registered.
        let socket = match unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) } {
            Ok(socket) => socket,
            Err(refused) => {
                let (_, error) = refused.into_parts();
                tracing::warn!(%error, "changes of the host's addresses go unnoticed");
                return;
            }
        };
        loop {
            tokio::select! {
                biased;
                () = changes.closed() => return,
                () = told(&socket) => {}
            }
            let latest = Instant::now() + LONGEST;
            loop {
                let quiet = (Instant::now() + QUIET).min(latest);
                if timeout_at(quiet, told(&socket)).await.is_err() {
                    break;
                }
            }
            match Snapshot::read(&view) {
                Ok(now) if now != last => {
                    tracing::debug!(addresses = ?now.addresses, "the host's addresses or its way out have changed");
                    last = now;
                    changes.send_modify(|count| *count += 1);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "the host's addresses cannot be read"),
            }
        }
    }
}

/// Completes when the kernel has told something; what it was is looked up afterwards.
async fn told(socket: &AsyncFd<Socket>) {
    loop {
        let Ok(mut ready) = socket.readable().await else {
            return std::future::pending().await;
        };
        match ready.try_io(|socket| take_all(socket.get_ref())) {
            // It was nothing.
            Err(_would_block) => {}
            Ok(Ok(())) => return,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the kernel does not tell of changes");
                tokio::time::sleep(PAUSE).await;
                return;
            }
        }
    }
}

/// Takes everything that has been told, or fails with [`io::ErrorKind::WouldBlock`].
fn take_all(socket: &Socket) -> io::Result<()> {
    let mut is_any = false;
    let mut buffer = Vec::with_capacity(1);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => is_any = true,
            // More was told than there was room for: something has changed all the same.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => is_any = true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return if is_any { Ok(()) } else { Err(error) };
            }
            Err(error) => return Err(error),
        }
    }
}
