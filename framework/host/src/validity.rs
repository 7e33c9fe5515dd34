//! From when until when a certificate is valid, read out of its DER form (RFC 5280 §4.1).
//!
//! TLS checks certificates itself and says no more than "expired". Whoever runs a server wants to know beforehand, and by how
//! much.

use ntmobile_proto::time::UnixTime;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// A certificate whose dates cannot be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it is no X.509 certificate")]
pub struct NoCertificate;

/// From when until when, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub from: UnixTime,
    /// The last second.
    pub until: UnixTime,
}

/// Where a moment is, seen from a validity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it, by this long.
    TooEarly(Duration),
    /// Within it, with this long to go.
    Within(Duration),
    /// After it, by this long.
    TooLate(Duration),
}

impl Validity {
    /// Of the certificate with this DER form.
    pub fn of(certificate: &[u8]) -> Result<Self, NoCertificate> {
        let mut certificate = Der(certificate).contents(SEQUENCE)?;
        let mut body = certificate.contents(SEQUENCE)?;
        // Version, if it is told; serial number; signature algorithm; issuer.
        if body.0.first() == Some(&0xa0) {
            body.contents(0xa0)?;
        }
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            body.contents(tag)?;
        }
        let mut validity = body.contents(SEQUENCE)?;
        Ok(Self { from: validity.time()?, until: validity.time()? })
    }

    /// Where `now` is.
    pub fn at(&self, now: UnixTime) -> Moment {
        if now < self.from {
            Moment::TooEarly(Duration::from_secs(self.from.0 - now.0))
        } else if now > self.until {
            Moment::TooLate(Duration::from_secs(now.0 - self.until.0))
        } else {
            Moment::Within(Duration::from_secs(self.until.0 - now.0))
        }
    }
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What is left to read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, which must have this tag.
    fn contents(&mut self, tag: u8) -> Result<Self, NoCertificate> {
        let (&[found, first], rest) = self.0.split_first_chunk().ok_or(NoCertificate)?;
        if found != tag {
            return Err(NoCertificate);
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => {
                let (&[length], rest) = rest.split_first_chunk().ok_or(NoCertificate)?;
                (usize::from(length), rest)
            }
            0x82 => {
                let (length, rest) = rest.split_first_chunk().ok_or(NoCertificate)?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            // No certificate is longer.
            _ => return Err(NoCertificate),
        };
        let (contents, rest) = rest.split_at_checked(length).ok_or(NoCertificate)?;
        self.0 = rest;
        Ok(Self(contents))
    }

    /// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
    fn time(&mut self) -> Result<UnixTime, NoCertificate> {
        let is_short = self.0.first() == Some(&UTC_TIME);
        let text = self.contents(if is_short { UTC_TIME } else { GENERALIZED_TIME })?.0;
        let digits = text.strip_suffix(b"Z").filter(|digits| digits.iter().all(u8::is_ascii_digit));
        let digits = digits.filter(|digits| digits.len() == if is_short { 12 } else { 14 }).ok_or(NoCertificate)?;
        let number = |digits: &[u8]| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        let (year, rest) = digits.split_at(digits.len() - 10);
        let year = match (is_short, number(year)) {
            (true, year @ 0..50) => 2000 + year,
            (true, year) => 1900 + year,
            (false, year) => year,
        };
        let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&rest[at..at + 2]));
        let seconds = ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
        u64::try_from(seconds).map(UnixTime).map_err(|_| NoCertificate)
    }
}

/// Days from 1970 to this date of the Gregorian calendar. The year is counted from March, so that a leap day is its last.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let days_of_months = (153 * ((month + 9) % 12) + 2) / 5;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + days_of_months + day - 1;
    days - 719_468
}

/// A moment as people write it, in UTC: `2027-11-20 16:57:00 UTC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written(pub UnixTime);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0.0 / 86_400, self.0.0 % 86_400);
        let Ok(mut left) = i64::try_from(days) else { return f.write_str("after all times") };
        // Guess the year from below, then walk: certificates are never far from today.
        let mut year = 1970 + left / 366;
        while days_before(year + 1, 1, 1) <= left {
            year += 1;
        }
        left -= days_before(year, 1, 1);
        let month =
            (1..=12).rev().find(|&month| days_before(year, month, 1) - days_before(year, 1, 1) <= left).unwrap_or(1);
        let day = left - (days_before(year, month, 1) - days_before(year, 1, 1)) + 1;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// How long something is, in one unit that tells enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            // Rounded: what was issued for a year a second ago holds for a year.
            _ => write!(f, "{} days", (seconds + 43_200) / 86_400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntmobile_ports::certificate::NetworkAuthority;

    #[test]
    fn the_dates_are_those_that_the_certificate_was_made_with() {
        // The authority's certificate: from 300 s before, for 20 years.
        for now in [1_000_000_000, 1_795_190_220, 2_524_607_900, 4_102_444_800] {
            let authority = NetworkAuthority::from_seed([1; 32], UnixTime(now)).expect("an authority");
            let validity = Validity::of(authority.certificate()).expect("a certificate");
            assert_eq!(validity.from, UnixTime(now - 300));
            assert_eq!(validity.until, UnixTime(now + 20 * 365 * 86_400));
            assert_eq!(validity.at(UnixTime(now - 360)), Moment::TooEarly(Duration::from_secs(60)));
            assert_eq!(validity.at(UnixTime(now)), Moment::Within(Duration::from_secs(20 * 365 * 86_400)));
            assert_eq!(validity.at(UnixTime(validity.until.0 + 1)), Moment::TooLate(Duration::from_secs(1)));
        }
    }

    #[test]
    fn what_is_no_certificate_has_no_dates() {
        let authority = NetworkAuthority::from_seed([1; 32], UnixTime(1_000_000_000)).expect("an authority");
        let whole: &[u8] = authority.certificate();
        assert_eq!(Validity::of(b""), Err(NoCertificate));
        for length in 0..whole.len() {
            assert_eq!(Validity::of(&whole[..length]), Err(NoCertificate), "cut after {length}");
        }
    }

    #[test]
    fn moments_are_written_as_calendars_do() {
        for (seconds, written) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_196_220, "2026-11-20 17:37:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Written(UnixTime(seconds)).to_string(), written);
        }
        assert_eq!(Span(Duration::from_secs(3 * 86_400)).to_string(), "3 days");
    }
}
