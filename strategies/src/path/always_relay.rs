//! `always-relay`: every tunnel goes through an RS, whatever direct path there may be.

use ntmobile_proto::policy::{PathChoice, PathPolicy, PathQuestion};

/// The baseline that experiments compare with, and the choice of a site that hides its nodes' addresses from each other.
#[derive(Clone, Copy, Debug, Default)]
pub struct AlwaysRelay;

impl PathPolicy for AlwaysRelay {
    fn name(&self) -> &'static str {
        "always-relay"
    }

    fn choose(&self, _question: PathQuestion<'_>) -> PathChoice {
        PathChoice::Relayed { because: "every tunnel is relayed" }
    }
}
