//! What a scenario lets happen, as steps in time that a lab can take one by one.

use crate::scenario::Scenario;
use crate::scenario::event::Action;
use ntmobile_proto::time::Instant;
use std::collections::VecDeque;

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A node loses its networks.
    Leave(String),
    /// A node arrives in a network: node and network.
    Arrive(String, String),
    /// A server's power goes out.
    Fail(String),
    /// It starts again.
    Restart(String),
    /// A network's link goes down or comes up.
    Link(String, bool),
}

/// All steps in the order of their times; those of the same time in the scenario's order.
pub(super) fn agenda(scenario: &Scenario) -> VecDeque<(Instant, Step)> {
    let mut steps = Vec::new();
    for event in &scenario.event {
        let at = Instant(event.at.as_nanos());
        match &event.action {
            Action::Move(action) => {
                steps.push((at, Step::Leave(action.node.clone())));
                let arrival = at + action.offline.duration();
                steps.push((arrival, Step::Arrive(action.node.clone(), action.to.clone())));
            }
            Action::Fail(name) => steps.push((at, Step::Fail(name.server.clone()))),
            Action::Restart(name) => steps.push((at, Step::Restart(name.server.clone()))),
            Action::LinkDown(name) => steps.push((at, Step::Link(name.network.clone(), false))),
            Action::LinkUp(name) => steps.push((at, Step::Link(name.network.clone(), true))),
            // A plan is not made for a scenario with these.
            Action::DiskFull(_) | Action::DiskFree(_) => {}
        }
    }
    steps.sort_by_key(|(at, _)| *at);
    steps.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::units::secs;

    #[test]
    fn a_move_is_two_steps_and_others_come_between() {
        let mut scenario = Scenario::builder()
            .domain("u1.example", |domain| domain)
            .network("wifi", |network| network)
            .network("lte", |network| network)
            .node("alice", |node| node.domain("u1.example").network("wifi"))
            .moves(secs(5), "alice", "lte")
            .link_down(secs(6), "wifi")
            .fails(secs(5), "as")
            .duration(secs(20))
            .build()
            .expect("a sound scenario");
        if let Action::Move(action) = &mut scenario.event[0].action {
            action.offline = secs(2);
        }
        let steps: Vec<(u64, Step)> =
            agenda(&scenario).into_iter().map(|(at, step)| (at.0 / 1_000_000_000, step)).collect();
        assert_eq!(
            steps,
            [
                (5, Step::Leave("alice".into())),
                (5, Step::Fail("as".into())),
                (6, Step::Link("wifi".into(), false)),
                (7, Step::Arrive("alice".into(), "lte".into())),
            ]
        );
    }
}
