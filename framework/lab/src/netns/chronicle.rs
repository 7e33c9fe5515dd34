//! What the processes of a lab have told, put together into the log of the run: as the simulator writes it.

use super::process::LogLine;
use std::fmt::Write as _;

/// The lines of all logs that are about an entity, in the order of their times. The run began at `origin` and ended so
/// many nanoseconds later; `origin` is in nanoseconds since 1970.
pub(super) fn chronicle(logs: &[String], origin: u64, length: u64) -> String {
    let mut told: Vec<(u64, String)> = Vec::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        let Ok(LogLine { timestamp, level, fields }) = serde_json::from_str(line) else { continue };
        let (Some(entity), Some(at)) = (fields.entity, nanoseconds(&timestamp)) else { continue };
        let Some(at) = at.checked_sub(origin).filter(|at| *at <= length) else { continue };
        let mark = if matches!(level.as_str(), "WARN" | "ERROR") { '!' } else { ' ' };
        told.push((at, format!("{mark} {entity:<24} {}", fields.message)));
    }
    told.sort_by_key(|(at, _)| *at);
    let mut text = String::new();
    for (at, line) in told {
        let (seconds, rest) = (at / 1_000_000_000, at % 1_000_000_000);
        writeln!(text, "{seconds:>6}.{rest:09} {line}").expect("a string takes everything");
    }
    text
}

/// A time such as `2026-01-01T00:00:00.000001Z`, in nanoseconds since 1970.
fn nanoseconds(timestamp: &str) -> Option<u64> {
    let (date, time) = timestamp.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut time = time.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if year < 1970 || !(1..=12).contains(&month) || day == 0 || fraction.len() > 9 {
        return None;
    }
    // Years begin in March, so that the day that some have more is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_from_1970() {
        assert_eq!(nanoseconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(nanoseconds("2026-01-01T00:00:00.5Z"), Some(1_767_225_600_500_000_000));
        assert_eq!(nanoseconds("2024-02-29T23:59:59.000001Z"), Some(1_709_251_199_000_001_000));
        assert_eq!(nanoseconds("2026-13-01T00:00:00Z"), None);
        assert_eq!(nanoseconds("yesterday"), None);
    }

    #[test]
    fn what_entities_tell_is_in_order_and_trouble_is_marked() {
        let line = |time: &str, level: &str, rest: &str| {
            format!(r#"{{"timestamp":"1970-01-01T00:00:{time}Z","level":"{level}","fields":{{{rest}}}}}"#)
        };
        let one = [
            line("09.9", "INFO", r#""message":"before","entity":"as.example""#),
            line("12.5", "WARN", r#""message":"was refused","entity":"as.example""#),
            line("13.0", "INFO", r#""message":"ready""#),
        ];
        let other = line("11.0", "INFO", r#""message":"has registered","entity":"dc.u1.example""#);
        let text = chronicle(&[one.join("\n"), format!("{other}\nnot JSON\n")], 10_000_000_000, 60_000_000_000);
        assert_eq!(
            text,
            "     1.000000000   dc.u1.example            has registered\n     2.500000000 ! as.example               was refused\n"
        );
    }
}
