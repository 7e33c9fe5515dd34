//! The scenarios that come with the program, compiled in.

use super::Scenario;
use super::load::Layers;
use super::problem::ScenarioError;

/// A scenario by name, as text that teaches.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// Its text, comments included.
    pub text: &'static str,
}

/// All of them, the one to begin with first.
pub const BUILTIN: [Builtin; 1] = [Builtin { name: "quickstart", text: include_str!("builtin/quickstart.toml") }];

impl Builtin {
    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        BUILTIN.into_iter().find(|builtin| builtin.name == name)
    }

    /// Its text as the lowest layer.
    pub fn layers(self) -> Result<Layers, ScenarioError> {
        Layers::new(&format!("{}.toml", self.name), self.text)
    }

    /// The scenario as it comes.
    pub fn scenario(self) -> Result<Scenario, ScenarioError> {
        self.layers()?.read()
    }
}

/// The names most like `name`, for whoever has mistyped one.
pub fn unknown(name: &str) -> ScenarioError {
    super::problem::Problem::unknown(
        format!("there is no file and no built-in scenario {name:?}"),
        name,
        BUILTIN.map(|builtin| builtin.name),
    )
    .into()
}
