//! The door into an entity's mailbox. actix mailboxes do not push back, so whoever brings something from outside needs
//! one of a limited number of credits, which comes back when the machine has handled it. Datagrams that find no credit are
//! lost, as UDP may; byte streams and TLS requests wait, which pushes back to their senders.

use crate::supervise::Epoch;
use actix::Recipient;
use ntmobile_proto::machine::Input;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many inputs from outside may wait for one entity.
const CREDITS: usize = 256;

/// Something has arrived for the machine.
#[derive(actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Arrived {
    /// The life of the machine it belongs to; `None` if it is for whichever lives now.
    pub(crate) epoch: Option<Epoch>,
    /// What.
    pub(crate) input: Input,
    /// The credit, given back when this is dropped.
    pub(crate) _credit: Option<OwnedSemaphorePermit>,
}

/// No credit was left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Where tasks hand in what they bring.
#[derive(Clone)]
pub(crate) struct Door {
    mailbox: Recipient<Arrived>,
    credits: Arc<Semaphore>,
    epoch: Epoch,
}

impl Door {
    pub(crate) fn new(mailbox: Recipient<Arrived>, epoch: Epoch) -> Self {
        Self { mailbox, credits: Arc::new(Semaphore::new(CREDITS)), epoch }
    }

    /// Hands in a datagram, or refuses it when too many wait already.
    pub(crate) fn try_enter(&self, input: Input) -> Result<(), Full> {
        let credit = Arc::clone(&self.credits).try_acquire_owned().map_err(|_no_credit_left| Full)?;
        self.mailbox.do_send(Arrived { epoch: None, input, _credit: Some(credit) });
        Ok(())
    }

    /// Waits until there is room for one more.
    pub(crate) async fn credit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.credits).acquire_owned().await.expect("the credits are never closed")
    }

    /// Hands in something that can wait until there is room.
    pub(crate) async fn enter(&self, input: Input) {
        let credit = self.credit().await;
        self.mailbox.do_send(Arrived { epoch: Some(self.epoch), input, _credit: Some(credit) });
    }

    /// Hands in the outcome of something that the machine asked for: bounded by what it asks, so it needs no credit.
    pub(crate) fn outcome(&self, input: Input) {
        self.mailbox.do_send(Arrived { epoch: Some(self.epoch), input, _credit: None });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};
    use ntmobile_sim::Simulation;

    struct Deaf;

    impl Actor for Deaf {
        type Context = Context<Self>;
    }

    impl Handler<Arrived> for Deaf {
        type Result = ();
        fn handle(&mut self, _arrived: Arrived, _context: &mut Self::Context) {}
    }

    #[test]
    fn a_flood_is_stopped_at_the_door_until_the_machine_has_caught_up() {
        let outcome = Simulation::new(1).run(async {
            let door = Door::new(Deaf.start().recipient(), Epoch::default());
            let datagram = || Input::Datagram { from: ([10, 0, 0, 9], 1).into(), bytes: bytes::Bytes::new() };
            // The actor has no turn before we wait for something.
            let taken = (0..2 * CREDITS).filter(|_| door.try_enter(datagram()).is_ok()).count();
            assert_eq!(taken, CREDITS);
            door.enter(datagram()).await;
            assert_eq!(door.try_enter(datagram()), Ok(()));
        });
        outcome.unwrap();
    }
}
