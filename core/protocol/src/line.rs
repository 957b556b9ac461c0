//! The parts of a control line: verbs, tokens, numbers.
use crate::error::ParseError;

/// The verbs of both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Info,
    Connect,
    Ping,
    Pong,
    Ok,
    Err,
    Pub,
    Hpub,
    Sub,
    Unsub,
    Msg,
    Hmsg,
}

impl Verb {
    fn text(self) -> &'static [u8] {
        match self {
            Verb::Info => b"INFO",
            Verb::Connect => b"CONNECT",
            Verb::Ping => b"PING",
            Verb::Pong => b"PONG",
            Verb::Ok => b"+OK",
            Verb::Err => b"-ERR",
            Verb::Pub => b"PUB",
            Verb::Hpub => b"HPUB",
            Verb::Sub => b"SUB",
            Verb::Unsub => b"UNSUB",
            Verb::Msg => b"MSG",
            Verb::Hmsg => b"HMSG",
        }
    }

    /// Verbs without arguments take anything up to the line's end, like nats-server.
    fn bare(self) -> bool {
        matches!(self, Verb::Ping | Verb::Pong | Verb::Ok | Verb::Err)
    }

    pub(crate) fn len(self) -> usize {
        self.text().len()
    }
}

/// Candidates by the first byte; the two of `P` and `H` share nothing after it, so one table serves.
const FROM_SERVER: &[Verb] = &[Verb::Msg, Verb::Hmsg, Verb::Ping, Verb::Pong, Verb::Ok, Verb::Err, Verb::Info];
const FROM_CLIENT: &[Verb] =
    &[Verb::Pub, Verb::Hpub, Verb::Ping, Verb::Pong, Verb::Sub, Verb::Unsub, Verb::Connect, Verb::Info];

/// The verb at the front. `None`: what is there may still become one.
#[inline(always)]
pub(crate) fn verb<const SERVER: bool>(buf: &[u8]) -> Result<Option<Verb>, ParseError> {
    // Nearly all traffic is one of two, in capitals and followed by a blank.
    match (SERVER, buf) {
        (true, [b'M', b'S', b'G', b' ', ..]) => Ok(Some(Verb::Msg)),
        (true, [b'H', b'M', b'S', b'G', b' ', ..]) => Ok(Some(Verb::Hmsg)),
        (false, [b'P', b'U', b'B', b' ', ..]) => Ok(Some(Verb::Pub)),
        (false, [b'H', b'P', b'U', b'B', b' ', ..]) => Ok(Some(Verb::Hpub)),
        _ => any_verb(if SERVER { FROM_SERVER } else { FROM_CLIENT }, buf),
    }
}

fn any_verb(candidates: &[Verb], buf: &[u8]) -> Result<Option<Verb>, ParseError> {
    for &verb in candidates {
        let text = verb.text();
        let shared = text.len().min(buf.len());
        let (Some(want), Some(have)) = (text.get(..shared), buf.get(..shared)) else { continue };
        if !want.eq_ignore_ascii_case(have) {
            continue;
        }
        return match buf.get(text.len()) {
            _ if shared == text.len() && verb.bare() => Ok(Some(verb)),
            Some(b' ' | b'\t') => Ok(Some(verb)),
            Some(_) => Err(ParseError::UnknownOp),
            None => Ok(None),
        };
    }
    Err(ParseError::UnknownOp)
}

/// A part of the buffer, kept as numbers because the buffer may move between two calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    #[inline(always)]
    pub(crate) fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Splits the line at blanks and tabs; `None` when there are more than `N` tokens. Tokens are never empty.
#[inline(always)]
pub(crate) fn tokens<const N: usize>(buf: &[u8], line: Span) -> Option<([Span; N], usize)> {
    let mut spans = [Span::default(); N];
    let mut count = 0;
    let mut start = usize::MAX;
    for (at, &byte) in line.of(buf).iter().enumerate() {
        if byte == b' ' || byte == b'\t' {
            if start != usize::MAX {
                *spans.get_mut(count)? = Span { start: line.start + start, end: line.start + at };
                count += 1;
                start = usize::MAX;
            }
        } else if start == usize::MAX {
            start = at;
        }
    }
    if start != usize::MAX {
        *spans.get_mut(count)? = Span { start: line.start + start, end: line.end };
        count += 1;
    }
    Some((spans, count))
}

/// A size as nats-server reads it: one to nine digits, so no overflow is possible.
#[inline(always)]
pub(crate) fn size(token: &[u8]) -> Option<usize> {
    digits(token, 9).and_then(|n| usize::try_from(n).ok())
}

/// A subscription id chosen by our own end: up to nineteen digits, which always fit.
#[inline(always)]
pub(crate) fn id(token: &[u8]) -> Option<u64> {
    digits(token, 19)
}

#[inline(always)]
fn digits(token: &[u8], most: usize) -> Option<u64> {
    if token.is_empty() || token.len() > most {
        return None;
    }
    let mut value = 0u64;
    for &byte in token {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Text that may be sent on to other peers: UTF-8 without control characters (a CR inside would forge an operation).
#[inline(always)]
pub(crate) fn clean(token: &[u8]) -> Option<&str> {
    let lowest = token.iter().fold(u8::MAX, |low, &byte| low.min(byte));
    if lowest < b' ' { None } else { std::str::from_utf8(token).ok() }
}
