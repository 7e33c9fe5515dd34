//! Where the DCs of the domains are, as DNS said a moment ago.

use crate::machine::ServerAddresses;
use crate::time::Instant;
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::time::Duration;

/// The DCs remembered, each until its time.
#[derive(Debug)]
pub(super) struct KnownCoordinators {
    by_domain: BTreeMap<Fqdn, (Instant, ServerAddresses)>,
    memory: Duration,
    limit: usize,
}

impl KnownCoordinators {
    pub(super) fn new(memory: Duration, limit: usize) -> Self {
        Self { by_domain: BTreeMap::new(), memory, limit }
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.by_domain.len()
    }

    /// The DC of a domain, if it is remembered.
    pub(super) fn get(&self, now: Instant, domain: &Fqdn) -> Option<ServerAddresses> {
        let (until, server) = self.by_domain.get(domain)?;
        (*until > now).then(|| server.clone())
    }

    /// Remembers a DC; where there is no room, whoever would be forgotten first goes.
    pub(super) fn remember(&mut self, now: Instant, domain: Fqdn, server: ServerAddresses) {
        self.by_domain.retain(|_, (until, _)| *until > now);
        if self.by_domain.len() >= self.limit
            && let Some(oldest) = self.by_domain.iter().min_by_key(|(_, (until, _))| *until).map(|(domain, _)| domain)
        {
            let oldest = oldest.clone();
            self.by_domain.remove(&oldest);
        }
        self.by_domain.insert(domain, (now + self.memory, server));
    }

    /// Forgets a DC that did not answer where it was said to be.
    pub(super) fn forget(&mut self, domain: &Fqdn) {
        self.by_domain.remove(domain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_wire::address::DualStack;

    fn name(text: &str) -> Fqdn {
        Fqdn::parse(text).expect("a sound name")
    }

    #[test]
    fn a_coordinator_is_remembered_for_a_while_and_the_oldest_makes_room() {
        let mut known = KnownCoordinators::new(Duration::from_secs(10), 2);
        let server = |text: &str| ServerAddresses {
            name: name(text),
            signalling: DualStack::default(),
            tls: DualStack::default(),
        };
        let t = |seconds| Instant::ORIGIN + Duration::from_secs(seconds);
        for (at, domain) in [(0, "a.example"), (1, "b.example"), (2, "c.example")] {
            known.remember(t(at), name(domain), server(domain));
        }
        assert_eq!(known.get(t(2), &name("a.example")), None);
        assert_eq!(known.get(t(10), &name("b.example")), Some(server("b.example")));
        assert_eq!(known.get(t(11), &name("b.example")), None);
        known.forget(&name("c.example"));
        assert_eq!(known.get(t(3), &name("c.example")), None);
    }
}
