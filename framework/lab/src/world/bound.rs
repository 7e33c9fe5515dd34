//! The least time that setting a tunnel up can take: the critical path of one-way delays in the sequence, from topology and
//! sequence alone. Nothing here looks at a trace.
//!
//! It holds on links without rate limit, jitter and loss. The book's chapter on sequences derives it step by step.

use std::time::Duration;

/// What the DC of MN must find out in DNS before it can talk to CN's DC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsKnowledge {
    /// Nothing: it asks a root server, the top-level domain's, and CN's DC itself.
    Cold,
    /// Where the top-level domain's server is.
    TopLevel,
    /// Everything.
    Warm,
}

/// Which end sends Tunnel Request on a direct path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The one that started.
    Mn,
    /// The one that was called: it alone is behind a NAT.
    Cn,
}

/// Which way the tunnel goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// End to end.
    Direct(Sender),
    /// Through this RS, whose leg CN opens first.
    Forwarded(&'a str),
    /// Through this RS, to which both ends send.
    Rendezvous(&'a str),
}

/// The DC of CN, where it is another than that of MN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherCoordinator<'a> {
    /// Its name.
    pub name: &'a str,
    /// The root server.
    pub root: &'a str,
    /// The server of its top-level domain.
    pub top_level: &'a str,
    /// What the DC of MN knows.
    pub dns: DnsKnowledge,
    /// Whether the two share K_dcdc.
    pub shares_key: bool,
}

/// One negotiation: who takes part, and what is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiation<'a> {
    /// The node that starts.
    pub mn: &'a str,
    /// Its DC.
    pub coordinator: &'a str,
    /// The node that is called.
    pub cn: &'a str,
    /// Its DC, where that is another.
    pub other: Option<OtherCoordinator<'a>>,
    /// The NS through which CN is woken, if it is.
    pub notification: Option<&'a str>,
    /// Which way.
    pub way: Way<'a>,
    /// Whether the RS is one that the DC of CN lends.
    pub relay_is_lent: bool,
    /// Whether the RS and the DC that directs it share K_dcrs.
    pub relay_shares_key: bool,
}

/// The first call over TLS to a server: hello, the server's certificate, own certificate and request, answer.
const FIRST_CALL: u32 = 4;

impl Negotiation<'_> {
    /// From the name look-up of MN's application to the moment it can send. `delay` is the time from one host to another.
    pub fn bound<E>(&self, delay: impl Fn(&str, &str) -> Result<Duration, E>) -> Result<Duration, E> {
        let Self { mn, coordinator, cn, .. } = *self;
        let cn_coordinator = self.other.map_or(coordinator, |other| other.name);
        let round_trip = |one: &str, other: &str| delay(one, other).map(|one_way| one_way * 2);

        // Direction Request.
        let mut now = delay(mn, coordinator)?;
        if let Some(other) = self.other {
            // The resolver asks one server after the other, going down the tree.
            if other.dns <= DnsKnowledge::Cold {
                now += round_trip(coordinator, other.root)?;
            }
            if other.dns <= DnsKnowledge::TopLevel {
                now += round_trip(coordinator, other.top_level)? + round_trip(coordinator, other.name)?;
            }
            if !other.shares_key {
                now += delay(coordinator, other.name)? * FIRST_CALL;
            }
            // Node Information Request and Response.
            now += round_trip(coordinator, other.name)?;
        }
        let relay = match self.way {
            Way::Direct(_) => None,
            Way::Forwarded(relay) | Way::Rendezvous(relay) => Some(relay),
        };
        if let Some(relay) = relay {
            let mut director = coordinator;
            if self.relay_is_lent {
                // Relay Direction between the DCs, and Relay Assignment.
                now += round_trip(coordinator, cn_coordinator)?;
                director = cn_coordinator;
            }
            if !self.relay_shares_key {
                now += delay(director, relay)? * FIRST_CALL;
            }
            // Relay Direction and its answer.
            now += round_trip(director, relay)?;
        }

        // Route Direction to CN, by way of its DC; one that sleeps is woken first and pulls.
        now += delay(coordinator, cn_coordinator)?;
        if let Some(server) = self.notification {
            now += delay(cn_coordinator, server)? + delay(server, cn)? + delay(cn, cn_coordinator)?;
        }
        now += delay(cn_coordinator, cn)?;
        let directed_cn = now;
        if let Way::Forwarded(relay) = self.way {
            // Hole Punching, before CN says that it is ready.
            now += round_trip(cn, relay)?;
        }

        // Route Direction Acknowledge back to the DC of MN, and Route Direction to MN.
        now += delay(cn, cn_coordinator)? + delay(cn_coordinator, coordinator)? + delay(coordinator, mn)?;
        let directed_mn = now;

        // Tunnel Request and Response.
        Ok(match self.way {
            Way::Direct(Sender::Mn) => directed_mn + round_trip(mn, cn)?,
            Way::Direct(Sender::Cn) => directed_mn.max(directed_cn + delay(cn, mn)?),
            Way::Forwarded(relay) => directed_mn + round_trip(mn, relay)? + round_trip(relay, cn)?,
            Way::Rendezvous(relay) => {
                let both = (directed_mn + delay(mn, relay)?).max(directed_cn + delay(cn, relay)?);
                both + delay(relay, mn)?
            }
        })
    }
}
