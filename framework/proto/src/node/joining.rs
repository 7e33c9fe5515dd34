//! How long a join is tried: what nobody answers is begun again for a while, what is answered is told at once.

use super::{Cx, JoinError, Node};
use crate::time::Instant;
use std::time::Duration;

/// An attempt that fails sooner than this was answered, since silence takes longer.
const SILENCE: Duration = Duration::from_secs(1);

/// A join under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    since: Instant,
    /// When its present attempt began.
    attempt: Instant,
}

impl Node {
    /// The application wants to be part of the network.
    pub(super) fn join(&mut self, cx: &mut Cx<'_>) {
        self.joining = Some(Joining { since: cx.now, attempt: cx.now });
        self.is_wanted = true;
        self.log_in(cx);
    }

    /// Begins a join again that failed by silence, while it is young: on a path that loses much, somebody is silent now and
    /// then who is there. What was reached before is kept. Whether it is begun again.
    pub(super) fn join_again(&mut self, cx: &mut Cx<'_>, error: &JoinError) -> bool {
        let Some(joining) = self.joining.as_mut() else { return false };
        let is_silence = match error {
            JoinError::AccountServerUnreachable(_)
            | JoinError::CoordinatorUnreachable(_)
            | JoinError::CoordinatorNotFound(_)
            | JoinError::NotificationServerUnreachable(_) => cx.now.since(joining.attempt) >= SILENCE,
            JoinError::WrongCredentials
            | JoinError::CertificateRefused { .. }
            | JoinError::StorageFailed(_)
            | JoinError::NoAddress
            | JoinError::Left
            | JoinError::Refused(_) => false,
        };
        if !is_silence || cx.now.since(joining.since) >= self.config.join_patience {
            return false;
        }
        joining.attempt = cx.now;
        cx.count("node.join_repeated");
        if self.login.is_believed() {
            self.register(cx);
        } else {
            self.log_in(cx);
        }
        true
    }
}
