//! The actor itself: the lives of a machine, one after the other, and what its mailbox takes.

use super::alarm::{Alarm, Rung};
use super::door::{Arrived, Door};
use super::effects::Service;
use super::journal::Journal;
use super::receive::{Reception, Upward};
use super::streams::{self, Accepted};
use super::tasks::{TaskPanicked, Tasks};
use super::tls::{self, Asked, TooMany};
use super::{Blueprint, Driven};
use crate::host::Host;
use crate::supervise::{End, Epoch, Supervision, Verdict, guarded, message_of};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, ResponseActFuture, WrapFuture};
use ntmobile_proto::machine::{self, Effect, Input, Record, StoreFailure};
use ntmobile_proto::sizes::Sizes;
use ntmobile_wire::entropy::Entropy;
use std::any::Any;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::task::JoinHandle;

/// A machine whose deadline is still due after this many expiries in a row will never be done.
const MAX_EXPIRIES: u32 = 10_000;

/// A command for the machine.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Ask<C> {
    pub(super) command: C,
    pub(super) _credit: OwnedSemaphorePermit,
}

/// The store has been read.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Loaded {
    epoch: Epoch,
    result: Result<Vec<Record>, StoreFailure>,
}

/// The host's addresses may have changed.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct AddressesMayHaveChanged;

/// Stop; answered when every socket is closed and the store has finished.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// Start anew from the store.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(super) struct Restart;

/// How much the machine holds; nothing while none runs.
#[derive(actix::Message)]
#[rtype(result = "Option<Sizes>")]
pub(super) struct Weigh;

/// Where a life of the machine stands.
enum Phase<M: Driven> {
    /// The store is being read, or the pause after a panic is not over; commands wait.
    Starting(Vec<Ask<M::Command>>),
    /// The machine runs.
    Running(M),
    /// Nothing runs any more.
    Ended,
}

/// The actor around a machine.
pub(super) struct Driver<M: Driven> {
    pub(super) blueprint: Blueprint<M>,
    pub(super) host: Host,
    pub(super) service: Option<Service>,
    pub(super) effects: Vec<Effect<M::Event>>,
    supervision: Supervision,
    entropy: Box<dyn Entropy + Send>,
    epoch: Epoch,
    phase: Phase<M>,
    journal: Option<JoinHandle<()>>,
    addresses: Vec<IpAddr>,
    ready: Option<oneshot::Sender<()>>,
    end: watch::Sender<Option<End>>,
}

impl<M: Driven> Driver<M> {
    pub(super) fn new(
        blueprint: Blueprint<M>,
        host: Host,
        ready: oneshot::Sender<()>,
        end: watch::Sender<Option<End>>,
    ) -> Self {
        Self {
            supervision: Supervision::new(host.panics()),
            entropy: host.entropy(&blueprint.name),
            blueprint,
            host,
            service: None,
            effects: Vec::new(),
            epoch: Epoch::default(),
            phase: Phase::Ended,
            journal: None,
            addresses: Vec::new(),
            ready: Some(ready),
            end,
        }
    }

    /// Begins a life: after the pause, and after everything the last life wrote, reads the store.
    fn begin(&mut self, pause: Duration, context: &mut Context<Self>) {
        self.epoch = self.epoch.next();
        self.effects.clear();
        self.phase = Phase::Starting(Vec::new());
        // With the service goes the old life's journal queue, which lets the journal's task finish and end.
        self.service = None;
        let last_journal = self.journal.take();
        let (clock, store) = (Arc::clone(self.host.clock()), Arc::clone(&self.blueprint.store));
        let (address, epoch) = (context.address(), self.epoch);
        let loading = async move {
            if let Some(task) = last_journal {
                drop(task.await);
            }
            if !pause.is_zero() {
                clock.sleep(pause).await;
            }
            let result = store.load().await;
            address.do_send(Loaded { epoch, result });
        };
        actix::spawn(guarded(loading, self.report_panic(context)));
    }

    /// Makes the machine and everything that serves it, and tells it what the store holds.
    fn run(&mut self, records: Vec<Record>, context: &mut Context<Self>) {
        let Phase::Starting(waiting) = std::mem::replace(&mut self.phase, Phase::Ended) else { return };
        self.service = Some(self.serve(context));
        self.addresses = self.host.net().addresses();
        self.phase = Phase::Running((self.blueprint.machine)(&mut *self.entropy));
        let input =
            Input::Started { records, addresses: self.addresses.clone(), port: self.blueprint.signalling.port() };
        self.step(|machine, context| machine.handle(context, input));
        if let Some(ready) = self.ready.take() {
            // Whoever started the entity may have lost interest.
            let _ = ready.send(());
        }
        for ask in waiting {
            self.step(|machine, context| machine.command(context, ask.command));
        }
    }

    fn serve(&mut self, context: &mut Context<Self>) -> Service {
        let door = Door::new(context.address().recipient(), self.epoch);
        let mut tasks = Tasks::new(context.address().recipient(), self.epoch);
        let (alarm, sleeper) = Alarm::new(Arc::clone(self.host.clock()), context.address().recipient());
        tasks.spawn(sleeper);
        let (journal, writer) = Journal::new(Arc::clone(&self.blueprint.store));
        // Not among the tasks that end with this life: what is queued must reach the store.
        self.journal = Some(actix::spawn(guarded(writer, self.report_panic(context))));
        if let Some(path) = &self.blueprint.packet_path {
            path.attach(Upward::new(door.clone()));
        }
        let reception = Reception {
            entity: Arc::clone(&self.blueprint.name),
            port: Arc::clone(&self.blueprint.signalling),
            clock: Arc::clone(self.host.clock()),
            recorder: self.host.recorder().clone(),
            path: self.blueprint.packet_path.clone(),
            door: door.clone(),
        };
        tasks.spawn(reception.run());
        if let Some(port) = &self.blueprint.tcp {
            tasks.spawn(streams::accept_all(Arc::clone(port), context.address().recipient()));
        }
        if let Some(tls) = &self.blueprint.tls {
            tasks.spawn(tls::serve(Arc::clone(tls), door.clone(), context.address().recipient()));
        }
        let (net, address) = (Arc::clone(self.host.net()), context.address());
        tasks.spawn(async move {
            let mut seen = 0;
            loop {
                seen = net.address_change(seen).await;
                address.do_send(AddressesMayHaveChanged);
            }
        });
        Service::new(door, tasks, alarm, journal)
    }

    /// Tells the driver that a task of this life has panicked.
    fn report_panic(&self, context: &Context<Self>) -> impl FnOnce(String) + use<M> {
        let (address, epoch) = (context.address(), self.epoch);
        move |message| address.do_send(TaskPanicked { epoch, message })
    }

    /// Lets the machine do one thing and carries out what it wants.
    fn step(&mut self, call: impl FnOnce(&mut M, &mut machine::Context<'_, M::Event>)) {
        let Phase::Running(machine) = &mut self.phase else { return };
        let mut context = machine::Context {
            now: self.host.clock().now(),
            wall: self.host.clock().wall(),
            entropy: &mut *self.entropy,
            effects: &mut self.effects,
        };
        call(machine, &mut context);
        let deadline = machine.deadline();
        if let Some(service) = &mut self.service {
            service.alarm.cover(deadline);
        }
        self.carry_out();
    }

    fn expire(&mut self) {
        for _ in 0..MAX_EXPIRIES {
            let Phase::Running(machine) = &self.phase else { return };
            let deadline = machine.deadline();
            if deadline.is_none_or(|deadline| deadline > self.host.clock().now()) {
                if let Some(service) = &mut self.service {
                    service.alarm.cover(deadline);
                }
                return;
            }
            self.step(|machine, context| machine.expire(context));
        }
        panic!("the machine's deadline stays due after {MAX_EXPIRIES} expiries");
    }

    /// Runs a handler; a panic in it is judged by the entity's policy.
    fn attempt(&mut self, context: &mut Context<Self>, handler: impl FnOnce(&mut Self, &mut Context<Self>)) {
        let outcome = catch_unwind(AssertUnwindSafe(|| handler(self, context)));
        if let Err(panic) = outcome {
            let message = message_of(&*panic);
            self.panicked(message, Some(panic), context);
        }
    }

    fn panicked(&mut self, message: String, panic: Option<Box<dyn Any + Send>>, context: &mut Context<Self>) {
        self.count("entity.panic");
        match self.supervision.judge(self.host.clock().now()) {
            Verdict::RestartAfter(pause) => {
                self.begin(pause, context);
                self.blueprint.subscriber.restarting();
            }
            verdict => {
                self.finish(End::Panicked(message), context);
                if let (Verdict::Propagate, Some(panic)) = (verdict, panic) {
                    resume_unwind(panic);
                }
            }
        }
    }

    /// Lets everything go but the journal's task, which is returned.
    fn finish(&mut self, end: End, context: &mut Context<Self>) -> Option<JoinHandle<()>> {
        self.epoch = self.epoch.next();
        self.phase = Phase::Ended;
        self.service = None;
        self.effects.clear();
        self.ready = None;
        self.end.send_replace(Some(end.clone()));
        if end != End::Stopped {
            context.stop();
        }
        self.journal.take()
    }

    pub(super) fn count(&self, name: &'static str) {
        self.host.recorder().count(&self.blueprint.name, name, 1);
    }
}

impl<M: Driven> Actor for Driver<M> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.begin(Duration::ZERO, context);
    }
}

/// Gives the driver a handler; a panic in it is judged by the entity's policy.
macro_rules! handles {
    ($message:ty, $driver:ident, $received:ident, $context:ident, $body:block) => {
        impl<M: Driven> Handler<$message> for Driver<M> {
            type Result = ();

            fn handle(&mut self, $received: $message, context: &mut Self::Context) {
                self.attempt(context, |$driver, $context| $body);
            }
        }
    };
}

handles!(Loaded, driver, loaded, context, {
    if loaded.epoch != driver.epoch {
        return;
    }
    match loaded.result {
        Ok(records) => driver.run(records, context),
        Err(failure) => drop(driver.finish(End::Store(failure), context)),
    }
});

handles!(Arrived, driver, arrived, _context, {
    if arrived.epoch.is_some_and(|epoch| epoch != driver.epoch) {
        return driver.count("entity.stale_outcome");
    }
    let admitted = driver.service.as_mut().is_some_and(|service| service.streams.admits(&arrived.input));
    if admitted {
        driver.step(|machine, context| machine.handle(context, arrived.input));
    }
});

handles!(Ask<M::Command>, driver, ask, _context, {
    match &mut driver.phase {
        Phase::Starting(waiting) => waiting.push(ask),
        Phase::Running(_) => driver.step(|machine, context| machine.command(context, ask.command)),
        Phase::Ended => {}
    }
});

handles!(Rung, driver, _rung, _context, {
    if let Some(service) = &mut driver.service {
        service.alarm.rung();
    }
    driver.expire();
});

handles!(AddressesMayHaveChanged, driver, _change, _context, {
    let addresses = driver.host.net().addresses();
    if addresses != driver.addresses {
        driver.addresses.clone_from(&addresses);
        if let Some(tls) = &driver.blueprint.tls {
            tls.network_changed();
        }
        driver.step(|machine, context| machine.handle(context, Input::AddressesChanged { addresses }));
    }
});

handles!(Asked, driver, asked, _context, {
    let Some(service) = &mut driver.service else { return };
    match service.requests.take(asked.request) {
        Ok(input) => driver.step(|machine, context| machine.handle(context, input)),
        Err(TooMany) => driver.count("tls.overload"),
    }
});

handles!(Accepted, driver, accepted, _context, {
    driver.accept(accepted.0);
});

handles!(TaskPanicked, driver, panicked, context, {
    if panicked.epoch == driver.epoch {
        driver.panicked(panicked.message, None, context);
    }
});

handles!(Restart, driver, _restart, context, {
    if !matches!(driver.phase, Phase::Ended) {
        driver.begin(Duration::ZERO, context);
        driver.blueprint.subscriber.restarting();
    }
});

impl<M: Driven> Handler<Weigh> for Driver<M> {
    type Result = Option<Sizes>;

    fn handle(&mut self, _weigh: Weigh, _context: &mut Self::Context) -> Self::Result {
        match &self.phase {
            Phase::Running(machine) => Some(machine.sizes()),
            Phase::Starting(_) | Phase::Ended => None,
        }
    }
}

impl<M: Driven> Handler<Stop> for Driver<M> {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _stop: Stop, context: &mut Self::Context) -> Self::Result {
        let journal = self.finish(End::Stopped, context);
        let flushed = async {
            if let Some(task) = journal {
                drop(task.await);
            }
        };
        Box::pin(flushed.into_actor(self).map(|(), _driver, context| context.stop()))
    }
}
