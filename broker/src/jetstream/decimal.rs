//! Whole numbers of any size, as counters add them up: signed decimal text in, signed decimal text out.

use std::cmp::Ordering;

/// A sign and digits without leading zeros, least significant first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Number {
    negative: bool,
    digits: Vec<u8>,
}

/// More digits than this are refused: a counter that large is a mistake, and every publish would carry it.
const MOST_DIGITS: usize = 1024;

fn parse(text: &str) -> Option<Number> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || digits.len() > MOST_DIGITS || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut digits: Vec<u8> = digits.iter().rev().map(|digit| digit - b'0').collect();
    trim(&mut digits);
    Some(Number { negative: negative && !digits.is_empty(), digits })
}

fn trim(digits: &mut Vec<u8>) {
    while digits.last() == Some(&0) {
        digits.pop();
    }
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

fn plus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut carry = 0;
    let mut sum: Vec<u8> = (0..a.len().max(b.len()))
        .map(|i| {
            let total = a.get(i).copied().unwrap_or(0) + b.get(i).copied().unwrap_or(0) + carry;
            carry = total / 10;
            total % 10
        })
        .collect();
    if carry > 0 {
        sum.push(carry);
    }
    sum
}

/// `a` must not be smaller than `b`.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut rest: Vec<u8> = a
        .iter()
        .enumerate()
        .map(|(i, digit)| {
            let take = b.get(i).copied().unwrap_or(0) + borrow;
            borrow = u8::from(*digit < take);
            digit + 10 * borrow - take
        })
        .collect();
    trim(&mut rest);
    rest
}

/// Whether a text is a whole number.
pub fn is_number(text: &str) -> bool {
    parse(text).is_some()
}

/// The sum of two whole numbers; none when one is not a number.
pub fn add(a: &str, b: &str) -> Option<String> {
    let (a, b) = (parse(a)?, parse(b)?);
    let sum = if a.negative == b.negative {
        Number { negative: a.negative, digits: plus(&a.digits, &b.digits) }
    } else {
        match compare(&a.digits, &b.digits) {
            Ordering::Less => Number { negative: b.negative, digits: minus(&b.digits, &a.digits) },
            _ => Number { negative: a.negative, digits: minus(&a.digits, &b.digits) },
        }
    };
    if sum.digits.is_empty() {
        return Some("0".into());
    }
    let sign = if sum.negative { "-" } else { "" };
    let digits: String = sum.digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect();
    Some(format!("{sign}{digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn adds_like_wide_integers(a: i64, b: i64) {
            let sum = i128::from(a) + i128::from(b);
            proptest::prop_assert_eq!(add(&a.to_string(), &b.to_string()), Some(sum.to_string()));
        }
    }

    #[test]
    fn odd_texts() {
        assert_eq!(add("+5", "-0005").as_deref(), Some("0"));
        assert_eq!(add("99999999999999999999999999", "1").as_deref(), Some("100000000000000000000000000"));
        for bad in ["", "-", "1.5", "x", " 1"] {
            assert_eq!(add(bad, "1"), None, "{bad}");
            assert!(!is_number(bad));
        }
    }
}
