//! What the packet path counts: what passes, and why what does not.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that threads add to.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident: $name:literal,)*) => {
        /// The counters of one packet path.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: Counter,)*
        }

        impl Counters {
            /// Every counter by the name that metrics give it.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.$field.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Outer datagrams sent.
    sent: "path.sent",
    /// System calls that sent them.
    trains_sent: "path.trains_sent",
    /// Outer datagrams that the network did not take.
    unsent: "esp.unsent",
    /// Outer datagrams received.
    received: "path.received",
    /// System calls that received them.
    trains_received: "path.trains_received",
    /// Packets and super-packets written to the device.
    written: "path.written",
    /// Packets that the device did not take.
    unwritten: "path.unwritten",
    /// Signalling datagrams dropped because nobody took them up in time.
    signalling_overload: "signalling.overload",
    /// Notices and packets without a tunnel dropped for the same reason.
    events_overload: "path.events_overload",
    /// Datagrams that are none of ours.
    malformed: "esp.malformed",
    /// Packets of no tunnel.
    unknown_spi: "esp.unknown_spi",
    /// Packets that did not open.
    refused: "esp.refused",
    /// Packets between others than a tunnel's ends.
    foreign_inner: "esp.foreign_inner",
    /// What came from the device and is no IP packet.
    not_ip: "packet.malformed",
    /// Applications' packets with an address that is not ours.
    foreign_source: "packet.foreign_source",
    /// Applications' packets to the port of signalling.
    control_port: "packet.control_port",
    /// Packets for which the key was exhausted.
    exhausted: "packet.exhausted",
    /// Packets to nobody we have a tunnel to.
    no_tunnel: "packet.no_tunnel",
    /// Packets answered with *packet too big*.
    too_big: "packet.too_big",
    /// How often the kernel was asked how much a path takes.
    path_asked: "path.asked",
    /// Relayed datagrams whose receiver has not proved its address.
    no_leg: "relay.no_leg",
    /// Answers of *Source Unknown*.
    source_unknown: "relay.source_unknown",
    /// Datagrams of unknown source that were not answered.
    source_unknown_unsaid: "relay.source_unknown_unsaid",
    /// Datagrams that came before the relay was ready.
    not_ready: "relay.not_ready",
}
