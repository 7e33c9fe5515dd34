//! Which keys shared with other servers are held: few for each server, for a bounded number of other DCs, each until it ends.

use super::servers::{ServerId, ServerKind};
use super::{Cx, DirectionCoordinator, Due, records};
use crate::machine::Write;
use crate::time::Instant;
use bytes::Bytes;
use ntmobile_wire::identifier::KeyId;
use std::collections::BTreeMap;

/// Keys held per server and side: the one in use and the one before it, under which messages may still be on their way.
const KEYS_PER_SIDE: usize = 2;

/// Who made a key: we, or the other server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Maker {
    Ourselves,
    Other,
}

impl Maker {
    /// How records call it.
    pub(super) fn side(self) -> &'static str {
        match self {
            Self::Ourselves => "requester",
            Self::Other => "responder",
        }
    }
}

/// Every key held, with its end; the newest of each server and side last. That one is stored.
#[derive(Debug, Default)]
pub(super) struct HeldKeys {
    keys: BTreeMap<(ServerId, Maker), Vec<(KeyId, Instant)>>,
}

impl HeldKeys {
    pub(super) fn len(&self) -> usize {
        self.keys.values().map(Vec::len).sum()
    }

    fn of(&self, server: &ServerId) -> impl Iterator<Item = KeyId> {
        let makers = [Maker::Ourselves, Maker::Other];
        let held = makers.into_iter().filter_map(|maker| self.keys.get(&(server.clone(), maker)));
        held.flatten().map(|(key, _)| *key)
    }

    fn coordinators(&self) -> impl Iterator<Item = (&ServerId, Instant)> {
        let is_coordinator = |id: &ServerId| id.kind == ServerKind::Coordinator;
        self.keys
            .iter()
            .filter(move |((id, _), _)| is_coordinator(id))
            .filter_map(|((id, _), keys)| Some((id, keys.last()?.1)))
    }

    fn knows(&self, server: &ServerId) -> bool {
        self.of(server).next().is_some()
    }

    /// The DC whose newest key ends first, other than this one.
    fn stalest(&self, but: &ServerId) -> Option<ServerId> {
        let others = self.coordinators().filter(|(id, _)| *id != but);
        others.min_by_key(|(_, ends)| *ends).map(|(id, _)| id.clone())
    }

    fn count_coordinators(&self) -> usize {
        let mut last = None;
        self.coordinators().filter(|(id, _)| last.replace(*id) != Some(*id)).count()
    }
}

/// What the record of a key is called.
pub(super) fn record_name(server: &ServerId, maker: Maker) -> Bytes {
    Bytes::from(format!("{} {} {}", server.kind.label(), server.name, maker.side()))
}

impl DirectionCoordinator {
    /// Whether there is room for the keys of one more DC.
    pub(super) fn has_room_for(&self, server: &ServerId) -> bool {
        self.servers.held.knows(server) || self.servers.held.count_coordinators() < self.config.coordinators
    }

    /// Keeps a key until its end. The oldest of the same server and side makes room; when we need one more DC than there is
    /// room for, so does the one whose keys end first.
    pub(super) fn keep_server_key(
        &mut self,
        cx: &mut Cx<'_>,
        server: &ServerId,
        maker: Maker,
        key: KeyId,
        ends: Instant,
    ) {
        if server.kind == ServerKind::Coordinator
            && !self.has_room_for(server)
            && let Some(stalest) = self.servers.held.stalest(server)
        {
            cx.count("dc.server_key_replaced");
            for key in self.servers.held.of(&stalest).collect::<Vec<_>>() {
                self.drop_server_key(cx, &stalest, key);
            }
        }
        self.deadlines.set(Due::ServerKey(server.clone(), key), ends);
        let keys = self.servers.held.keys.entry((server.clone(), maker)).or_default();
        keys.retain(|(held, _)| *held != key);
        keys.push((key, ends));
        let surplus = keys.len().saturating_sub(KEYS_PER_SIDE);
        for (old, _) in keys.drain(..surplus).collect::<Vec<_>>() {
            cx.count("dc.server_key_replaced");
            self.deadlines.cancel(&Due::ServerKey(server.clone(), old));
            self.endpoint.abandon(cx.now, old);
        }
    }

    /// Lets go of a key at once; whatever waits for an answer under it is given up.
    pub(super) fn drop_server_key(&mut self, cx: &mut Cx<'_>, server: &ServerId, key: KeyId) {
        self.deadlines.cancel(&Due::ServerKey(server.clone(), key));
        self.endpoint.abandon(cx.now, key);
        self.server_key_ended(cx, server, key);
    }

    /// A key has ended.
    pub(super) fn server_key_ended(&mut self, cx: &mut Cx<'_>, server: &ServerId, key: KeyId) {
        self.servers.forget(server, key);
        let mut writes = Vec::new();
        for maker in [Maker::Ourselves, Maker::Other] {
            let side = (server.clone(), maker);
            let Some(keys) = self.servers.held.keys.get_mut(&side) else { continue };
            if keys.last().is_some_and(|(newest, _)| *newest == key) {
                writes.push(Write { table: records::SERVER_KEYS, key: record_name(server, maker), value: None });
            }
            keys.retain(|(held, _)| *held != key);
            if keys.is_empty() {
                self.servers.held.keys.remove(&side);
            }
        }
        self.discard(cx, writes);
    }
}
