//! `via-dc`: the node logs in to its DC, which asks the AS where it must ([003] §2.3, [004] figure 2).

use ntmobile_proto::policy::{LoginKnowledge, LoginStep, LoginStrategy};

/// A new node learns its domain from the AS once. Every login goes to the DC, under the current key where one is held, and
/// renews K_ntmdc.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViaDc;

impl LoginStrategy for ViaDc {
    fn name(&self) -> &'static str {
        "via-dc"
    }

    fn next(&self, known: LoginKnowledge, logged_in: bool) -> LoginStep {
        if !known.knows_domain {
            LoginStep::AskInitialData
        } else if !known.knows_dc {
            LoginStep::FindDirectionCoordinator
        } else if !logged_in || !known.has_current_key {
            LoginStep::AskDirectionCoordinator
        } else {
            LoginStep::Register
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_asks_for_its_domain_then_logs_in_at_its_coordinator() {
        let mut known = LoginKnowledge::default();
        assert_eq!(ViaDc.next(known, false), LoginStep::AskInitialData);
        known.knows_domain = true;
        assert_eq!(ViaDc.next(known, false), LoginStep::FindDirectionCoordinator);
        known.knows_dc = true;
        assert_eq!(ViaDc.next(known, false), LoginStep::AskDirectionCoordinator);
        known.has_current_key = true;
        assert_eq!(ViaDc.next(known, true), LoginStep::Register);
    }

    #[test]
    fn a_restarted_node_logs_in_again_even_under_a_current_key() {
        let known = LoginKnowledge { has_current_key: true, knows_domain: true, knows_dc: true };
        assert_eq!(ViaDc.next(known, false), LoginStep::AskDirectionCoordinator);
    }

    #[test]
    fn an_expired_key_is_renewed_at_the_coordinator() {
        let known = LoginKnowledge { has_current_key: false, knows_domain: true, knows_dc: true };
        assert_eq!(ViaDc.next(known, true), LoginStep::AskDirectionCoordinator);
    }
}
