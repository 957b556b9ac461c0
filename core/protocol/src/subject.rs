//! Subject rules, exactly as nats-server has them.
//!
//! A subject is a list of non-empty tokens joined by dots. A token that is exactly `*` stands for any one token, and a last
//! token that is exactly `>` for one or more; inside a longer token both are ordinary characters (`a*` is a literal).

/// Longest name of a stream, consumer or bucket.
const NAME_MAX: usize = 255;

fn tokens(subject: &str) -> impl Iterator<Item = &[u8]> {
    subject.as_bytes().split(|&byte| byte == b'.')
}

/// Blanks and control characters end tokens and lines on the wire.
fn printable(text: &str) -> bool {
    text.bytes().all(|byte| byte > b' ' && byte != 0x7f)
}

/// A subject to publish to: valid and without wildcards.
pub fn is_valid_publish(subject: &str) -> bool {
    printable(subject) && tokens(subject).all(|token| !matches!(token, b"" | b"*" | b">"))
}

/// A subject to subscribe to: valid, wildcards allowed, `>` only as the last token.
pub fn is_valid_filter(subject: &str) -> bool {
    if !printable(subject) {
        return false;
    }
    let mut ended = false;
    for token in tokens(subject) {
        if ended || token.is_empty() {
            return false;
        }
        ended = token == b">";
    }
    true
}

/// True when no token is a wildcard. Says nothing about validity.
pub fn is_literal(subject: &str) -> bool {
    memchr::memchr2(b'*', b'>', subject.as_bytes()).is_none()
        || tokens(subject).all(|token| token != b"*" && token != b">")
}

/// Whether a message published to the literal `subject` reaches a subscription to `filter`.
pub fn matches(filter: &str, subject: &str) -> bool {
    let mut subject = tokens(subject);
    let mut filter = tokens(filter).peekable();
    while let Some(want) = filter.next() {
        let Some(have) = subject.next() else { return false };
        match want {
            b">" if filter.peek().is_none() => return true,
            b"*" => {}
            _ if want == have => {}
            _ => return false,
        }
    }
    subject.next().is_none()
}

/// Whether every subject that `sub` matches is matched by `of`.
pub fn is_subset(sub: &str, of: &str) -> bool {
    let mut sub = tokens(sub).peekable();
    let mut of = tokens(of).peekable();
    loop {
        match (sub.next(), of.next()) {
            (Some(_), Some(b">")) if of.peek().is_none() => return true,
            (Some(b">"), Some(_)) if sub.peek().is_none() => return false,
            (Some(_), Some(b"*")) => {}
            (Some(a), Some(b)) if a == b => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// Whether some subject is matched by both filters.
pub fn overlaps(a: &str, b: &str) -> bool {
    let mut a = tokens(a).peekable();
    let mut b = tokens(b).peekable();
    loop {
        match (a.next(), b.next()) {
            (Some(b">"), Some(_)) if a.peek().is_none() => return true,
            (Some(_), Some(b">")) if b.peek().is_none() => return true,
            (Some(b"*"), Some(_)) | (Some(_), Some(b"*")) => {}
            (Some(x), Some(y)) if x == y => {}
            (None, None) => return true,
            _ => return false,
        }
    }
}

/// A queue group: one word on the control line.
pub fn is_valid_queue(queue: &str) -> bool {
    !queue.is_empty() && printable(queue)
}

/// A name that becomes one token of an API subject: streams, consumers, buckets. Path separators are out as well.
pub fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_MAX
        && printable(name)
        && !name.bytes().any(|byte| matches!(byte, b'.' | b'*' | b'>' | b'/' | b'\\'))
}
