//! What a machine wants, carried out on the ports in the order in which it wants it.

use super::Driven;
use super::actor::Driver;
use super::alarm::Alarm;
use super::door::Door;
use super::journal::Journal;
use super::streams::Streams;
use super::tasks::Tasks;
use super::tls::{Call, Requests};
use bytes::Bytes;
use ntmobile_ports::authenticator::Authenticator;
use ntmobile_ports::net::ByteStream;
use ntmobile_ports::tls::ServerIdentity;
use ntmobile_proto::machine::{CallId, Effect, Input, StreamId, Verdict};
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::Account;
use std::sync::Arc;

/// How many TCP connections one entity has at the same time.
const MAX_STREAMS: usize = 65_536;

/// What serves one life of a machine and goes with it.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) tasks: Tasks,
    pub(super) alarm: Alarm,
    pub(super) streams: Streams,
    journal: Journal,
    pub(super) requests: Requests,
}

impl Service {
    pub(super) fn new(door: Door, tasks: Tasks, alarm: Alarm, journal: Journal) -> Self {
        Self { door, tasks, alarm, streams: Streams::default(), journal, requests: Requests::default() }
    }

    fn verify(
        &mut self,
        authenticators: Vec<Arc<dyn Authenticator>>,
        call: CallId,
        (account, credential, certificate): (Account, Credential, Option<[u8; 32]>),
    ) {
        let door = self.door.clone();
        self.tasks.spawn(async move {
            let mut verdict = Verdict::NotSupported;
            for authenticator in authenticators {
                verdict = authenticator.verify(&account, &credential, certificate).await;
                if verdict != Verdict::NotSupported {
                    break;
                }
            }
            door.outcome(Input::Verified { call, verdict });
        });
    }
}

impl<M: Driven> Driver<M> {
    /// Carries out everything the machine has asked for.
    pub(super) fn carry_out(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.carry(effect);
        }
        // The buffer is kept: a machine asks for something at nearly every input.
        self.effects = effects;
    }

    fn carry(&mut self, effect: Effect<M::Event>) {
        let Some(service) = &mut self.service else { return };
        match effect {
            Effect::Transmit { to, bytes } => {
                if self.blueprint.signalling.send(to, bytes).is_err() {
                    self.count("signalling.unsent");
                }
            }
            Effect::Resolve { call, lookup, trace } => {
                let (resolution, door) = (self.host.resolution().clone(), service.door.clone());
                service.tasks.spawn(async move {
                    let result = resolution.server(lookup, trace).await;
                    door.outcome(Input::Resolved { call, result });
                });
            }
            Effect::TlsCall { call, server, role, addresses, frame, mutual } => {
                let call = Call { id: call, server: ServerIdentity { name: server, role }, addresses, frame, mutual };
                let clock = Arc::clone(self.host.clock());
                call.make(self.blueprint.tls.as_ref(), clock, service.door.clone(), &mut service.tasks);
            }
            Effect::TlsAnswer { request, frame } => service.requests.answer(request, frame),
            Effect::Persist { call, writes } => service.journal.write(call, writes, service.door.clone()),
            Effect::Verify { call, account, credential, certificate } => {
                service.verify(self.blueprint.authenticators.clone(), call, (account, credential, certificate));
            }
            Effect::StreamConnect { stream, to } => {
                service.streams.connect(stream, to, &**self.host.net(), service.door.clone(), &mut service.tasks);
            }
            Effect::StreamSend { stream, bytes } => self.send_on(stream, bytes),
            Effect::StreamClose { stream } => service.streams.close(stream),
            Effect::Span(span) => self.host.recorder().record(&self.blueprint.name, *span),
            Effect::Count(name) => self.count(name),
            Effect::Event(event) => self.blueprint.subscriber.event(event),
        }
    }

    fn send_on(&mut self, stream: StreamId, bytes: Bytes) {
        let Some(service) = &mut self.service else { return };
        if service.streams.send(stream, bytes).is_err() {
            service.door.outcome(Input::StreamClosed { stream });
            self.count("stream.clogged");
        }
    }

    /// Takes in an accepted connection, unless there are too many.
    pub(super) fn accept(&mut self, stream: Box<dyn ByteStream>) {
        let Some(service) = &mut self.service else { return };
        if service.streams.count() < MAX_STREAMS {
            service.streams.accept(stream, service.door.clone(), &mut service.tasks);
        } else {
            self.count("stream.refused");
        }
    }
}
