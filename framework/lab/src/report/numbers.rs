//! How numbers are written on the page.

/// A time in milliseconds, with one digit after the point; three below a millisecond.
pub(super) fn milliseconds(nanos: u64) -> String {
    ntmobile_telemetry::sequence::milliseconds(nanos)
}

/// A time in the unit that suits it.
pub(super) fn time(nanos: u64) -> String {
    match nanos {
        0..1_000_000_000 => format!("{} ms", milliseconds(nanos)),
        1_000_000_000..60_000_000_000 => format!("{} s", trimmed(nanos as f64 / 1e9)),
        _ => format!("{} min", trimmed(nanos as f64 / 60e9)),
    }
}

/// At most two digits after the point, none for nothing.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count in groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes in the unit that suits it.
pub(super) fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{} kB", trimmed(number as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", trimmed(number as f64 / 1e6)),
        _ => format!("{} GB", trimmed(number as f64 / 1e9)),
    }
}

/// The speed of a transfer.
pub(super) fn rate(bytes: u64, nanos: u64) -> Option<String> {
    let bits = bytes as f64 * 8.0;
    (nanos > 0).then(|| format!("{} Mbit/s", trimmed(bits / (nanos as f64 / 1e9) / 1e6)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_take_the_unit_that_suits_them() {
        let cases =
            [(41_000_000, "41.0 ms"), (20_000_000_000, "20 s"), (1_250_000_000, "1.25 s"), (90_000_000_000, "1.5 min")];
        for (nanos, written) in cases {
            assert_eq!(time(nanos), written);
        }
    }

    #[test]
    fn counts_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")];
        for (number, written) in cases {
            assert_eq!(count(number), written);
        }
    }

    #[test]
    fn bytes_and_rates() {
        assert_eq!(bytes(20_000_000), "20 MB");
        assert_eq!(rate(1_250_000, 1_000_000_000).as_deref(), Some("10 Mbit/s"));
        assert_eq!(rate(1, 0), None);
    }
}
