//! The one timer of an entity: a task that sleeps on the Clock port until the machine's deadline.
//!
//! A deadline that moves later does not disturb the sleeper; it wakes early, and the driver arms it again. So the common
//! case (a timer pushed out by every packet) costs nothing.

use actix::Recipient;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::time::Instant;
use std::sync::Arc;
use tokio::sync::watch;

/// The alarm has gone off; the deadline may have moved meanwhile.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Rung;

/// The driver's side of the alarm.
#[derive(Debug)]
pub(crate) struct Alarm {
    armed: Option<Instant>,
    setting: watch::Sender<Option<Instant>>,
}

impl Alarm {
    /// An alarm that is not set, and the task that has to run for it.
    pub(crate) fn new(clock: Arc<dyn Clock>, mailbox: Recipient<Rung>) -> (Self, impl Future<Output = ()> + use<>) {
        let (setting, armed) = watch::channel(None);
        (Self { armed: None, setting }, sleep_and_ring(clock, mailbox, armed))
    }

    /// Makes sure that the alarm rings at `deadline` or before.
    pub(crate) fn cover(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else { return };
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.armed = Some(deadline);
            self.setting.send_replace(self.armed);
        }
    }

    /// It has rung: nothing is armed any more.
    pub(crate) fn rung(&mut self) {
        self.armed = None;
    }
}

async fn sleep_and_ring(
    clock: Arc<dyn Clock>,
    mailbox: Recipient<Rung>,
    mut setting: watch::Receiver<Option<Instant>>,
) {
    loop {
        let armed = *setting.borrow_and_update();
        let Some(at) = armed else {
            if setting.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            biased;
            changed = setting.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            () = clock.sleep_until(at) => {
                mailbox.do_send(Rung);
                if setting.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
