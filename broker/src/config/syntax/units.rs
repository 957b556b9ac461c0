//! Numbers with units: sizes (`64MB`, `1GiB`) and durations (`2s`, `1h30m`).

use std::time::Duration;

/// A whole number with an optional size suffix; `None` when the text is something else.
/// `k` is 1000; `kb`, `ki` and `kib` are 1024; likewise m, g, t, p, e.
pub(crate) fn parse_size(text: &str) -> Option<Result<i64, &'static str>> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let split = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (number, suffix) = digits.split_at(split);
    if number.is_empty() {
        return None;
    }
    let mut letters = suffix.chars().map(|c| c.to_ascii_lowercase());
    let power = match letters.next() {
        None => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        Some('p') => 5,
        Some('e') => 6,
        Some(_) => return None,
    };
    let base: i64 = match letters.collect::<String>().as_str() {
        "" => 1000,
        "b" | "i" | "ib" => 1024,
        _ => return None,
    };
    let value = number.parse::<i64>().ok().and_then(|n| n.checked_mul(base.checked_pow(power)?));
    Some(value.map(|n| sign * n).ok_or("this number is too large"))
}

/// A duration as Go writes them: numbers with a unit each (`ns`, `us`, `ms`, `s`, `m`, `h`), and `d` for days. Not negative.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: f64 = 0.0;
    while !rest.is_empty() {
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(split);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "d" => 86_400e9,
            _ => return None,
        };
        nanos += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    // As Go: up to about 292 years.
    (nanos.is_finite() && nanos <= i64::MAX as f64).then(|| Duration::from_nanos(nanos as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_thousands_or_in_1024s() {
        for (text, bytes) in [
            ("0", 0),
            ("-1", -1),
            ("4222", 4222),
            ("1k", 1000),
            ("1KB", 1024),
            ("64MiB", 64 << 20),
            ("256M", 256_000_000),
            ("1gb", 1 << 30),
            ("2Ti", 2 << 40),
        ] {
            assert_eq!(parse_size(text), Some(Ok(bytes)), "{text}");
        }
        for text in ["", "-", "abc", "1x", "1kbx", "1.5", "127.0.0.1", "2s", "+1", "1 k"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert!(parse_size("99999999999999999999").unwrap().is_err());
        assert!(parse_size("9500000000G").unwrap().is_err());
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("2s", 2000),
            ("300ms", 300),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("0", 0),
            ("2d", 172_800_000),
            ("1000us", 1),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1", "1x", "-1s", "1s2", "9999999999h", "1..2s", "NaNs"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
