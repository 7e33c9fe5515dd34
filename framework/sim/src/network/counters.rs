//! What happened to packets, counted: nothing vanishes without a reason.

use std::ops::AddAssign;

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Why a packet went no further.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason, in a fixed order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];
        }
    };
}

drop_reasons! {
    /// The link lost it, as its loss rate says.
    LinkLoss,
    /// The queue in front of the link was full.
    QueueFull,
    /// The link is down or gone.
    LinkDown,
    /// The node is down.
    NodeDown,
    /// It does not fit the link and must not be fragmented.
    TooBig,
    /// It made too many hops.
    HopLimit,
    /// There is no route to its destination.
    NoRoute,
    /// The destination's network is here, but nobody has the address.
    NoSuchHost,
    /// It came to a node that neither has the address nor forwards.
    NotForUs,
    /// It left an open interface from an address that does not belong there.
    ForeignSource,
    /// A NAT has no mapping for it.
    NatNoMapping,
    /// A NAT has a mapping for it, whose filter does not let the sender through.
    NatFiltered,
    /// It went from behind a NAT to that NAT's own outer address, and the NAT does not hairpin.
    NatNoHairpin,
    /// The NAT has no port left.
    NatNoPort,
    /// The NAT's table, or the host's share of it, is full.
    NatTableFull,
    /// The NAT cannot translate this protocol.
    NatProtocol,
    /// The NAT or firewall drops fragments.
    FragmentRefused,
    /// The firewall forbids it.
    FirewallForbidden,
    /// It came from outside and belongs to nothing that the inside began.
    FirewallUnsolicited,
    /// The firewall's table is full.
    FirewallTableFull,
    /// The other fragments did not come in time.
    ReassemblyTimeout,
    /// Too many packets wait for their fragments.
    ReassemblyFull,
    /// A fragment contradicts another, repeats it, or makes no packet.
    BadFragment,
}

/// What a node saw.
///
/// For the whole network, `originated + duplicated + split = delivered + dropped + merged + in flight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets sent by the host, and ICMP errors that the node made.
    pub originated: u64,
    /// Packets given to the host.
    pub delivered: u64,
    /// Packets taken in from a link.
    pub received: u64,
    /// Packets passed on.
    pub forwarded: u64,
    /// Copies made by the links out of this node.
    pub duplicated: u64,
    /// Packets added by cutting: a packet cut into n pieces adds n - 1.
    pub split: u64,
    /// Packets taken away by reassembly: n pieces made whole take n - 1 away.
    pub merged: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            originated: 0,
            delivered: 0,
            received: 0,
            forwarded: 0,
            duplicated: 0,
            split: 0,
            merged: 0,
            drops: [0; DropReason::ALL.len()],
        }
    }
}

impl Counters {
    /// How many packets were dropped for this reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// How many packets were dropped, whatever the reason.
    pub fn all_dropped(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// The reasons for which something was dropped, with the counts, in a fixed order.
    pub fn drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().map(|reason| (*reason, self.dropped(*reason))).filter(|(_, count)| *count > 0)
    }

    pub(super) fn drop_one(&mut self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    pub(super) fn drop_many(&mut self, reason: DropReason, count: u64) {
        self.drops[reason as usize] += count;
    }
}

impl AddAssign<&Counters> for Counters {
    fn add_assign(&mut self, other: &Counters) {
        self.originated += other.originated;
        self.delivered += other.delivered;
        self.received += other.received;
        self.forwarded += other.forwarded;
        self.duplicated += other.duplicated;
        self.split += other.split;
        self.merged += other.merged;
        for (mine, theirs) in self.drops.iter_mut().zip(other.drops) {
            *mine += theirs;
        }
    }
}

/// What went through one interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets handed to the link, lost ones included.
    pub sent_packets: u64,
    /// Their bytes, IP headers included.
    pub sent_bytes: u64,
    /// Packets taken in from the link.
    pub received_packets: u64,
    /// Their bytes, IP headers included.
    pub received_bytes: u64,
}
