//! *Notification Direction*: a DC announces its nodes and hands out K_ntmns.

use super::{Cx, Due, NODES, NotificationServer, Storing};
use crate::endpoint::{Association, Peer, Ticket};
use crate::machine::{Effect, Write};
use crate::stored_message::{StoredMessage, deletion};
use crate::time::Instant;
use ntmobile_wire::identifier::{KeyId, Session};
use ntmobile_wire::message::{NotificationDirection, RefusalCode};
use ntmobile_wire::name::Fqdn;
use ntmobile_wire::subkey::{KeyKind, Role};

impl NotificationServer {
    /// *Notification Direction*: a DC announces one of its nodes.
    pub(super) fn directed(&mut self, cx: &mut Cx<'_>, ticket: &Ticket, direction: NotificationDirection) {
        let checked = self.check_direction(ticket, &direction).and_then(|()| self.check_load());
        match checked {
            Err((code, detail)) => self.refuse(cx, ticket, code, detail),
            Ok(()) => {
                let (key, lifetime_s) = (direction.key.id, direction.lifetime_s);
                let coordinator = ticket.sender().name.clone();
                let write = StoredMessage::new(coordinator, cx.wall, lifetime_s, direction.clone()).write(NODES, key);
                let call = self.storing.open(Storing::Node { ticket: ticket.clone(), direction });
                cx.push(Effect::Persist { call, writes: vec![write] });
            }
        }
    }

    pub(super) fn check_direction(
        &self,
        ticket: &Ticket,
        direction: &NotificationDirection,
    ) -> Result<(), (RefusalCode, &'static str)> {
        let node = peer_of(direction);
        if !ticket.sender().name.directs(&node.name) {
            return Err((RefusalCode::NotAllowed, "the node is not in the Direction Coordinator's domain"));
        }
        if self.nodes.get(&node).is_none() && self.nodes.len() >= self.config.nodes {
            return Err((RefusalCode::Overloaded, "as many nodes as can be served are announced"));
        }
        // Key identifiers are readable on the wire: nobody may put a key of their own in the place of another's.
        match self.endpoint.association(direction.key.id) {
            Some(known) if *known.key() != direction.key || *known.peer() != node => {
                Err((RefusalCode::NotAllowed, "the key identifier is taken"))
            }
            _ => Ok(()),
        }
    }

    /// Listens to a node under its key from now on; returns the deletions of those replaced.
    pub(super) fn announce(
        &mut self,
        coordinator: Fqdn,
        direction: NotificationDirection,
        node_session: Option<Session>,
        ends: Instant,
    ) -> Vec<Write> {
        let node = peer_of(&direction);
        let key = direction.key.id;
        match self.endpoint.association_mut(key) {
            // The DC announces once more because our answer was lost: keep what was seen under the key.
            Some(known) => {
                if let Some(session) = node_session {
                    known.learn_session(Role::Node, session);
                }
            }
            None => {
                let own = (Role::Ns, self.endpoint.session());
                let from = (Role::Node, node_session);
                let association = Association::new(direction.key, KeyKind::Ntmns, own, from, node.clone());
                self.endpoint.add(association.expiring(ends));
                self.deadlines.set(Due::Key(key, node.clone()), ends);
            }
        }
        let replaced = self.nodes.announce(node.clone(), coordinator, key);
        self.drop_keys(&node, replaced.keys)
    }

    pub(super) fn drop_keys(&mut self, node: &Peer, keys: Vec<KeyId>) -> Vec<Write> {
        keys.into_iter()
            .map(|key| {
                self.endpoint.remove(key);
                self.deadlines.cancel(&Due::Key(key, node.clone()));
                deletion(NODES, key)
            })
            .collect()
    }
}

fn peer_of(direction: &NotificationDirection) -> Peer {
    Peer { name: direction.node.clone(), application: direction.application }
}
