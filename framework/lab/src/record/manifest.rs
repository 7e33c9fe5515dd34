//! The manifest of a run: everything that is needed to run it again, and how it went.
//!
//! It is the only file of a run that knows wall-clock time; all others are the same for the same seed.

use crate::netns::conditions::LabRecord;
use crate::scenario::Scenario;
use crate::scenario::plugin::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the manifest's own form.
pub const FORMAT: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// The scenario's name.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Whether the run came to its end.
    pub state: State,
    /// Which program ran it.
    pub program: Program,
    /// The version of the wire format that was spoken; 0 where the run is older than this field.
    #[serde(default)]
    pub wire_version: u8,
    /// When it was started, in seconds since 1970.
    pub started_unix_s: u64,
    /// How long it took.
    pub wall_s: f64,
    /// How much was simulated.
    pub simulated_s: f64,
    /// How many events happened in the simulator.
    pub events: u64,
    /// The plugins that counted, by the name of server or node, then by kind.
    pub plugins: BTreeMap<String, BTreeMap<String, String>>,
    /// What it was like on the real kernel; nothing for a simulated run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lab: Option<LabRecord>,
    /// The scenario with every override in it: `ntm run` takes it as it is.
    pub scenario_toml: String,
}

/// Whether a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It ran as long as the scenario says.
    Complete,
    /// It was stopped: what was measured until then is there.
    Partial,
}

/// Which program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// The revision it was built from, where that was known.
    pub revision: Option<String>,
}

/// The plugins that count in a scenario, by the name of server or node, then by kind.
pub fn plugins(scenario: &Scenario) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut plugins: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut note = |who: String, kind: Kind, name: Option<&str>| {
        if let Some(name) = name {
            plugins.entry(who).or_default().insert(kind.key().to_owned(), name.to_owned());
        }
    };
    note("as".to_owned(), Kind::Storage, Some(scenario.at_account_server(Kind::Storage)));
    for domain in scenario.domain.keys() {
        for kind in [Kind::Path, Kind::RelayHandshake, Kind::Storage] {
            note(format!("dc.{domain}"), kind, scenario.at_domain(kind, domain));
        }
    }
    for (name, node) in &scenario.node {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_of_nodes()) {
            note(format!("{name}.{}", node.domain), kind, scenario.at_node(kind, name));
        }
    }
    plugins
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::builtin::BUILTIN;

    #[test]
    fn every_choice_that_counts_is_noted() {
        let scenario = BUILTIN[0].scenario().expect("a sound scenario");
        let plugins = plugins(&scenario);
        assert_eq!(plugins["dc.u2.example"]["relay-handshake"], "rendezvous");
        assert_eq!(plugins["dc.u1.example"]["path"], "paper");
        assert_eq!(plugins["carol.u1.example"]["auth"], "public-key");
        assert_eq!(plugins["bob.u2.example"]["login"], "via-dc", "taken from the domain");
        assert_eq!(plugins["bob.u2.example"].len(), 8);
    }
}
