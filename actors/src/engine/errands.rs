//! What is asked of a node's machine without anybody waiting for it.

use super::outcomes::Outcomes;
use crate::driver::WeakHandle;
use ntmobile_ports::clock::Clock;
use ntmobile_proto::endpoint::Peer;
use ntmobile_proto::node::{Node as NodeMachine, NodeCommand};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// So many errands may wait.
const ERRANDS: usize = 64;

/// What is to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// The machine has started anew: join again, after this pause.
    Join(Duration),
    /// Packets wait for a tunnel to this peer.
    Build(Peer),
}

/// Where errands are handed in.
#[derive(Clone, Debug)]
pub struct Errands(mpsc::Sender<Errand>);

impl Errands {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Errand>) {
        let (sender, queue) = mpsc::channel(ERRANDS);
        (Self(sender), queue)
    }

    /// Has a tunnel to this peer built; `false` if too much is asked already.
    pub fn build(&self, peer: Peer) -> bool {
        self.0.try_send(Errand::Build(peer)).is_ok()
    }

    /// Has the node join again. Where the queue is full an errand to join is in it already, or the machine is too busy to
    /// have panicked.
    pub(super) fn join(&self, pause: Duration) {
        let _ = self.0.try_send(Errand::Join(pause));
    }
}

/// Asks the machine for everything that is handed in.
pub(super) async fn run_errands(
    node: WeakHandle<NodeMachine>,
    outcomes: Arc<Outcomes>,
    clock: Arc<dyn Clock>,
    mut errands: mpsc::Receiver<Errand>,
) {
    while let Some(errand) = errands.recv().await {
        let Some(handle) = node.upgrade() else { return };
        let asked = match errand {
            Errand::Join(pause) => {
                let (clock, node) = (Arc::clone(&clock), node.clone());
                actix::spawn(async move {
                    clock.sleep(pause).await;
                    if let Some(handle) = node.upgrade() {
                        // A node that is no more does not join.
                        let _ = handle.ask(NodeCommand::Join).await;
                    }
                });
                continue;
            }
            Errand::Build(Peer { name, application }) => {
                let (waiter, _nobody_waits) = outcomes.connection();
                handle.ask(NodeCommand::Connect { waiter, peer: name, application }).await
            }
        };
        if asked.is_err() {
            return;
        }
    }
}
