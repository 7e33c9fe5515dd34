//! Reading a scenario: a TOML file, and over it the environment and the command line.

use super::Scenario;
use super::plugin::Kind;
use super::problem::{Problem, ScenarioError};
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
        self.read_for(|_| Vec::new())
    }

    /// The same, for a place where not everything can be had: what cannot is an error that says where it is written.
    pub fn read_for(self, unfit: impl FnOnce(&Scenario) -> Vec<Unfit>) -> Result<Scenario, ScenarioError> {
        let merged = self.0.merge()?;
        let scenario: Scenario = merged.decode(|key| {
            let is_plugin = Kind::ALL.into_iter().any(|kind| kind.key() == key);
            is_plugin.then_some("It is not chosen here: choose it in [plugins] or at a domain")
        })?;
        scenario.check_at(Some(&merged))?;
        let placed = |unfit: Unfit| {
            let path: Vec<&str> = unfit.path.iter().map(String::as_str).collect();
            let place = merged.place_of(&path);
            unfit.into_problem().at(Some(place))
        };
        ScenarioError::unless_empty(unfit(&scenario).into_iter().map(placed).collect())?;
        Ok(scenario)
    }
}

/// Something in a sound scenario that cannot be had where it is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// Where it is in the scenario.
    pub path: Vec<String>,
    /// What is wrong with it.
    pub what: String,
}

impl Unfit {
    /// What is wrong with the value at `path`.
    pub fn new(path: &[&str], what: impl Into<String>) -> Self {
        Self { path: path.iter().map(|&part| part.to_owned()).collect(), what: what.into() }
    }

    /// As a problem of the scenario; its reader knows the line.
    pub fn into_problem(self) -> Problem {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        Problem::new(format!("{}: {}", settings::join(&path), self.what))
    }
}

impl Scenario {
    /// Reads a scenario from TOML text and checks it. `name` is what errors call the text.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, ScenarioError> {
        Layers::new(name, text)?.read()
    }
}
