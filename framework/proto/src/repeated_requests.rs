//! Requests on TLS legs that come twice: whoever has waited long for an answer asks once more on another connection, in the same
//! words. Such a request is executed once, and whatever comes of it answers both.

use crate::certificate::PeerCertificate;
use crate::machine::{Context, RequestId};
use crate::time::Instant;
use crate::tls::{self, TlsTicket};
use ntmobile_wire::identifier::{Session, Transaction};
use ntmobile_wire::message::{Message, RefusalCode};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How long an answer is remembered: a client gives a call up sooner.
const MEMORY: Duration = Duration::from_secs(10);
/// How many answers are remembered; the oldest goes.
const ANSWERS: usize = 1_024;
/// How often a request may come again while it is being executed. Clients ask twice.
const REPETITIONS: usize = 4;

/// What names a request: its sender's session and its number there.
type Number = (Session, Transaction);

#[derive(Debug)]
struct Known {
    first: RequestId,
    certificate: Option<PeerCertificate>,
    message: Message,
    repetitions: Vec<TlsTicket>,
    answer: Option<Message>,
}

/// The requests that are being executed, and those that were answered lately.
#[derive(Debug, Default)]
pub(crate) struct RepeatedRequests {
    known: BTreeMap<Number, Known>,
    answered: VecDeque<(Instant, Number)>,
}

impl RepeatedRequests {
    /// Takes a request. Whether it is one that is known already; then it is answered with that one, and is not to be executed. Any
    /// other is to be answered by [`RepeatedRequests::answer`].
    pub(crate) fn take<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        own_session: Session,
        ticket: &TlsTicket,
        message: &Message,
    ) -> bool {
        let Some(known) = self.known.get_mut(&ticket.number()) else {
            let (first, certificate, message) = (ticket.request, ticket.certificate.clone(), message.clone());
            let known = Known { first, certificate, message, repetitions: Vec::new(), answer: None };
            self.known.insert(ticket.number(), known);
            return false;
        };
        // Numbers are no secrets: who has not said the same, credential and all, has nothing to do with it.
        if known.message != *message || known.certificate != ticket.certificate {
            return false;
        }
        cx.count("tls.request_repeated");
        match &known.answer {
            Some(answer) => tls::answer(cx, own_session, ticket, answer.clone()),
            None if known.repetitions.len() < REPETITIONS => known.repetitions.push(ticket.clone()),
            None => tls::refuse(cx, own_session, ticket, RefusalCode::Overloaded, "this is being answered"),
        }
        true
    }

    /// Answers a request, however often it has come.
    pub(crate) fn answer<E>(
        &mut self,
        cx: &mut Context<'_, E>,
        own_session: Session,
        ticket: &TlsTicket,
        message: impl Into<Message>,
    ) {
        let message = message.into();
        let known = self.known.get_mut(&ticket.number()).filter(|known| known.first == ticket.request);
        if let Some(known) = known {
            for repetition in std::mem::take(&mut known.repetitions) {
                tls::answer(cx, own_session, &repetition, message.clone());
            }
            known.answer = Some(message.clone());
            self.answered.push_back((cx.now + MEMORY, ticket.number()));
            if self.answered.len() > ANSWERS
                && let Some((_, oldest)) = self.answered.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        tls::answer(cx, own_session, ticket, message);
    }

    /// When the next answer is to be forgotten.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.answered.front().map(|(until, _)| *until)
    }

    /// Forgets answers that nobody asks for any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((_, number)) = self.answered.pop_front_if(|(until, _)| *until <= now) {
            self.known.remove(&number);
        }
    }

    /// How many requests are known.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }
}
