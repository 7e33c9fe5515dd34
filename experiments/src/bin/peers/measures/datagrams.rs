//! The highest rate at which less than 1 % of datagrams are lost, searched by halving.

use crate::asked::Asked;
use crate::failure::Failure;
use crate::load::Flows;
use crate::programs::Programs;
use crate::topology::Topology;
use std::thread::sleep;
use std::time::Duration;

/// More than this share must not be lost.
const MOST_LOST: f64 = 0.01;
/// How often the range of rates is halved; each time by the geometric mean.
const HALVINGS: u32 = 7;
/// How long a rate is tried.
const TRIAL: Duration = Duration::from_millis(250);
/// How long the last datagrams may take.
const DRAIN: Duration = Duration::from_millis(60);
const PORT: u16 = 7_001;

/// One rate that was tried, in datagrams a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trial {
    /// What was sent: a sender that is starved does not reach what it is asked for.
    pub(crate) offered: f64,
    pub(crate) delivered: f64,
}

impl Trial {
    fn is_good(self) -> bool {
        self.delivered >= self.offered * (1.0 - MOST_LOST)
    }
}

/// Searches between `lowest` and `highest` datagrams a second.
pub(crate) fn highest_rate(
    topology: &Topology,
    programs: &Programs,
    flows: Flows,
    (lowest, highest): (f64, f64),
) -> Result<f64, Failure> {
    let mut load = DatagramLoad::start(topology, programs, flows)?;
    // What finds its peer only when there is something to send is given the time.
    load.trial(lowest)?;
    search(lowest, highest, |rate| load.trial(rate))
}

/// The highest delivered rate of those tried that lost little. A rate counts as too high when it fails twice: one stolen
/// moment must not cut off all that is above.
fn search<E>(lowest: f64, highest: f64, mut trial: impl FnMut(f64) -> Result<Trial, E>) -> Result<f64, E> {
    let (mut low, mut high, mut best) = (lowest, highest, 0.0_f64);
    for _ in 0..HALVINGS {
        let rate = (low * high).sqrt();
        let mut tried = trial(rate)?;
        if !tried.is_good() {
            tried = trial(rate)?;
        }
        if tried.is_good() {
            best = best.max(tried.delivered);
            low = rate;
        } else {
            high = rate;
        }
    }
    Ok(best)
}

/// A sender and a receiver.
pub(crate) struct DatagramLoad {
    receiver: Asked,
    sender: Asked,
}

impl DatagramLoad {
    pub(crate) fn start(topology: &Topology, programs: &Programs, flows: Flows) -> Result<Self, Failure> {
        let mut receive = topology.command("far", &programs.own);
        let receiver = Asked::start("load receive", receive.args(["load", "receive", &PORT.to_string()]))?;
        let mut send = topology.command("near", &programs.own);
        send.args(["load", "send", "--flows", &flows.flows.to_string(), "--step", &flows.step.to_string()]);
        send.args(["--from", &flows.from.to_string(), "--to", &format!("{}:{PORT}", flows.to.ip())]);
        let sender = Asked::start("load send", send.args(["--octets", &flows.octets.to_string()]))?;
        Ok(Self { receiver, sender })
    }

    /// Tries one rate.
    pub(crate) fn trial(&mut self, rate: f64) -> Result<Trial, Failure> {
        let before = self.count()?;
        let said = self.sender.ask(&format!("{} {}", rate as u64, TRIAL.as_millis()))?;
        let (sent, microseconds) = said.split_once(' ').unwrap_or_default();
        let (Ok(sent), Ok(microseconds)) = (sent.parse::<f64>(), microseconds.parse::<f64>()) else {
            return Err(Failure::Answer { program: "load send", said });
        };
        sleep(DRAIN);
        let received = self.count()?.saturating_sub(before) as f64;
        let seconds = microseconds / 1e6;
        Ok(Trial { offered: sent / seconds, delivered: received / seconds })
    }

    fn count(&mut self) -> Result<u64, Failure> {
        let said = self.receiver.ask("")?;
        said.parse().map_err(|_| Failure::Answer { program: "load receive", said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What carries `capacity` datagrams a second and loses the rest.
    fn carrier(capacity: f64) -> impl Fn(f64) -> Result<Trial, ()> {
        move |rate| Ok(Trial { offered: rate, delivered: rate.min(capacity) })
    }

    #[test]
    fn the_limit_is_found_within_a_few_percent() {
        for capacity in [1_500.0, 40_000.0, 900_000.0] {
            let found = search(1_000.0, 1_000_000.0, carrier(capacity)).expect("nothing fails");
            assert!((capacity * 0.9..=capacity).contains(&found), "{found} for {capacity}");
        }
        assert_eq!(search(1_000.0, 1_000_000.0, carrier(10.0)), Ok(0.0), "nothing was carried without loss");
    }

    #[test]
    fn a_starved_sender_is_told_apart_from_loss() {
        let starved =
            |rate: f64| -> Result<Trial, ()> { Ok(Trial { offered: rate.min(5e3), delivered: rate.min(5e3) }) };
        assert_eq!(search(1_000.0, 1_000_000.0, starved), Ok(5e3));
    }

    #[test]
    fn one_stolen_moment_is_forgiven() {
        let mut stolen = false;
        let found = search(1_000.0, 1_000_000.0, |rate| {
            let delivered = if std::mem::replace(&mut stolen, true) { rate.min(5e5) } else { 0.0 };
            Ok::<_, ()>(Trial { offered: rate, delivered })
        });
        assert!(found.is_ok_and(|found| found > 4.5e5));
    }
}
