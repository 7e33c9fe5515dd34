//! The names a scenario may use are those that are registered.

use super::*;
use ntmobile_strategies::{Choices, Registry, registry};

#[test]
fn every_registered_strategy_can_be_chosen_and_no_other() {
    let registry = Registry::builtin();
    for kind in registry::Kind::ALL {
        let key = kind.name().replace('_', "-");
        let ours = Kind::ALL.into_iter().find(|ours| ours.key() == key).unwrap_or_else(|| panic!("no kind {key}"));
        let known: Vec<&str> = ours.known().iter().map(|(name, _)| *name).collect();
        assert_eq!(known, registry.names(*kind), "the names of {key}");
        assert_eq!(ours.default_name(), Choices::default().of(*kind), "the default of {key}");
    }
}
