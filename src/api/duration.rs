//! Durations in the syntax of Go's `time.ParseDuration`, as in manifests and flags of this API.
//! All arithmetic is checked and in whole nanoseconds: anybody who may write a manifest chooses the text.

use std::time::Duration;

/// Longest text that is parsed, in bytes; Go itself prints at most 25.
const LONGEST: usize = 64;

/// Parses a duration such as `30s`, `1h30m` or `1.5s`, with nanosecond resolution.
///
/// The error completes a sentence that begins with the name of the field or flag.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const SYNTAX: &str = "is not a duration such as 30s, 5m or 1h30m";
    if text.len() > LONGEST {
        return Err(SYNTAX);
    }
    if text.starts_with('-') {
        return Err("is negative; give a duration such as 30s");
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err(SYNTAX);
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(SYNTAX);
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end).ok_or(SYNTAX)?;
        let unit = unit_nanos(unit).ok_or(SYNTAX)?;
        let part = scaled(whole, fraction, unit).ok_or("is too long; the limit is about 292 years")?;
        nanos = nanos.checked_add(part).ok_or(SYNTAX)?;
        rest = after;
    }
    // Go's `time.Duration` is a signed 64-bit number of nanoseconds.
    let nanos = i64::try_from(nanos).map_err(|_| "is too long; the limit is about 292 years")?;
    Ok(Duration::from_nanos(nanos.unsigned_abs()))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

const fn unit_nanos(unit: &str) -> Option<u128> {
    Some(match unit.as_bytes() {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `whole.fraction` times `unit`, rounded down; `None` on overflow.
fn scaled(whole: &str, fraction: &str, unit: u128) -> Option<u128> {
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
    let mut total = number(whole)?.checked_mul(unit)?;
    let mut digit_nanos = unit;
    for digit in fraction.bytes() {
        digit_nanos = digit_nanos.checked_div(10)?;
        total = total.checked_add(digit_nanos.checked_mul(u128::from(digit.checked_sub(b'0')?))?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("30s", 30_000_000_000),
            ("5m", 300_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("+1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("1.s", 1_000_000_000),
            ("2us3ns", 2_003),
            ("1\u{b5}s", 1_000),
            ("1.0000000004s", 1_000_000_000),
            ("9223372036854775807ns", 9_223_372_036_854_775_807),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_a_panic() {
        for text in [
            "",
            "+",
            "5",
            "s",
            ".s",
            "1d",
            "1h 30m",
            "-1s",
            "1s-",
            "1e9s",
            "infs",
            "9223372036854775808ns",
            "99999999999999999999999999h",
            "\u{661}s",
            &"1s".repeat(40),
            &"9".repeat(60),
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
