//! A sequence diagram that comes from outside: its indices and times are checked before anything draws it.

use super::{Arrow, Link, Sequence, Step};
use serde::Deserialize;

/// Why a diagram that was read makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// A lane or an arrow is named that is not there.
    #[error("the diagram refers to a lane or an arrow that is not in it")]
    Dangling,
    /// Something ends before it begins.
    #[error("something in the diagram ends before it begins")]
    Backwards,
}

/// The same as [`Sequence`], as it was read.
#[derive(Deserialize)]
pub(super) struct Unchecked {
    name: String,
    lanes: Vec<String>,
    arrows: Vec<Arrow>,
    steps: Vec<Step>,
    critical_path: Vec<Link>,
}

impl TryFrom<Unchecked> for Sequence {
    type Error = SequenceError;

    fn try_from(unchecked: Unchecked) -> Result<Self, Self::Error> {
        let Unchecked { name, lanes, arrows, steps, critical_path } = unchecked;
        let is_lane = |lane: usize| lane < lanes.len();
        let arrows_fit = arrows.iter().all(|arrow| is_lane(arrow.from) && arrow.to.is_none_or(is_lane));
        let steps_fit = steps.iter().all(|step| is_lane(step.lane));
        let path_fits = critical_path.iter().all(|link| match link {
            Link::Message { arrow, .. } => *arrow < arrows.len(),
            Link::Wait { lane, .. } => is_lane(*lane),
        });
        if !(arrows_fit && steps_fit && path_fits) {
            return Err(SequenceError::Dangling);
        }
        let forwards = arrows.iter().all(|arrow| arrow.received.is_none_or(|received| arrow.sent <= received))
            && steps.iter().all(|step| step.start <= step.end)
            && critical_path.iter().all(|link| {
                let (Link::Message { from, to, .. } | Link::Wait { from, to, .. }) = link;
                from <= to
            });
        if forwards { Ok(Self { name, lanes, arrows, steps, critical_path }) } else { Err(SequenceError::Backwards) }
    }
}
