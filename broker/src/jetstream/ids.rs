//! Names nobody else has: of ephemeral consumers, pins and advisories.

/// 22 letters and digits, random.
pub fn unique() -> String {
    name(22)
}

/// The name of a consumer whose creator gave none.
pub fn consumer() -> String {
    name(8)
}

/// Letters and digits, random.
fn name(len: usize) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..len)
        .map(|_| char::from(DIGITS.get(rand::random::<u8>() as usize % DIGITS.len()).copied().unwrap_or(b'0')))
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_differ() {
        assert_ne!(super::unique(), super::unique());
        assert_eq!(super::consumer().len(), 8);
    }
}
