//! Messages on TLS legs: one request, one answer, each in its frame, with the spans of both.

use crate::calls::Calls;
use crate::certificate::{CertificateRole, PeerCertificate};
use crate::machine::{CallId, Context, Effect, RequestId, TlsFailure};
use crate::time::Instant;
use crate::trace::{Span, SpanKind};
use bytes::Bytes;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::frame::Frame;
use ntmobile_wire::identifier::{Session, Transaction};
use ntmobile_wire::message::{Message, Refusal, RefusalCode};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::trace_context::TraceContext;
use std::net::SocketAddr;
use thiserror::Error;

/// Why a TLS call brought no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsCallError {
    /// The connection failed.
    #[error("{0}")]
    Connection(#[from] TlsFailure),
    /// The server refused.
    #[error("the server refused: {:?} {}", .0.code, .0.detail)]
    Refused(Refusal),
    /// The server's answer is no message of this protocol version.
    #[error("the server's answer is malformed")]
    Malformed,
}

impl TlsCallError {
    /// The refusal code that says the same to whoever asked us.
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Connection(_) | Self::Malformed => RefusalCode::ServerUnreachable,
        }
    }
}

/// Where a TLS call goes.
#[derive(Clone, Debug)]
pub struct TlsTarget {
    /// The name its certificate must bear.
    pub server: Fqdn,
    /// The part that its certificate must let it play.
    pub role: CertificateRole,
    /// Where it is.
    pub addresses: DualStack,
    /// Whether we show our certificate.
    pub mutual: bool,
}

struct TlsExchange<T> {
    tag: T,
    label: &'static str,
    server: Fqdn,
    started: Instant,
    span: Option<(TraceContext, TraceContext)>,
}

/// The TLS calls that wait for an answer.
pub struct TlsClient<T> {
    calls: Calls<TlsExchange<T>>,
}

impl<T> Default for TlsClient<T> {
    fn default() -> Self {
        Self { calls: Calls::default() }
    }
}

/// The outcome of a call: what it was for, the server's session and its answer.
pub type TlsOutcome<T> = (T, Result<(Session, Message), TlsCallError>);

impl<T> TlsClient<T> {
    /// Asks a server.
    pub fn call<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        target: TlsTarget,
        (session, transaction): (Session, Transaction),
        message: Message,
        trace: Option<TraceContext>,
        tag: T,
    ) {
        let context = trace.map(|parent| parent.child(cx.entropy));
        let exchange = TlsExchange {
            tag,
            label: message.label(),
            server: target.server.clone(),
            started: cx.now,
            span: trace.zip(context),
        };
        let frame = Frame { transaction, session, message, trace: context }.encode();
        let call = self.calls.open(exchange);
        let TlsTarget { server, role, addresses, mutual } = target;
        cx.push(Effect::TlsCall { call, server, role, addresses, frame, mutual });
    }

    /// How many calls wait for their answer.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Takes the outcome of a call; `None` where nobody waits for it.
    pub fn answered<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        call: CallId,
        result: Result<Bytes, TlsFailure>,
    ) -> Option<TlsOutcome<T>> {
        let exchange = self.calls.close(call)?;
        if matches!(result, Err(TlsFailure::Certificate(_))) {
            cx.count("tls.certificate_refused");
        }
        let mut answer_trace = None;
        let outcome = match result.map_err(TlsCallError::from).map(|bytes| Frame::decode(&bytes)) {
            Err(error) => Err(error),
            Ok(Err(_)) => {
                cx.count("tls.malformed");
                Err(TlsCallError::Malformed)
            }
            Ok(Ok(frame)) => {
                answer_trace = frame.trace.map(|trace| (trace, frame.message.label()));
                match frame.message {
                    Message::Refusal(refusal) => Err(TlsCallError::Refused(refusal)),
                    message => Ok((frame.session, message)),
                }
            }
        };
        if let Some((parent, context)) = exchange.span {
            if let Some((trace, label)) = answer_trace {
                let own = trace.child(cx.entropy);
                let span = Span::new(own, Some(trace.span), label, SpanKind::Consumer, (cx.now, cx.now))
                    .with("ntm.peer", exchange.server.to_string());
                cx.push(Effect::Span(Box::new(span)));
            }
            let times = (exchange.started, cx.now);
            let mut span = Span::new(context, Some(parent.span), exchange.label, SpanKind::Client, times)
                .with("ntm.peer", exchange.server.to_string())
                .with("ntm.transport", "tls");
            span.failure = outcome.as_ref().err().map(|error| error.to_string().into());
            cx.push(Effect::Span(Box::new(span)));
        }
        Some((exchange.tag, outcome))
    }
}

/// A TLS request that is being served.
#[derive(Clone, Debug)]
pub struct TlsTicket {
    /// What the driver knows it by.
    pub request: RequestId,
    /// Where it came from.
    pub from: SocketAddr,
    /// The client's certificate, if it showed one.
    pub certificate: Option<PeerCertificate>,
    /// The client's session.
    pub session: Session,
    /// The span of serving it.
    pub trace: Option<TraceContext>,
    transaction: Transaction,
    parent: Option<[u8; 8]>,
    received: Instant,
    label: &'static str,
}

impl TlsTicket {
    /// What the client calls the request; it does so again when it repeats it.
    pub(crate) fn number(&self) -> (Session, Transaction) {
        (self.session, self.transaction)
    }

    /// Whether the client has proved that it plays this part under this name.
    pub fn is_from(&self, role: CertificateRole, name: &Fqdn) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.proves(role, name))
    }

    /// Whether the client has proved that it plays this part.
    pub fn is_from_a(&self, role: CertificateRole) -> bool {
        self.certificate.as_ref().is_some_and(|certificate| certificate.role == role)
    }

    /// Whether the client shows no certificate, or that of the node which it says it is.
    pub fn may_be(&self, node: &Fqdn) -> bool {
        self.certificate.as_ref().is_none_or(|certificate| certificate.proves(CertificateRole::Node, node))
    }
}

/// Opens a request; a malformed one is refused at once.
pub fn accept<E>(
    cx: &mut Context<'_, E>,
    own_session: Session,
    (request, from): (RequestId, SocketAddr),
    certificate: Option<PeerCertificate>,
    frame: &[u8],
) -> Option<(TlsTicket, Message)> {
    let Ok(frame) = Frame::decode(frame) else {
        cx.count("tls.malformed");
        let detail = "the request is no message of this protocol version".to_owned();
        let message = Refusal { code: RefusalCode::Unsupported, detail, negotiation: None }.into();
        let frame = Frame { transaction: Transaction(0), session: own_session, message, trace: None }.encode();
        cx.push(Effect::TlsAnswer { request, frame });
        return None;
    };
    let ticket = TlsTicket {
        request,
        from,
        certificate,
        session: frame.session,
        trace: frame.trace.map(|trace| trace.child(cx.entropy)),
        transaction: frame.transaction,
        parent: frame.trace.map(|trace| trace.span),
        received: cx.now,
        label: frame.message.label(),
    };
    Some((ticket, frame.message))
}

/// Answers a request.
pub fn answer<E>(cx: &mut Context<'_, E>, own_session: Session, ticket: &TlsTicket, message: impl Into<Message>) {
    let message = message.into();
    let failure = match &message {
        Message::Refusal(refusal) => Some(format!("{:?}: {}", refusal.code, refusal.detail)),
        _ => None,
    };
    let context = ticket.trace.map(|trace| trace.child(cx.entropy));
    if let (Some(trace), Some(context)) = (ticket.trace, context) {
        let times = (cx.now, cx.now);
        let span = Span::new(context, Some(trace.span), message.label(), SpanKind::Producer, times);
        cx.push(Effect::Span(Box::new(span)));
        let mut span = Span::new(trace, ticket.parent, ticket.label, SpanKind::Server, (ticket.received, cx.now))
            .with("ntm.transport", "tls");
        if let Some(certificate) = &ticket.certificate {
            span = span.with("ntm.peer", certificate.name.to_string());
        }
        span.failure = failure.map(Into::into);
        cx.push(Effect::Span(Box::new(span)));
    }
    let frame = Frame { transaction: ticket.transaction, session: own_session, message, trace: context }.encode();
    cx.push(Effect::TlsAnswer { request: ticket.request, frame });
}

/// A refusal as an answer.
pub(crate) fn refusal(code: RefusalCode, detail: &str) -> Refusal {
    Refusal { code, detail: detail.to_owned(), negotiation: None }
}

/// Refuses a request that its sender's certificate does not entitle it to make.
pub fn refuse_bearer<E>(cx: &mut Context<'_, E>, own_session: Session, ticket: &TlsTicket, detail: &str) {
    cx.count("tls.bearer_refused");
    refuse(cx, own_session, ticket, RefusalCode::NotAllowed, detail);
}

/// Refuses a request.
pub fn refuse<E>(cx: &mut Context<'_, E>, own_session: Session, ticket: &TlsTicket, code: RefusalCode, detail: &str) {
    cx.count("tls.refused");
    answer(cx, own_session, ticket, Refusal { code, detail: detail.to_owned(), negotiation: None });
}
