//! A machine on the bench, whatever its type, and the events it has told.

use super::dice::Dice;
use ntmobile_proto::machine::{Context, Effect, Input, Machine};
use ntmobile_proto::sizes::Sizes;
use ntmobile_proto::time::{Instant, UnixTime};
use std::any::Any;

/// A machine on the bench, whatever its type.
pub(super) trait Hosted: Any {
    fn step(&mut self, step: Step, now: Instant, entropy: &mut Dice) -> Vec<Effect<()>>;
    fn deadline(&self) -> Option<Instant>;
    fn sizes(&self) -> Sizes;
    fn as_any(&mut self) -> &mut dyn Any;
}

pub(super) enum Step {
    Input(Box<Input>),
    Expire,
}

/// A machine with the events it has told.
pub struct Placed<M: Machine> {
    /// The machine.
    pub machine: M,
    /// What it told, and when.
    pub events: Vec<(Instant, M::Event)>,
}

impl<M: Machine> Placed<M> {
    fn sort_out(&mut self, now: Instant, effects: Vec<Effect<M::Event>>) -> Vec<Effect<()>> {
        let mut rest = Vec::with_capacity(effects.len());
        for effect in effects {
            rest.push(match effect {
                Effect::Event(event) => {
                    self.events.push((now, event));
                    continue;
                }
                Effect::Transmit { to, bytes } => Effect::Transmit { to, bytes },
                Effect::TlsCall { call, server, role, addresses, frame, mutual } => {
                    Effect::TlsCall { call, server, role, addresses, frame, mutual }
                }
                Effect::TlsAnswer { request, frame } => Effect::TlsAnswer { request, frame },
                Effect::Resolve { call, lookup, trace } => Effect::Resolve { call, lookup, trace },
                Effect::Persist { call, writes } => Effect::Persist { call, writes },
                Effect::Verify { call, account, credential, certificate } => {
                    Effect::Verify { call, account, credential, certificate }
                }
                Effect::StreamConnect { stream, to } => Effect::StreamConnect { stream, to },
                Effect::StreamSend { stream, bytes } => Effect::StreamSend { stream, bytes },
                Effect::StreamClose { stream } => Effect::StreamClose { stream },
                Effect::Span(span) => Effect::Span(span),
                Effect::Count(name) => Effect::Count(name),
            });
        }
        rest
    }

    pub(super) fn run(
        &mut self,
        now: Instant,
        entropy: &mut Dice,
        act: impl FnOnce(&mut M, &mut Context<'_, M::Event>),
    ) -> Vec<Effect<()>> {
        let mut effects = Vec::new();
        let mut context = Context { now, wall: wall(now), entropy, effects: &mut effects };
        act(&mut self.machine, &mut context);
        self.sort_out(now, effects)
    }
}

fn wall(now: Instant) -> UnixTime {
    UnixTime(1_900_000_000 + now.0 / 1_000_000_000)
}

impl<M: Machine + 'static> Hosted for Placed<M>
where
    M::Event: 'static,
{
    fn step(&mut self, step: Step, now: Instant, entropy: &mut Dice) -> Vec<Effect<()>> {
        self.run(now, entropy, |machine, context| match step {
            Step::Input(input) => machine.handle(context, *input),
            Step::Expire => machine.expire(context),
        })
    }

    fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    fn sizes(&self) -> Sizes {
        self.machine.sizes()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
