//! Reading a raw header block in place, without allocation.
use super::VERSION;

/// Iterates over the `name: value` lines of a block. Stops at the empty line, or at the first malformed line.
#[derive(Clone, Debug)]
pub struct HeaderLines<'a> {
    rest: &'a [u8],
    complete: bool,
}

impl HeaderLines<'_> {
    /// After the iteration: whether the block ended with its empty line, so that nothing was left out.
    pub fn complete(&self) -> bool {
        self.complete
    }
}

impl<'a> Iterator for HeaderLines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (line, rest) = split_line(self.rest)?;
        self.rest = b"";
        if line.is_empty() {
            self.complete = true;
            return None;
        }
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
        if name.is_empty() || name.iter().any(|&byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        self.rest = rest;
        Some((name, trim_start(value)))
    }
}

/// The `name: value` lines of a raw block; none when it does not begin with `NATS/1.0`.
pub fn header_lines(block: &[u8]) -> HeaderLines<'_> {
    let rest = first_line(block).and_then(|_| split_line(block)).map(|(_, rest)| rest).unwrap_or_default();
    HeaderLines { rest, complete: false }
}

/// The first value of `name` in a raw block; `None` when it is missing or not UTF-8.
pub fn header_get<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    let (_, value) = header_lines(block).find(|(have, _)| *have == name.as_bytes())?;
    std::str::from_utf8(value).ok()
}

/// The status line of a raw block: code and description.
pub fn status_of(block: &[u8]) -> Option<(u16, &str)> {
    let (code, text) = status(first_line(block)?)?;
    Some((code, std::str::from_utf8(text).unwrap_or_default()))
}

/// The first line without its version; `None` when the version is not there.
pub(super) fn first_line(block: &[u8]) -> Option<&[u8]> {
    let (line, _) = split_line(block)?;
    let rest = line.strip_prefix(VERSION)?;
    match rest {
        [] | [b' ' | b'\t', ..] => Some(rest),
        _ => None,
    }
}

/// Three digits, then perhaps a description.
pub(super) fn status(rest: &[u8]) -> Option<(u16, &[u8])> {
    let rest = rest.trim_ascii();
    let (digits, text) = rest.split_at_checked(3)?;
    let mut code = 0u16;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        code = code * 10 + u16::from(digit - b'0');
    }
    match text {
        [] => Some((code, b"")),
        [b' ' | b'\t', ..] => Some((code, text.trim_ascii())),
        _ => None,
    }
}

/// One line without its end, and what follows. A line that does not end is no line.
fn split_line(block: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', block)?;
    let line = block.get(..end)?;
    Some((line.strip_suffix(b"\r").unwrap_or(line), block.get(end + 1..)?))
}

fn trim_start(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}
