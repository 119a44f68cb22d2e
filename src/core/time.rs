//! Points and spans of time as plain integers, so that the core never reads a clock.
//! Resolution is one second, as in X.509 and JWT.

/// A point in time: whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A span of time in whole seconds, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seconds(u32);

impl Timestamp {
    /// Makes a point of seconds since 1970-01-01T00:00:00Z.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970-01-01T00:00:00Z; negative before.
    pub const fn as_unix(self) -> i64 {
        self.0
    }

    #[must_use]
    /// The point `span` later; saturates at the largest point, so that a sum never wraps into the past.
    pub fn plus(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(i64::from(span.0)))
    }

    #[must_use]
    /// The point `span` earlier; saturates at the smallest point.
    pub fn minus(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(i64::from(span.0)))
    }

    /// Seconds from `earlier` to `self`; negative when `self` is the earlier one.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Seconds {
    /// Makes a span of `seconds`.
    pub const fn new(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The length in seconds.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// True for the empty span. A limit of zero means "no limit" only where its documentation says so.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// Length of time in seconds, displayed in hours, minutes and seconds as flags and policy files take it: `72h`, `1h 30m`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InUnits(pub(crate) i64);

impl InUnits {
    pub(crate) fn of(span: Seconds) -> Self {
        Self(i64::from(span.0))
    }
}

impl std::fmt::Display for InUnits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let units = [
            (self.0.div_euclid(3600), "h"),
            (self.0.rem_euclid(3600).div_euclid(60), "m"),
            (self.0.rem_euclid(60), "s"),
        ];
        let mut separator = "";
        for (count, unit) in units.into_iter().filter(|(count, _)| *count != 0) {
            write!(f, "{separator}{count}{unit}")?;
            separator = " ";
        }
        if self.0 == 0 { f.write_str("0s") } else { Ok(()) }
    }
}

/// Writes RFC 3339 in UTC, for example `2026-11-21T10:00:00Z`.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (year, month, day) = civil_from_days(self.0.div_euclid(86_400));
        let second = self.0.rem_euclid(86_400);
        let (hour, minute) = (second.div_euclid(3600), second.rem_euclid(3600).div_euclid(60));
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}Z", second.rem_euclid(60))
    }
}

/// Proleptic Gregorian date of a day number; Howard Hinnant's `civil_from_days` in saturating arithmetic.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let leap_days = day_of_era
        .div_euclid(1460)
        .saturating_sub(day_of_era.div_euclid(36_524))
        .saturating_add(day_of_era.div_euclid(146_096));
    let year_of_era = day_of_era.saturating_sub(leap_days).div_euclid(365);
    let whole_years = year_of_era
        .saturating_mul(365)
        .saturating_add(year_of_era.div_euclid(4))
        .saturating_sub(year_of_era.div_euclid(100));
    let day_of_year = day_of_era.saturating_sub(whole_years);
    let month_index = day_of_year.saturating_mul(5).saturating_add(2).div_euclid(153);
    let month_start = month_index.saturating_mul(153).saturating_add(2).div_euclid(5);
    let day = day_of_year.saturating_sub(month_start).saturating_add(1);
    let month = if month_index < 10 { month_index.saturating_add(3) } else { month_index.saturating_sub(9) };
    let year = year_of_era.saturating_add(era.saturating_mul(400));
    (if month <= 2 { year.saturating_add(1) } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_known_dates_in_rfc_3339() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_000_000, "2026-11-18T11:06:40Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(Timestamp::from_unix(unix).to_string(), text);
        }
    }

    #[test]
    fn lengths_are_displayed_in_the_units_that_flags_take() {
        for (seconds, text) in
            [(0, "0s"), (45, "45s"), (120, "2m"), (5400, "1h 30m"), (259_200, "72h"), (259_201, "72h 1s")]
        {
            assert_eq!(InUnits(seconds).to_string(), text);
        }
    }

    #[test]
    fn spans_saturate_instead_of_wrapping() {
        assert_eq!(Timestamp::from_unix(i64::MAX).plus(Seconds::new(9)).as_unix(), i64::MAX);
        assert_eq!(Timestamp::from_unix(i64::MIN).minus(Seconds::new(9)).as_unix(), i64::MIN);
    }
}
