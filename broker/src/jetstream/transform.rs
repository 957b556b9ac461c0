//! Subject transforms: a pattern, and how a subject that matches it is rewritten (ADR-30).

use natsune_protocol::subject;

/// A checked transform.
#[derive(Debug, Clone)]
pub struct Transform {
    source: String,
    pieces: Vec<Piece>,
    /// How many source tokens come before the tail that `>` stands for; `None` without `>`.
    tail: Option<usize>,
    identity: bool,
}

/// One token of the destination.
#[derive(Debug, Clone)]
enum Piece {
    Literal(String),
    /// A source token, cut in some way.
    Token(usize, Cut),
    /// A number from the hash of some source tokens, of all when none are named.
    Partition(u32, Vec<usize>),
    Random(u32),
}

#[derive(Debug, Clone)]
enum Cut {
    Whole,
    SplitFromLeft(usize),
    SplitFromRight(usize),
    SliceFromLeft(usize),
    SliceFromRight(usize),
    Split(String),
    Left(usize),
    Right(usize),
}

impl Transform {
    /// A transform, `None` when one of the patterns is not valid or they do not fit.
    pub fn new(source: &str, destination: &str) -> Option<Transform> {
        let source = if source.is_empty() { ">" } else { source };
        if !subject::is_valid_filter(source) || destination.is_empty() {
            return None;
        }
        let wildcards: Vec<usize> =
            source.split('.').enumerate().filter(|(_, token)| *token == "*").map(|(at, _)| at).collect();
        let source_tail = source.split('.').next_back() == Some(">");
        let mut pieces = Vec::new();
        let mut ended = false;
        for token in destination.split('.') {
            if ended || token.is_empty() || token == "*" {
                return None;
            }
            if token == ">" {
                ended = true;
            } else {
                pieces.push(piece(token, &wildcards)?);
            }
        }
        if ended != source_tail {
            return None;
        }
        let tail = source_tail.then(|| source.split('.').count() - 1);
        let identity = source == ">" && destination == ">";
        Some(Transform { source: source.to_owned(), pieces, tail, identity })
    }

    /// The rewritten subject; `None` when it does not match.
    pub fn apply(&self, subject: &str) -> Option<String> {
        if self.identity {
            return Some(subject.to_owned());
        }
        if !subject::matches(&self.source, subject) {
            return None;
        }
        let tokens: Vec<&str> = subject.split('.').collect();
        let mut out = String::with_capacity(subject.len() + 16);
        for piece in &self.pieces {
            if !out.is_empty() {
                out.push('.');
            }
            piece.write(&tokens, subject, &mut out);
        }
        for token in self.tail.and_then(|from| tokens.get(from..)).unwrap_or_default() {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(token);
        }
        Some(out)
    }
}

impl Piece {
    fn write(&self, tokens: &[&str], subject: &str, out: &mut String) {
        match self {
            Piece::Literal(text) => out.push_str(text),
            Piece::Token(at, cut) => cut.write(tokens.get(*at).copied().unwrap_or_default(), out),
            Piece::Random(max) => out.push_str(&(rand::random::<u32>() % (*max).max(1)).to_string()),
            Piece::Partition(buckets, from) => {
                let mut hash = Fnv::default();
                if from.is_empty() {
                    hash.write(subject.as_bytes());
                }
                for at in from {
                    hash.write(tokens.get(*at).copied().unwrap_or_default().as_bytes());
                }
                out.push_str(&(hash.0 % (*buckets).max(1)).to_string());
            }
        }
    }
}

impl Cut {
    fn write(&self, token: &str, out: &mut String) {
        let splits = |at: usize| at > 0 && at < token.len() && token.is_char_boundary(at);
        match self {
            Cut::Whole => out.push_str(token),
            Cut::SplitFromLeft(at) if splits(*at) => join(&[&token[..*at], &token[*at..]], out),
            Cut::SplitFromRight(at) if *at < token.len() && splits(token.len() - at) => {
                let at = token.len() - at;
                join(&[&token[..at], &token[at..]], out);
            }
            Cut::Left(len) if splits(*len) => out.push_str(&token[..*len]),
            Cut::Right(len) if *len < token.len() && splits(token.len() - len) => {
                out.push_str(&token[token.len() - len..]);
            }
            Cut::SliceFromLeft(size) if *size > 0 && *size < token.len() && token.is_ascii() => {
                let slices: Vec<&str> =
                    (0..token.len()).step_by(*size).map(|at| &token[at..(at + size).min(token.len())]).collect();
                join(&slices, out);
            }
            Cut::SliceFromRight(size) if *size > 0 && *size < token.len() && token.is_ascii() => {
                let odd = token.len() % size;
                let mut slices = Vec::new();
                if odd > 0 {
                    slices.push(&token[..odd]);
                }
                slices.extend((odd..token.len()).step_by(*size).map(|at| &token[at..at + size]));
                join(&slices, out);
            }
            Cut::Split(delimiter) => {
                let parts: Vec<&str> = token.split(delimiter.as_str()).filter(|part| !part.is_empty()).collect();
                join(&parts, out);
            }
            // Too short to cut: it stays whole.
            _ => out.push_str(token),
        }
    }
}

fn join(parts: &[&str], out: &mut String) {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push('.');
        }
        out.push_str(part);
    }
}

/// Reads one destination token: `$1`, `{{function(arguments)}}` or plain text.
fn piece(token: &str, wildcards: &[usize]) -> Option<Piece> {
    let wildcard = |number: &str| -> Option<usize> {
        let number: usize = number.trim().parse().ok()?;
        wildcards.get(number.checked_sub(1)?).copied()
    };
    if let Some(number) = token.strip_prefix('$') {
        return match number.parse::<usize>() {
            Ok(_) => Some(Piece::Token(wildcard(number)?, Cut::Whole)),
            Err(_) => Some(Piece::Literal(token.to_owned())),
        };
    }
    let Some(call) = token.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) else {
        return Some(Piece::Literal(token.to_owned()));
    };
    let (name, arguments) = call.trim().strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    let name = name.trim().to_ascii_lowercase();
    match (name.as_str(), arguments.as_slice()) {
        ("wildcard", [number]) => Some(Piece::Token(wildcard(number)?, Cut::Whole)),
        ("partition", [buckets, from @ ..]) => {
            let from: Option<Vec<usize>> = from.iter().map(|number| wildcard(number)).collect();
            Some(Piece::Partition(buckets.parse().ok()?, from?))
        }
        ("random", [max]) => Some(Piece::Random(max.parse().ok()?)),
        ("split", [number, delimiter]) if !delimiter.is_empty() && !delimiter.contains([' ', '.']) => {
            Some(Piece::Token(wildcard(number)?, Cut::Split((*delimiter).to_owned())))
        }
        (name, [number, size]) => {
            let size: usize = size.parse().ok()?;
            let cut = match name {
                "splitfromleft" => Cut::SplitFromLeft(size),
                "splitfromright" => Cut::SplitFromRight(size),
                "slicefromleft" => Cut::SliceFromLeft(size),
                "slicefromright" => Cut::SliceFromRight(size),
                "left" => Cut::Left(size),
                "right" => Cut::Right(size),
                _ => return None,
            };
            Some(Piece::Token(wildcard(number)?, cut))
        }
        _ => None,
    }
}

/// The 32-bit FNV-1a hash: the documented way to partitions.
struct Fnv(u32);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0x811c_9dc5)
    }
}

impl Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_rewritten() {
        for (source, destination, subject, expected) in [
            ("foo.*.*", "bar.$2.$1", "foo.a.b", "bar.b.a"),
            ("foo.>", "bar.>", "foo.a.b", "bar.a.b"),
            (">", "x.>", "foo.a", "x.foo.a"),
            ("foo.*", "bar.{{wildcard(1)}}", "foo.a", "bar.a"),
            ("*", "{{splitfromleft(1,3)}}", "12345", "123.45"),
            ("*", "{{SplitFromRight(1,3)}}", "12345", "12.345"),
            ("*", "{{SliceFromLeft(1,3)}}", "1234567890", "123.456.789.0"),
            ("*", "{{SliceFromRight(1,3)}}", "1234567890", "1.234.567.890"),
            ("*", "{{split(1,-)}}", "-abc-def--ghi-", "abc.def.ghi"),
            ("*", "{{left(1,2)}}.{{right(1,1)}}", "abc", "ab.c"),
            ("foo.*.*", "bar.{{partition(10,1,2)}}", "foo.a.b", "bar.6"),
            ("a", "b", "a", "b"),
        ] {
            let transform = Transform::new(source, destination).expect(destination);
            assert_eq!(transform.apply(subject).as_deref(), Some(expected), "{source} {destination}");
        }
        assert_eq!(Transform::new("foo.*", "bar.$1").and_then(|t| t.apply("x.y")), None);
    }

    #[test]
    fn patterns_that_do_not_fit_are_refused() {
        for (source, destination) in
            [("a.>", "b"), ("a", "b.>"), ("a.*", "b.$2"), ("a", "b.*"), ("a..b", "c"), ("a.*", "{{nope(1)}}")]
        {
            assert!(Transform::new(source, destination).is_none(), "{source} {destination}");
        }
    }
}
