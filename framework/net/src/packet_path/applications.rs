//! Which tunnel an answer takes where a peer has several: one for each of its applications, which share its addresses.

use super::Shared;
use ntmobile_proto::packet::{Direction, Flow, Flows, InnerHeader, Tunnel, TunnelTable};
use ntmobile_wire::identifier::ApplicationId;
use std::sync::{Arc, MutexGuard, PoisonError};

impl Shared {
    /// The tunnel that an application's packet takes: the newest to its destination, unless its question came by another.
    pub(super) fn way(&self, table: &TunnelTable, header: &InnerHeader, packet: &[u8]) -> Option<Arc<Tunnel>> {
        let asked = || Flow::of(packet, Direction::Out).and_then(|flow| self.flows().application(&flow));
        match table.is_ambiguous().then(asked).flatten() {
            Some(application) => table.towards_application(header.destination, application),
            None => table.towards(header.destination),
        }
    }

    /// A packet has come from this one of a peer's applications.
    pub(super) fn remember(&self, table: &TunnelTable, application: ApplicationId, packet: &[u8]) {
        let Some(flow) = Flow::of(packet, Direction::In) else { return };
        let newest = table.towards(flow.remote()).map(|tunnel| tunnel.settings().application);
        self.flows().came(flow, application, newest);
    }

    fn flows(&self) -> MutexGuard<'_, Flows> {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
