//! Quantities as people write them: `"60 s"`, `"100 Mbit/s"`, `"10 MB"`, `"0.1 %"`.
//!
//! A bare number is never accepted where a unit belongs: `loss = 0.1` could be a tenth or a tenth of a percent.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not {wanted}")]
pub struct QuantityError {
    text: String,
    wanted: &'static str,
}

/// Splits `"10 MB"` into 10 and `MB`; the space between is optional, underscores group digits.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let number: f64 = text[..end].replace('_', "").parse().ok()?;
    number.is_finite().then(|| (number, text[end..].trim()))
}

/// Writes `value` in the largest unit in which it is whole.
fn in_largest_unit(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)]) -> fmt::Result {
    let (name, size) =
        units.iter().rev().find(|(_, size)| value != 0 && value.is_multiple_of(*size)).unwrap_or(&units[0]);
    write!(f, "{} {name}", value / size)
}

/// Finds the unit and scales the number by it.
fn scaled(text: &str, units: &[(&'static str, u64)], others: &[(&'static str, u64)]) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, size) = units.iter().chain(others).find(|(name, _)| *name == unit)?;
    let value = (number * *size as f64).round();
    (value < u64::MAX as f64).then_some(value as u64)
}

macro_rules! text_serde {
    ($type:ident, $wanted:expr) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($wanted)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

const TIME: &str = "a time such as \"60 s\", \"8 ms\" or \"1 h\"";
const TIME_UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A length of time, to the nanosecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u64);

impl TimeSpan {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many nanoseconds.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// In nanoseconds.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }
}

impl From<Duration> for TimeSpan {
    /// The longest that can be told, if it would be longer.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// So many milliseconds.
pub const fn ms(n: u64) -> TimeSpan {
    TimeSpan(n * 1_000_000)
}

/// So many seconds.
pub const fn secs(n: u64) -> TimeSpan {
    TimeSpan(n * 1_000_000_000)
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0 s");
        }
        // Minutes and hours only from two of them on: "60 s" and "90 s" read better than "1 min".
        let units = if self.0 < 2 * 60_000_000_000 { &TIME_UNITS[..4] } else { &TIME_UNITS[..] };
        in_largest_unit(f, self.0, units)
    }
}

impl FromStr for TimeSpan {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text, &TIME_UNITS, &[("µs", 1_000), ("d", 86_400_000_000_000)])
            .map(Self)
            .ok_or_else(|| QuantityError { text: text.into(), wanted: TIME })
    }
}

text_serde!(TimeSpan, TIME);

const RATE: &str = "a rate such as \"100 Mbit/s\" or \"64 kbit/s\"";
const RATE_UNITS: [(&str, u64); 4] =
    [("bit/s", 1), ("kbit/s", 1_000), ("Mbit/s", 1_000_000), ("Gbit/s", 1_000_000_000)];

/// A data rate in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// So many megabits per second.
pub const fn mbit_per_s(n: u64) -> Rate {
    Rate(n * 1_000_000)
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(f, self.0, &RATE_UNITS)
    }
}

impl FromStr for Rate {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text, &RATE_UNITS, &[])
            .filter(|rate| *rate > 0)
            .map(Self)
            .ok_or_else(|| QuantityError { text: text.into(), wanted: RATE })
    }
}

text_serde!(Rate, RATE);

const SIZE: &str = "a size such as \"10 MB\", \"64 KiB\" or \"200 B\"";
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// So many megabytes.
pub const fn megabytes(n: u64) -> Size {
    Size(n * 1_000_000)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        in_largest_unit(f, self.0, &SIZE_UNITS)
    }
}

impl FromStr for Size {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        scaled(text, &SIZE_UNITS, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)])
            .map(Self)
            .ok_or_else(|| QuantityError { text: text.into(), wanted: SIZE })
    }
}

text_serde!(Size, SIZE);

const PERCENT: &str = "a percentage from \"0 %\" to \"100 %\"";

/// A probability, written as a percentage and held in millionths so that it compares and hashes exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percent(u32);

impl Percent {
    /// Never.
    pub const ZERO: Self = Self(0);

    /// So many percent; more than 100 is always.
    pub const fn new(percent: u32) -> Self {
        Self(if percent > 100 { 1_000_000 } else { percent * 10_000 })
    }

    /// From 0 to 1.
    pub fn probability(self) -> f64 {
        f64::from(self.0) / 1e6
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", f64::from(self.0) / 1e4)
    }
}

impl FromStr for Percent {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        split(text)
            .filter(|(number, unit)| *unit == "%" && *number <= 100.0)
            .map(|(number, _)| Self((number * 1e4).round() as u32))
            .ok_or_else(|| QuantityError { text: text.into(), wanted: PERCENT })
    }
}

text_serde!(Percent, PERCENT);

/// Parses `address/length`.
pub fn parse_prefix<A: FromStr>(text: &str) -> Option<(A, u8)> {
    let (address, length) = text.split_once('/')?;
    Some((address.parse().ok()?, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        assert_eq!("60 s".parse(), Ok(secs(60)));
        assert_eq!("8ms".parse(), Ok(ms(8)));
        assert_eq!("1.5 h".parse(), Ok(secs(5_400)));
        assert_eq!("30 d".parse(), Ok(secs(30 * 86_400)));
        assert_eq!("100 Mbit/s".parse(), Ok(mbit_per_s(100)));
        assert_eq!("64 KiB".parse(), Ok(Size(65_536)));
        assert_eq!("0.1 %".parse(), Ok(Percent(1_000)));
    }

    #[test]
    fn what_has_no_unit_or_a_wrong_one_is_refused_with_an_example() {
        let error = "60".parse::<TimeSpan>().expect_err("a number without unit");
        assert_eq!(error.to_string(), "\"60\" is not a time such as \"60 s\", \"8 ms\" or \"1 h\"");
        assert!("".parse::<TimeSpan>().is_err());
        assert!("-1 s".parse::<TimeSpan>().is_err());
        assert!("1 fortnight".parse::<TimeSpan>().is_err());
        assert!("1e300 h".parse::<TimeSpan>().is_err());
        assert!("0 bit/s".parse::<Rate>().is_err());
        assert!("101 %".parse::<Percent>().is_err());
        assert!("0.1".parse::<Percent>().is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        for nanos in [0, 1, 1_500, 8_000_000, 59_999_999_999, 60_000_000_000, 120_000_000_000, 7_200_000_000_000] {
            let span = TimeSpan::from_nanos(nanos);
            assert_eq!(span.to_string().parse(), Ok(span), "{span}");
        }
        assert_eq!(secs(60).to_string(), "60 s");
        assert_eq!(secs(3_600).to_string(), "1 h");
        assert_eq!(mbit_per_s(100).to_string(), "100 Mbit/s");
        assert_eq!(Size(1_500).to_string(), "1500 B");
        assert_eq!("0.25 %".parse::<Percent>().map(|p| p.to_string()), Ok("0.25 %".into()));
    }
}
