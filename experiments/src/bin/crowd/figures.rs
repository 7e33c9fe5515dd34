//! What a crowd's run comes to, and how it is shown.

use crate::population::Crowd;
use ntmobile_lab::record::{Conversation, Path};
use ntmobile_lab::scenario::Scenario;
use ntmobile_lab::world::Lived;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// So many failures are told in full.
const SHOWN: usize = 10;

/// The figures of one run.
pub(crate) struct Figures<'r> {
    /// Which crowd.
    pub(crate) crowd: Crowd,
    /// The crowd as a scenario.
    pub(crate) scenario: &'r Scenario,
    /// What became of it.
    pub(crate) lived: &'r Lived,
    /// How long it took to put the world together.
    pub(crate) building: Duration,
    /// How long it took to live through it.
    pub(crate) living: Duration,
}

impl Figures<'_> {
    /// What did not work: conversations that failed, or whose datagrams did not all come back.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Conversation> {
        self.lived.conversations.iter().filter(|row| row.failure.is_some() || row.path.is_none() || row.lost() > 0)
    }

    /// Whether nothing at all went wrong.
    pub(crate) fn is_good(&self) -> bool {
        self.lived.failure.is_none() && self.failures().next().is_none()
    }

    /// Each pair that has a tunnel, and whether it goes through an RS.
    fn tunnels(&self) -> BTreeMap<(&str, &str), bool> {
        let rows = self.lived.conversations.iter();
        rows.filter_map(|row| {
            let (one, other) = (row.from.as_str(), row.to.as_str());
            let is_relayed = matches!(row.path.as_ref()?, Path::Relayed(_));
            Some(((one.min(other), one.max(other)), is_relayed))
        })
        .collect()
    }

    fn set_ups(&self) -> Vec<Duration> {
        let mut all: Vec<_> = self.lived.conversations.iter().filter_map(|row| row.set_up).collect();
        all.sort_unstable();
        all
    }
}

impl fmt::Display for Figures<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { crowd, scenario, lived, .. } = self;
        let wall = self.building + self.living;
        let relays: u32 = scenario.domain.values().map(|domain| u32::from(domain.relays)).sum();
        writeln!(
            f,
            "crowd          {} nodes in {} networks · 1 AS · {} DC · {relays} RS   seed {}",
            grouped(u64::from(crowd.nodes)),
            scenario.network.len(),
            scenario.domain.len(),
            crowd.seed
        )?;
        let simulated = lived.end.0 as f64 / 1e9;
        writeln!(
            f,
            "wall time      {:.1} s for {simulated:.0} s simulated ({:.1} s to build, {:.1} s to live)",
            wall.as_secs_f64(),
            self.building.as_secs_f64(),
            self.living.as_secs_f64()
        )?;
        let rate = |count: u64| grouped((count as f64 / self.living.as_secs_f64().max(1e-9)) as u64);
        writeln!(f, "events         {}   {}/s", grouped(lived.events), rate(lived.events))?;
        let sent = lived.packets.originated;
        let dropped = lived.packets.all_dropped();
        writeln!(f, "packets        {}   {}/s   {} dropped", grouped(sent), rate(sent), grouped(dropped))?;
        for (reason, count) in lived.packets.drops() {
            writeln!(f, "               {reason:?} {}", grouped(count))?;
        }
        match peak_memory() {
            Some(bytes) => writeln!(f, "peak memory    {} MiB", grouped(bytes >> 20))?,
            None => writeln!(f, "peak memory    unknown: there is no /proc/self/status here")?,
        }
        let tunnels = self.tunnels();
        let relayed = tunnels.values().filter(|is_relayed| **is_relayed).count();
        writeln!(
            f,
            "tunnels        {} direct · {} relayed",
            grouped((tunnels.len() - relayed) as u64),
            grouped(relayed as u64)
        )?;
        let set_ups = self.set_ups();
        let share = |percent: usize| set_ups.get((set_ups.len() * percent / 100).min(set_ups.len().saturating_sub(1)));
        if let (Some(middle), Some(late), Some(last)) = (share(50), share(95), set_ups.last()) {
            let [middle, late, last] = [middle, late, last].map(|time| time.as_secs_f64() * 1e3);
            writeln!(f, "set-up         {middle:.1} ms median · {late:.1} ms 95th percentile · {last:.1} ms at most")?;
        }
        let sent: u64 = lived.conversations.iter().map(|row| row.sent).sum();
        let received: u64 = lived.conversations.iter().map(|row| row.received).sum();
        writeln!(f, "echoes         {} of {}", grouped(received), grouped(sent))?;
        writeln!(
            f,
            "failures       {} of {} conversations",
            self.failures().count(),
            grouped(lived.conversations.len() as u64)
        )?;
        for row in self.failures().take(SHOWN) {
            let why = row.failure.clone().unwrap_or_else(|| format!("{} of {} lost", row.lost(), row.sent));
            let network = |name: &str| scenario.node.get(name).map_or("", |node| node.network.as_str());
            let start = row.start.0 as f64 / 1e9;
            let (from, to) = (&row.from, &row.to);
            writeln!(f, "               {start:.1} s {from} ({}) → {to} ({}): {why}", network(from), network(to))?;
        }
        if let Some(failure) = &lived.failure {
            writeln!(f, "               {failure:?}")?;
        }
        Ok(())
    }
}

/// The most memory that this process ever held, in bytes.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// With a comma between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
