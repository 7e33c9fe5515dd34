//! `resignal`: after a movement the whole signalling of a start runs again ([000] figure 2).

use ntmobile_proto::policy::{HandoverStep, HandoverStrategy};

/// New K_tun, K_tmp and K_mncn for every tunnel, relayed or not; virtual addresses and connections stay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resignal;

impl HandoverStrategy for Resignal {
    fn name(&self) -> &'static str {
        "resignal"
    }

    fn step(&self, _relayed: bool) -> HandoverStep {
        HandoverStep::Resignal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tunnel_is_signalled_again() {
        assert_eq!(Resignal.step(true), HandoverStep::Resignal);
        assert_eq!(Resignal.step(false), HandoverStep::Resignal);
    }
}
