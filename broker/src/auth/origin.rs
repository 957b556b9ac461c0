//! From where and at what time of day a user may connect.

use std::net::IpAddr;

use natsune_credentials::jwt::TimeRange;

/// Seconds of a day.
const DAY: i64 = 86_400;

/// Whether the address lies in one of the networks; no networks: everywhere.
pub(super) fn allows(networks: &[String], address: Option<IpAddr>) -> bool {
    networks.is_empty()
        || address.is_some_and(|address| networks.iter().any(|network| contains(network, address.to_canonical())))
}

fn contains(network: &str, address: IpAddr) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.trim().parse::<IpAddr>(), bits.trim().parse::<u32>()) else { return false };
    match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            bits <= 32 && (u32::from(base) ^ u32::from(address)).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            bits <= 128 && (u128::from(base) ^ u128::from(address)).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// Until when the user may stay: `None` when not now, `Some(None)` when always. Only UTC is known; other time zones admit nobody.
pub(super) fn until(ranges: &[TimeRange], location: &str, now: i64) -> Option<Option<i64>> {
    if ranges.is_empty() {
        return Some(None);
    }
    if !matches!(location, "" | "UTC" | "Etc/UTC" | "GMT") {
        return None;
    }
    let time = now.rem_euclid(DAY);
    ranges.iter().filter_map(|range| Some((seconds(&range.start)?, seconds(&range.end)?))).find_map(|(start, end)| {
        // A range that ends before it starts goes over midnight.
        let left = if start < end {
            (start <= time && time < end).then_some(end - time)
        } else if time >= start {
            Some(DAY - time + end)
        } else {
            (time < end).then_some(end - time)
        };
        left.map(|left| Some(now + left))
    })
}

fn seconds(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok());
    let mut part = |max| parts.next().flatten().filter(|value| (0..=max).contains(value));
    let (hours, minutes, seconds) = (part(23)?, part(59)?, part(59)?);
    Some(hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let ip = |text: &str| Some(text.parse().unwrap());
        assert!(allows(&[], None));
        assert!(allows(&list(&["10.0.0.0/8"]), ip("10.255.1.2")));
        assert!(!allows(&list(&["10.0.0.0/8"]), ip("11.0.0.1")));
        assert!(allows(&list(&["10.0.0.0/8", "0.0.0.0/0"]), ip("11.0.0.1")));
        assert!(allows(&list(&["1.2.3.4/32"]), ip("1.2.3.4")));
        assert!(!allows(&list(&["1.2.3.4/32"]), ip("1.2.3.5")));
        assert!(allows(&list(&["127.0.0.0/8"]), ip("::ffff:127.0.0.1")), "an IPv4 client on a socket for both");
        assert!(allows(&list(&["2001:db8::/32"]), ip("2001:db8:1::1")));
        assert!(!allows(&list(&["2001:db8::/32"]), ip("2001:db9::1")));
        assert!(!allows(&list(&["0.0.0.0/0"]), ip("::1")));
        assert!(!allows(&list(&["0.0.0.0/0"]), None));
        assert!(!allows(&list(&["nonsense", "1.2.3.4", "1.2.3.4/33"]), ip("1.2.3.4")));
    }

    #[test]
    fn times_of_day() {
        let range = |start: &str, end: &str| [TimeRange { start: start.to_owned(), end: end.to_owned() }];
        let at = |hours: i64| 20_000 * DAY + hours * 3600;
        assert_eq!(until(&[], "Mars", 0), Some(None));
        assert_eq!(until(&range("08:00:00", "12:00:00"), "", at(9)), Some(Some(at(12))));
        assert_eq!(until(&range("08:00:00", "12:00:00"), "UTC", at(12)), None);
        assert_eq!(until(&range("22:00:00", "02:00:00"), "", at(23)), Some(Some(at(26))));
        assert_eq!(until(&range("22:00:00", "02:00:00"), "", at(1)), Some(Some(at(2))));
        assert_eq!(until(&range("22:00:00", "02:00:00"), "", at(3)), None);
        assert_eq!(until(&range("00:00:00", "23:59:59"), "Europe/Paris", at(3)), None);
        assert_eq!(until(&range("x", "12:00:00"), "", at(3)), None);
    }
}
