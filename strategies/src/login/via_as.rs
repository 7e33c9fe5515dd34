//! `via-as`: the node logs in to the AS, which hands the key to the DC ([003] figure 2).

use ntmobile_proto::policy::{LoginKnowledge, LoginStep, LoginStrategy};

/// The AS verifies the credential and makes K_ntmdc. As long as that key lives, the AS is not asked again.
#[derive(Clone, Copy, Debug, Default)]
pub struct ViaAs;

impl LoginStrategy for ViaAs {
    fn name(&self) -> &'static str {
        "via-as"
    }

    fn next(&self, known: LoginKnowledge, _logged_in: bool) -> LoginStep {
        if !known.has_current_key || !known.knows_domain {
            LoginStep::AskAccountServer
        } else if !known.knows_dc {
            LoginStep::FindDirectionCoordinator
        } else {
            LoginStep::Register
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_asks_the_account_server_then_finds_its_coordinator() {
        let mut known = LoginKnowledge::default();
        assert_eq!(ViaAs.next(known, false), LoginStep::AskAccountServer);
        known = LoginKnowledge { has_current_key: true, knows_domain: true, knows_dc: false };
        assert_eq!(ViaAs.next(known, true), LoginStep::FindDirectionCoordinator);
        known.knows_dc = true;
        assert_eq!(ViaAs.next(known, true), LoginStep::Register);
    }

    #[test]
    fn a_restarted_node_with_a_current_key_never_asks_the_account_server() {
        let mut known = LoginKnowledge { has_current_key: true, knows_domain: true, knows_dc: false };
        assert_eq!(ViaAs.next(known, false), LoginStep::FindDirectionCoordinator);
        known.knows_dc = true;
        assert_eq!(ViaAs.next(known, false), LoginStep::Register);
    }

    #[test]
    fn an_expired_key_leads_back_to_the_account_server() {
        let known = LoginKnowledge { has_current_key: false, knows_domain: true, knows_dc: true };
        assert_eq!(ViaAs.next(known, true), LoginStep::AskAccountServer);
    }
}
