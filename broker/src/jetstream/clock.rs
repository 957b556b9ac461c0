//! Time as the JetStream API writes it: nanoseconds since 1970, RFC 3339 text, Go duration text.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One second in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;
/// One millisecond in nanoseconds.
pub const MILLISECOND: i64 = 1_000_000;

/// The time now, in nanoseconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A point in time; `ZERO` is the year 1, which the API uses for "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// `0001-01-01T00:00:00Z`.
    pub const ZERO: Timestamp = Timestamp(i64::MIN);

    /// The time now.
    pub fn now() -> Timestamp {
        Timestamp(now())
    }

    /// Whether this is the "never" of the API.
    pub fn is_zero(self) -> bool {
        self == Timestamp::ZERO
    }

    /// Reads RFC 3339; times outside of the range of nanoseconds become the nearest end.
    pub fn parse(text: &str) -> Result<Timestamp, String> {
        use time::format_description::well_known::Rfc3339;
        let moment = time::OffsetDateTime::parse(text, &Rfc3339)
            .map_err(|_| format!("parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\""))?;
        let nanos = moment.unix_timestamp_nanos();
        Ok(Timestamp(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })))
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_zero() {
            return f.write_str("0001-01-01T00:00:00Z");
        }
        let (seconds, nanos) = (self.0.div_euclid(SECOND), self.0.rem_euclid(SECOND));
        let (days, clock) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", clock / 3600, clock / 60 % 60, clock % 60)?;
        if nanos > 0 {
            let digits = format!("{nanos:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

/// The calendar day of a number of days since 1970 (proleptic Gregorian, eras of 400 years).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Timestamp::parse(&text).map_err(de::Error::custom)
    }
}

/// Reads the duration text of Go (`1h2m3.5s`, `-1ms`, `0`).
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut rest = rest;
    let mut total = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let scale = match rest.get(..unit)? {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * scale;
        rest = rest.get(unit..)?;
    }
    if !total.is_finite() || total > i64::MAX as f64 {
        return None;
    }
    Some(if negative { -(total as i64) } else { total as i64 })
}

/// Writes a duration as Go does: `2m0s`, `1.5s`, `100ms`.
pub fn format_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".into();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let value = nanos.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let (whole, part) = (value / unit, value % unit);
        let digits = unit.ilog10() as usize;
        let text = format!("{part:0digits$}");
        let text = text.trim_end_matches('0');
        if text.is_empty() { format!("{whole}") } else { format!("{whole}.{text}") }
    };
    if value < 1_000 {
        return format!("{sign}{value}ns");
    }
    if value < 1_000_000 {
        return format!("{sign}{}µs", fraction(value, 1_000));
    }
    if value < 1_000_000_000 {
        return format!("{sign}{}ms", fraction(value, 1_000_000));
    }
    let (minutes, rest) = (value / 60_000_000_000, value % 60_000_000_000);
    let seconds = fraction(rest, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(1_700_000_000_120_000_000).to_string(), "2023-11-14T22:13:20.12Z");
        assert_eq!(Timestamp::ZERO.to_string(), "0001-01-01T00:00:00Z");
        assert_eq!(Timestamp::parse("0001-01-01T00:00:00Z"), Ok(Timestamp::ZERO));
        for nanos in [0, 1, SECOND, 951_782_400 * SECOND, 1_709_164_799_999_999_999, -SECOND] {
            assert_eq!(Timestamp::parse(&Timestamp(nanos).to_string()), Ok(Timestamp(nanos)));
        }
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20+01:00"), Ok(Timestamp(1_700_000_000 * SECOND)));
        assert!(Timestamp::parse("yesterday").is_err());
    }

    #[test]
    fn durations_read_and_write() {
        for (text, nanos) in [
            ("2m0s", 120 * SECOND),
            ("1.5s", 1_500_000_000),
            ("100ms", 100 * MILLISECOND),
            ("1h0m0s", 3600 * SECOND),
            ("1h2m3.5s", 3_723_500_000_000),
            ("250ns", 250),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Some(nanos), "{text}");
            assert_eq!(format_duration(nanos), text);
        }
        assert_eq!(parse_duration("-2s"), Some(-2 * SECOND));
        for bad in ["", "5", "s", "1x", "1.2.3s", "-"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
