//! Processes on the bench: hosts that move, are switched off, and start again on what they had stored.

use super::{Bench, Happening, Placed, name};
use bytes::Bytes;
use ntmobile_proto::machine::{CallId, Input, Machine, Record, StoreFailure, TlsFailure, Write};
use ntmobile_wire::name::Fqdn;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What a host has stored, by table and key.
pub(super) type Store = BTreeMap<(&'static str, Bytes), Bytes>;

impl Bench {
    /// Gives a machine its first input: what the host has stored, and where it is.
    pub(super) fn start(&mut self, who: &Fqdn) {
        let stored = self.stores.get(who).into_iter().flatten();
        let records = stored
            .map(|((table, key), value)| Record { table: (*table).to_owned(), key: key.clone(), value: value.clone() })
            .collect();
        let addresses = self.places[who].addresses.clone();
        self.input(who, Input::Started { records, addresses, port: super::PORT }, Duration::ZERO);
    }

    pub(super) fn persist(&mut self, who: &Fqdn, call: CallId, writes: Vec<Write>) {
        if self.full.contains(who) {
            let result = Err(StoreFailure::Full);
            return self.input(who, Input::Persisted { call, result }, Duration::ZERO);
        }
        let store = self.stores.entry(who.clone()).or_default();
        for Write { table, key, value } in writes {
            match value {
                Some(value) => store.insert((table, key), value),
                None => store.remove(&(table, key)),
            };
        }
        self.input(who, Input::Persisted { call, result: Ok(()) }, Duration::ZERO);
    }

    /// Fills a host's disk, or makes room on it again.
    pub fn set_disk_full(&mut self, who: &str, is_full: bool) {
        if is_full {
            self.full.insert(name(who));
        } else {
            self.full.remove(&name(who));
        }
    }

    /// How many records a host has stored.
    pub fn stored(&self, who: &str) -> usize {
        self.stores.get(&name(who)).map_or(0, BTreeMap::len)
    }

    /// What a host has stored: table, key and value of each record.
    pub fn records(&self, who: &str) -> Vec<(String, Bytes, Bytes)> {
        let stored = self.stores.get(&name(who)).into_iter().flatten();
        stored.map(|((table, key), value)| ((*table).to_owned(), key.clone(), value.clone())).collect()
    }

    /// Forgets what a host has stored: its next process is as new.
    pub fn lose_store(&mut self, who: &str) {
        self.stores.remove(&name(who));
    }

    /// Ends a host's process and starts another, which has nothing but what the first one stored. Connections break;
    /// datagrams on their way still arrive.
    pub fn restart<M: Machine + 'static>(&mut self, who: &str, machine: M)
    where
        M::Event: 'static,
    {
        let who = name(who);
        self.heap.retain(|_, happening| match happening {
            Happening::Input(host, input) => *host != who || matches!(**input, Input::Datagram { .. }),
            Happening::Expire(host) => *host != who,
            Happening::Packet(..) | Happening::TlsPatience(_) => true,
        });
        self.expiring.remove(&who);
        self.tls.retain(|_, pending| pending.caller != who);
        let broken: Vec<_> = self.tls.extract_if(.., |_, pending| pending.server == who).collect();
        for (_, pending) in broken {
            let after = self.delay_between(&who, &pending.caller);
            let result = Err(TlsFailure::Broken);
            self.input(&pending.caller, Input::TlsAnswered { call: pending.call, result }, after);
        }
        for stream in self.streams_of(who.as_str()) {
            self.close_stream(&who, stream);
        }
        let place = self.places.get_mut(&who).expect("a place");
        place.hosted = Box::new(Placed { machine, events: Vec::new() });
        place.is_up = true;
        self.start(&who);
    }

    /// Moves a host: other addresses, behind another NAT or none.
    pub fn move_to(&mut self, who: &str, addresses: &[&str], outside: Option<&str>) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let place = self.places.get_mut(&name(who)).expect("a place");
        place.addresses = addresses.clone();
        place.outside = outside.map(super::outer_address);
        self.input(&name(who), Input::AddressesChanged { addresses }, Duration::ZERO);
    }

    /// Switches a host off (nothing reaches it, nothing leaves it, its timers stand still) or on again.
    pub fn set_up(&mut self, who: &str, is_up: bool) {
        self.places.get_mut(&name(who)).expect("a place").is_up = is_up;
        self.rearm(&name(who));
    }
}
