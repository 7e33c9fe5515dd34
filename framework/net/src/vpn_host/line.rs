//! The node's end: it asks, a thread of its own hears the answers.
//!
//! What is asked for on behalf of a socket is waited for on the spot ([`HostProgram::protect`]), as a phone's own call for it is:
//! whoever opens a socket must not use it before. Everything else is waited for by a task.

use super::message::{EngineMessage, HostMessage, LONGEST, MessageError, Network, State, VERSION};
use super::socket::HostSocket;
use crate::net::HostProgram;
use futures::future::BoxFuture;
use ntmobile_ports::net::NetError;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::{oneshot, watch};

/// How long a host program may take for its first word.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// How long it may take for a socket. Everything in this process waits meanwhile.
const SOCKET_PATIENCE: Duration = Duration::from_secs(2);
/// How long it may take for a device or a route: the user may have to be asked.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many answers may be outstanding.
const MOST_REQUESTS: usize = 1_024;

/// Why there is no conversation with a host program.
#[derive(Debug, Error)]
pub enum LineError {
    /// The socket failed, or the program said nothing in time.
    #[error("the host program cannot be talked to: {0}")]
    Socket(#[from] io::Error),
    /// It ended before it had said anything.
    #[error("the host program ended before it said hello")]
    Silent,
    /// It says what nobody understands.
    #[error("the host program: {0}")]
    Message(#[from] MessageError),
    /// Its first word is another.
    #[error("the host program did not begin with hello")]
    NoHello,
    /// It speaks another version.
    #[error("the host program speaks version {0}, this node version {VERSION}: use those that belong together")]
    Version(u32),
}

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    /// The program refused.
    #[error("the host program refused: {0}")]
    Refused(String),
    /// It does not answer.
    #[error("the host program did not answer in time")]
    TimedOut,
    /// It is gone.
    #[error("the host program is gone")]
    Gone,
    /// It is not asked anything more before it has answered.
    #[error("the host program answers nothing")]
    Overwhelmed,
    /// It answered without what it was asked for.
    #[error("the host program handed over no device")]
    NoDevice,
}

/// How a conversation ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// The program said so.
    Stopped,
    /// The program is gone, or has closed the socket.
    Gone,
    /// It does not keep to what was agreed.
    Broken(String),
}

/// An answer: done, maybe with a descriptor, or not.
type Answer = Result<Option<OwnedFd>, AskError>;

/// Who waits for an answer.
enum Waiter {
    Task(oneshot::Sender<Answer>),
    Thread(mpsc::SyncSender<Answer>),
}

impl Waiter {
    fn tell(self, answer: Answer) {
        // Who waits no more does not need it.
        match self {
            Self::Task(waiter) => drop(waiter.send(answer)),
            Self::Thread(waiter) => drop(waiter.try_send(answer)),
        }
    }
}

/// Who waits for what.
#[derive(Default)]
struct Outstanding {
    waiters: BTreeMap<u64, Waiter>,
    next: u64,
    is_over: bool,
}

struct Shared {
    socket: HostSocket,
    outstanding: Mutex<Outstanding>,
    /// Where the device is, and how often it has moved.
    network: watch::Sender<(u64, Network)>,
    end: watch::Sender<Option<LineEnd>>,
}

/// A conversation with a host program. It ends when this is dropped.
pub struct Line {
    shared: Arc<Shared>,
}

impl Line {
    /// Exchanges first words. Waits for the program's, so it belongs on a thread that may wait.
    pub fn begin(socket: HostSocket) -> Result<Self, LineError> {
        let network = hello(&socket)?;
        let shared = Arc::new(Shared {
            socket: socket.try_clone()?,
            outstanding: Mutex::default(),
            network: watch::Sender::new((0, network)),
            end: watch::Sender::new(None),
        });
        let listener = Arc::clone(&shared);
        std::thread::Builder::new().name("host-program".to_owned()).spawn(move || {
            let end = listener.listen(&socket);
            listener.finish(end);
        })?;
        Ok(Self { shared })
    }

    /// Asks for something; `make` gets the number that the answer refers to.
    pub async fn ask(&self, make: impl FnOnce(u64) -> EngineMessage) -> Answer {
        let (waiter, answer) = oneshot::channel();
        let request = self.shared.ask(Waiter::Task(waiter), make, None)?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.unwrap_or(Err(AskError::Gone)),
            Err(_elapsed) => {
                self.shared.forget(request);
                Err(AskError::TimedOut)
            }
        }
    }

    /// Asks for a device.
    pub async fn ask_for_device(&self, device: super::Device) -> Result<OwnedFd, AskError> {
        let answer = self.ask(|request| EngineMessage::Device { request, device }).await?;
        answer.ok_or(AskError::NoDevice)
    }

    /// Tells how the node is.
    pub fn tell(&self, state: State) {
        // Who is gone need not know.
        let _told = self.shared.send(&EngineMessage::State(state), None);
    }

    /// The network that the device is in, now and whenever it is another.
    pub fn network(&self) -> watch::Receiver<(u64, Network)> {
        self.shared.network.subscribe()
    }

    /// Waits for the end of the conversation.
    pub async fn ended(&self) -> LineEnd {
        let mut end = self.shared.end.subscribe();
        match end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(LineEnd::Gone),
            Err(_gone) => LineEnd::Gone,
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The thread hears of it.
        self.shared.socket.close();
    }
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Line({:?})", self.shared.network.borrow().1)
    }
}

impl HostProgram for Line {
    fn protect(&self, socket: BorrowedFd<'_>) -> Result<(), NetError> {
        let (waiter, answer) = mpsc::sync_channel(1);
        let protect = |request| EngineMessage::Protect { request };
        let outcome = self.shared.ask(Waiter::Thread(waiter), protect, Some(socket)).and_then(|request| {
            answer.recv_timeout(SOCKET_PATIENCE).unwrap_or_else(|_| {
                self.shared.forget(request);
                Err(AskError::TimedOut)
            })
        });
        match outcome {
            Ok(_) => Ok(()),
            Err(error) => Err(NetError::Other(format!("a socket cannot be used without the host program: {error}"))),
        }
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.shared.network.borrow().1.addresses.clone()
    }

    fn address_change(&self, seen: u64) -> BoxFuture<'static, u64> {
        let mut network = self.shared.network.subscribe();
        Box::pin(async move {
            let told = network.wait_for(|(count, _)| *count > seen).await.ok().map(|network| network.0);
            match told {
                Some(count) => count,
                None => std::future::pending().await,
            }
        })
    }
}

/// Exchanges first words.
fn hello(socket: &HostSocket) -> Result<Network, LineError> {
    socket.set_patience(Some(FIRST_WORD))?;
    socket.send(&EngineMessage::Hello { version: VERSION }.encode()?, None)?;
    let mut buffer = vec![0; LONGEST];
    let (length, _) = socket.receive(&mut buffer)?.ok_or(LineError::Silent)?;
    let network = match HostMessage::decode(&buffer[..length])? {
        HostMessage::Hello { version: VERSION, network } => network,
        HostMessage::Hello { version, .. } => return Err(LineError::Version(version)),
        _ => return Err(LineError::NoHello),
    };
    socket.set_patience(None)?;
    Ok(network)
}

impl Shared {
    fn ask(
        &self,
        waiter: Waiter,
        make: impl FnOnce(u64) -> EngineMessage,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<u64, AskError> {
        let request = {
            let mut outstanding = self.lock();
            if outstanding.is_over {
                return Err(AskError::Gone);
            }
            if outstanding.waiters.len() >= MOST_REQUESTS {
                return Err(AskError::Overwhelmed);
            }
            outstanding.next += 1;
            let request = outstanding.next;
            outstanding.waiters.insert(request, waiter);
            request
        };
        let sent = self.send(&make(request), descriptor);
        if sent.is_err() {
            self.forget(request);
        }
        sent.map(|()| request)
    }

    fn send(&self, message: &EngineMessage, descriptor: Option<BorrowedFd<'_>>) -> Result<(), AskError> {
        let bytes = message.encode().map_err(|error| AskError::Refused(error.to_string()))?;
        self.socket.send(&bytes, descriptor).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => AskError::Overwhelmed,
            _ => AskError::Gone,
        })
    }

    fn forget(&self, request: u64) {
        self.lock().waiters.remove(&request);
    }

    /// Hears what the program says until it says no more.
    fn listen(&self, socket: &HostSocket) -> LineEnd {
        let mut buffer = vec![0; LONGEST];
        loop {
            let (length, descriptor) = match socket.receive(&mut buffer) {
                Ok(Some(received)) => received,
                Ok(None) => return LineEnd::Gone,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return LineEnd::Broken(error.to_string()),
                Err(_) => return LineEnd::Gone,
            };
            match HostMessage::decode(&buffer[..length]) {
                Ok(HostMessage::Done { request }) => self.answer(request, Ok(descriptor)),
                Ok(HostMessage::Refused { request, why }) => self.answer(request, Err(AskError::Refused(why))),
                Ok(HostMessage::Network(network)) => self.moved(network),
                Ok(HostMessage::Stop) => return LineEnd::Stopped,
                Ok(HostMessage::Hello { .. }) => return LineEnd::Broken("it said hello again".to_owned()),
                Err(error) => return LineEnd::Broken(error.to_string()),
            }
        }
    }

    /// An answer that nobody waits for comes too late, and its descriptor is closed.
    fn answer(&self, request: u64, answer: Answer) {
        let waiter = self.lock().waiters.remove(&request);
        if let Some(waiter) = waiter {
            waiter.tell(answer);
        }
    }

    /// Other name servers alone are no move.
    fn moved(&self, network: Network) {
        self.network.send_modify(|(count, known)| {
            if known.interface != network.interface || known.addresses != network.addresses {
                *count += 1;
            }
            *known = network;
        });
    }

    /// Nobody is to wait for an answer any more.
    fn finish(&self, end: LineEnd) {
        let waiters = {
            let mut outstanding = self.lock();
            outstanding.is_over = true;
            std::mem::take(&mut outstanding.waiters)
        };
        for waiter in waiters.into_values() {
            waiter.tell(Err(AskError::Gone));
        }
        self.end.send_replace(Some(end));
    }

    fn lock(&self) -> MutexGuard<'_, Outstanding> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
