//! Finding the scenario that the command line names, with its overrides.

use crate::cli::ScenarioArguments;
use crate::failure::Failure;
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::scenario::builtin::{self, Builtin};
use ntmobile_lab::scenario::load::{Layers, Unfit};
use std::path::Path;

/// A scenario and what it is called.
#[derive(Debug)]
pub struct Found {
    /// Its name: that of the built-in one, or the file's without its ending.
    pub name: String,
    /// Its text as it was found, before overrides.
    pub text: String,
    /// Itself, overrides included.
    pub scenario: Scenario,
    /// Whether anything was overridden.
    pub overridden: bool,
}

/// Finds, reads and checks it.
pub fn find(arguments: &ScenarioArguments) -> Result<Found, Failure> {
    find_for(arguments, |_| Vec::new())
}

/// The same, for a place where not everything can be had.
pub fn find_for(arguments: &ScenarioArguments, unfit: impl FnOnce(&Scenario) -> Vec<Unfit>) -> Result<Found, Failure> {
    let wanted = arguments.scenario.as_str();
    let path = Path::new(wanted);
    let (name, text, layers) = match Builtin::named(wanted) {
        Some(builtin) => (wanted.to_owned(), builtin.text.to_owned(), builtin.layers()?),
        None if path.exists() || wanted.ends_with(".toml") => {
            let text = std::fs::read_to_string(path)
                .map_err(|source| Failure::ScenarioFile { path: path.to_owned(), source })?;
            let layers = Layers::new(wanted, &text)?;
            let name = path.file_stem().map_or_else(|| wanted.to_owned(), |stem| stem.to_string_lossy().into_owned());
            (name, text, layers)
        }
        None => return Err(builtin::unknown(wanted).into()),
    };
    let as_it_comes = layers.clone().read()?;
    // Only names and values that are text can be meant for us.
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let layers = layers.environment(variables)?;
    let layers = arguments.set.iter().try_fold(layers, |layers, assignment| layers.set(assignment))?;
    let layers = match arguments.seed {
        Some(seed) => layers.set(&format!("world.seed={seed}"))?,
        None => layers,
    };
    let scenario = layers.read_for(unfit)?;
    Ok(Found { name, text, overridden: scenario != as_it_comes, scenario })
}
