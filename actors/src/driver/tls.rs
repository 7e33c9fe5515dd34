//! The TLS legs of an entity: calls with a time limit, and requests that wait for the machine's answer.

use super::door::Door;
use super::tasks::Tasks;
use actix::Recipient;
use bytes::Bytes;
use ntmobile_ports::clock::Clock;
use ntmobile_ports::tls::{ServerIdentity, Tls, TlsRequest};
use ntmobile_proto::machine::{CallId, Input, RequestId, TlsFailure};
use ntmobile_wire::address::DualStack;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A call that is not answered within this time has failed.
const TIME_OUT: Duration = Duration::from_secs(10);

/// So many requests may wait for the machine's answer.
const MAX_REQUESTS: usize = 4_096;

/// A client asks.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Asked {
    pub(super) request: TlsRequest,
    pub(super) _credit: OwnedSemaphorePermit,
}

/// Takes requests, as fast as the machine does, until the port closes.
pub(super) async fn serve(tls: Arc<dyn Tls>, door: Door, mailbox: Recipient<Asked>) {
    loop {
        let credit = door.credit().await;
        let Some(request) = tls.request().await else { return };
        mailbox.do_send(Asked { request, _credit: credit });
    }
}

/// The requests that wait for the machine's answer.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: BTreeMap<RequestId, oneshot::Sender<Bytes>>,
    next: u64,
}

/// Too many requests wait already.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Requests {
    /// Takes a request in; what the machine is to be told.
    pub(super) fn take(&mut self, request: TlsRequest) -> Result<Input, TooMany> {
        if self.waiting.len() >= MAX_REQUESTS {
            self.waiting.retain(|_, answer| !answer.is_closed());
        }
        if self.waiting.len() >= MAX_REQUESTS {
            return Err(TooMany);
        }
        let id = RequestId(self.next);
        self.next += 1;
        let TlsRequest { from, certificate, frame, answer } = request;
        self.waiting.insert(id, answer);
        Ok(Input::TlsRequest { request: id, from, certificate, frame })
    }

    /// Hands the machine's answer to the client.
    pub(super) fn answer(&mut self, request: RequestId, frame: Bytes) {
        if let Some(answer) = self.waiting.remove(&request) {
            // The client may have gone; then nobody wants the answer.
            let _ = answer.send(frame);
        }
    }
}

/// What a machine asks a server.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) server: ServerIdentity,
    pub(super) addresses: DualStack,
    pub(super) frame: Bytes,
    pub(super) mutual: bool,
}

impl Call {
    /// Makes the call, and tells the door how it went. An entity without a TLS port fails every call.
    pub(super) fn make(self, tls: Option<&Arc<dyn Tls>>, clock: Arc<dyn Clock>, door: Door, tasks: &mut Tasks) {
        let Self { id, server, addresses, frame, mutual } = self;
        let Some(tls) = tls else {
            return door.outcome(Input::TlsAnswered { call: id, result: Err(TlsFailure::Broken) });
        };
        let calling = tls.call(server, addresses, frame, mutual);
        tasks.spawn(async move {
            let result = tokio::select! {
                biased;
                result = calling => result,
                () = clock.sleep(TIME_OUT) => Err(TlsFailure::TimedOut),
            };
            door.outcome(Input::TlsAnswered { call: id, result });
        });
    }
}
