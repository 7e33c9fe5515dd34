//! A machine that exercises every port of the driver and tells what it saw.

use bytes::Bytes;
use ntmobile_proto::certificate::CertificateRole;
use ntmobile_proto::machine::{CallId, Context, Effect, Input, Machine, Record, StreamId, TlsFailure, Verdict, Write};
use ntmobile_proto::sizes::Sizes;
use ntmobile_proto::time::Instant;
use ntmobile_wire::address::DualStack;
use ntmobile_wire::key::SecretText;
use ntmobile_wire::message::Credential;
use ntmobile_wire::name::{Account, Fqdn};
use std::net::{IpAddr, SocketAddr};

/// What the parrot is asked for.
pub(super) enum Command {
    Send(SocketAddr, &'static [u8]),
    WakeAt(Vec<Instant>),
    Persist(CallId, &'static str, &'static str),
    Verify(CallId, &'static str),
    Connect(StreamId, SocketAddr),
    Call(CallId, &'static str, &'static str),
    /// A panic that every panic hook hears.
    Panic,
    /// A panic that no hook hears: it can be survived even in a simulation, so that surviving can be tested there.
    PanicQuietly,
    NeverBeDone,
}

/// What the parrot saw.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Started(Vec<(Bytes, Bytes)>, Vec<IpAddr>),
    Addresses(Vec<IpAddr>),
    Datagram(Bytes),
    Expired(Instant),
    Persisted(CallId, bool),
    Verified(CallId, Verdict),
    Opened(StreamId),
    Asked(Bytes),
    Answered(CallId, Result<Bytes, TlsFailure>),
    Received(StreamId, Bytes),
    Closed(StreamId),
}

/// Repeats every datagram whose fifth octet is not 0 and every byte of accepted streams.
#[derive(Default)]
pub(super) struct Parrot {
    alarms: Vec<Instant>,
    never_done: bool,
}

impl Machine for Parrot {
    type Command = Command;
    type Event = Seen;

    fn sizes(&self) -> Sizes {
        Sizes::default().with("alarms", self.alarms.len())
    }

    fn handle(&mut self, context: &mut Context<'_, Seen>, input: Input) {
        match input {
            Input::Started { records, addresses, .. } => {
                let records = records.into_iter().map(|Record { key, value, .. }| (key, value)).collect();
                context.event(Seen::Started(records, addresses));
            }
            Input::AddressesChanged { addresses } => context.event(Seen::Addresses(addresses)),
            Input::Datagram { from, bytes } => {
                if bytes.get(4) != Some(&0) {
                    let mut answer = bytes.to_vec();
                    answer[4] = 0;
                    context.push(Effect::Transmit { to: from, bytes: answer.into() });
                }
                context.event(Seen::Datagram(bytes));
            }
            Input::Persisted { call, result } => context.event(Seen::Persisted(call, result.is_ok())),
            Input::Verified { call, verdict } => context.event(Seen::Verified(call, verdict)),
            Input::TlsRequest { request, frame, .. } => {
                if &frame[..] != b"say nothing" {
                    context.push(Effect::TlsAnswer { request, frame: frame.clone() });
                }
                context.event(Seen::Asked(frame));
            }
            Input::TlsAnswered { call, result } => context.event(Seen::Answered(call, result)),
            Input::StreamOpened { stream, .. } => context.event(Seen::Opened(stream)),
            Input::StreamReceived { stream, bytes } => {
                if stream.0 >> 63 == 1 {
                    context.push(Effect::StreamSend { stream, bytes: bytes.clone() });
                    context.push(Effect::StreamClose { stream });
                }
                context.event(Seen::Received(stream, bytes));
            }
            Input::StreamClosed { stream } => context.event(Seen::Closed(stream)),
            _ => context.count("parrot.ignored"),
        }
    }

    fn command(&mut self, context: &mut Context<'_, Seen>, command: Command) {
        match command {
            Command::Send(to, bytes) => context.push(Effect::Transmit { to, bytes: Bytes::from_static(bytes) }),
            Command::WakeAt(alarms) => self.alarms = alarms,
            Command::Persist(call, key, value) => {
                let (key, value) = (Bytes::from_static(key.as_bytes()), Bytes::from_static(value.as_bytes()));
                context.push(Effect::Persist { call, writes: vec![Write { table: "words", key, value: Some(value) }] });
            }
            Command::Verify(call, password) => context.push(Effect::Verify {
                call,
                account: Account::parse("polly@example").expect("an account"),
                credential: Credential::Password(SecretText::new(password)),
                certificate: None,
            }),
            Command::Connect(stream, to) => {
                context.push(Effect::StreamConnect { stream, to });
                context.push(Effect::StreamSend { stream, bytes: Bytes::from_static(b"hello") });
            }
            Command::Call(call, server, words) => context.push(Effect::TlsCall {
                call,
                server: Fqdn::parse(server).expect("a name"),
                role: CertificateRole::DirectionCoordinator,
                addresses: DualStack::default(),
                frame: Bytes::from_static(words.as_bytes()),
                mutual: true,
            }),
            Command::Panic => panic!("the parrot was asked to panic"),
            Command::PanicQuietly => std::panic::resume_unwind(Box::new("the parrot fell silent")),
            Command::NeverBeDone => self.never_done = true,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.never_done { Some(Instant::ORIGIN) } else { self.alarms.iter().min().copied() }
    }

    fn expire(&mut self, context: &mut Context<'_, Seen>) {
        let now = context.now;
        self.alarms.retain(|&alarm| alarm > now);
        context.event(Seen::Expired(now));
    }
}
