//! Reading a scenario: a TOML file, and over it the environment and the command line.

use super::Scenario;
use super::plugin::Kind;
use super::problem::ScenarioError;
use ntmobile_settings as settings;

/// The layers of a scenario, the lowest first.
#[derive(Clone, Debug)]
pub struct Layers(settings::Layers);

impl Layers {
    /// The scenario's own text. `name` is what errors call it.
    pub fn new(name: &str, text: &str) -> Result<Self, ScenarioError> {
        settings::Layers::new(name, text).map(Self)
    }

    /// Values from environment variables such as `NTM_WORLD__SEED=8`.
    pub fn environment(self, variables: impl IntoIterator<Item = (String, String)>) -> Result<Self, ScenarioError> {
        self.0.environment(variables).map(Self)
    }

    /// One value from `key=value`, as `--set` takes it: `world.seed=8`, `node.alice.network=lte`,
    /// `domain.u1.example.relays=2`, `event.0.at=30s`. The value is TOML, or else text.
    pub fn set(self, assignment: &str) -> Result<Self, ScenarioError> {
        self.0.set(assignment).map(Self)
    }

    /// Merges the layers, decodes and checks.
    pub fn read(self) -> Result<Scenario, ScenarioError> {
        let merged = self.0.merge()?;
        let scenario: Scenario = merged.decode(|key| {
            let is_plugin = Kind::ALL.into_iter().any(|kind| kind.key() == key);
            is_plugin.then_some("It is not chosen here: choose it in [plugins] or at a domain")
        })?;
        scenario.check_at(Some(&merged))?;
        Ok(scenario)
    }
}

impl Scenario {
    /// Reads a scenario from TOML text and checks it. `name` is what errors call the text.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, ScenarioError> {
        Layers::new(name, text)?.read()
    }
}
