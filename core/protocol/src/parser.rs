//! The incremental parser of both directions: one operation at the front of the caller's buffer.
use crate::error::ParseError;
use crate::line::{self, Span, Verb};
use crate::ops::{ClientOp, Limits, Msg, Pub, ServerOp};

/// Room for the verb, the blank after it and CR LF, on top of the longest argument part.
const LINE_SLACK: usize = 16;

/// Reads one operation after the other from the front of a buffer that the caller owns.
///
/// When an operation is not complete the call gives `None`, and the next call must be given the same bytes plus more.
/// The parser remembers what it has looked at, so an operation that comes in many pieces is scanned once.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    stage: Stage,
    /// Stage::Line: the verb, and how many bytes are known to hold no line end.
    verb: Verb,
    scanned: usize,
    /// Stage::Body.
    frame: Frame,
    want: usize,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    Line,
    Body,
}

/// A message whose control line was read: where its parts are, counted from the operation's first byte.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    subject: Span,
    reply: Span,
    sid: u64,
    with_headers: bool,
    body: usize,
    /// End of the header block.
    split: usize,
    /// End of the payload; CR LF follows.
    end: usize,
}

/// What one step found.
enum Step {
    Line(Verb, Span, usize),
    Frame(Frame),
}

impl Parser {
    /// A parser at the start of a stream.
    pub fn new(limits: Limits) -> Parser {
        Parser { limits, stage: Stage::Start, verb: Verb::Ping, scanned: 0, frame: Frame::default(), want: 1 }
    }

    /// The limits, to be changed when the peer's rights are known. They hold from the next operation on.
    pub fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// After `None`: at least how many bytes the buffer must hold before another call makes sense.
    pub fn want(&self) -> usize {
        self.want
    }

    /// The operation of a server at the front of `buf`, and how many bytes it takes; `None`: more bytes are needed.
    #[inline]
    pub fn server_op<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(ServerOp<'a>, usize)>, ParseError> {
        let step = match self.step::<true>(buf) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.reset(error)),
        };
        match step {
            Step::Frame(frame) => {
                let op = match frame.texts(buf, |token| std::str::from_utf8(token).ok()) {
                    Some((subject, reply)) => {
                        let (headers, payload) = frame.data(buf);
                        ServerOp::Msg(Msg { subject, sid: frame.sid, reply, headers, payload })
                    }
                    None => ServerOp::Unreadable { sid: frame.sid },
                };
                Ok(Some((op, frame.end + 2)))
            }
            Step::Line(verb, args, used) => {
                let op = match verb {
                    Verb::Info => ServerOp::Info(args.of(buf)),
                    Verb::Pong => ServerOp::Pong,
                    Verb::Ok => ServerOp::Ok,
                    Verb::Err => ServerOp::Err(error_text(args.of(buf))),
                    _ => ServerOp::Ping,
                };
                Ok(Some((op, used)))
            }
        }
    }

    /// The operation of a client at the front of `buf`, and how many bytes it takes; `None`: more bytes are needed.
    #[inline]
    pub fn client_op<'a>(&mut self, buf: &'a [u8]) -> Result<Option<(ClientOp<'a>, usize)>, ParseError> {
        let step = match self.step::<false>(buf) {
            Ok(Some(step)) => step,
            Ok(None) => return Ok(None),
            Err(error) => return Err(self.reset(error)),
        };
        match step {
            Step::Frame(frame) => {
                let op = match frame.texts(buf, line::clean) {
                    Some((subject, reply)) => {
                        let (headers, payload) = frame.data(buf);
                        ClientOp::Pub(Pub { subject, reply, headers, payload })
                    }
                    None => ClientOp::Refused("Invalid Publish Subject"),
                };
                Ok(Some((op, frame.end + 2)))
            }
            Step::Line(verb, args, used) => {
                let op = match verb {
                    Verb::Info => ClientOp::Info(args.of(buf)),
                    Verb::Connect => ClientOp::Connect(args.of(buf)),
                    Verb::Pong => ClientOp::Pong,
                    Verb::Sub => subscribe(buf, args)?,
                    Verb::Unsub => unsubscribe(buf, args)?,
                    _ => ClientOp::Ping,
                };
                Ok(Some((op, used)))
            }
        }
    }

    #[cold]
    fn reset(&mut self, error: ParseError) -> ParseError {
        self.stage = Stage::Start;
        error
    }

    #[inline(always)]
    fn step<const SERVER: bool>(&mut self, buf: &[u8]) -> Result<Option<Step>, ParseError> {
        let (verb, scanned) = match self.stage {
            Stage::Start => match line::verb::<SERVER>(buf)? {
                Some(verb) => (verb, verb.len()),
                None => {
                    self.want = buf.len() + 1;
                    return Ok(None);
                }
            },
            Stage::Line => (self.verb, self.scanned),
            Stage::Body => {
                let frame = self.frame;
                return self.body(buf, frame);
            }
        };
        let limit = match verb {
            Verb::Info | Verb::Connect => self.limits.info,
            _ => self.limits.control_line,
        };
        let cap = limit.saturating_add(LINE_SLACK).min(buf.len());
        let fresh = buf.get(scanned..cap).unwrap_or_default();
        let Some(found) = memchr::memchr(b'\n', fresh) else {
            if buf.len() > cap {
                return Err(ParseError::ControlLine);
            }
            (self.stage, self.verb, self.scanned, self.want) = (Stage::Line, verb, cap.max(scanned), buf.len() + 1);
            return Ok(None);
        };
        let newline = scanned + found;
        let args = trim(buf, Span { start: verb.len(), end: newline });
        if args.end.saturating_sub(args.start) > limit {
            return Err(ParseError::ControlLine);
        }
        match verb {
            Verb::Pub | Verb::Hpub | Verb::Msg | Verb::Hmsg => {
                let frame = self.frame(buf, verb, args, newline + 1)?;
                self.body(buf, frame)
            }
            _ => {
                self.stage = Stage::Start;
                Ok(Some(Step::Line(verb, args, newline + 1)))
            }
        }
    }

    /// `PUB s [r] n`, `HPUB s [r] h n`, `MSG s id [r] n`, `HMSG s id [r] h n`.
    #[inline(always)]
    fn frame(&self, buf: &[u8], verb: Verb, args: Span, body: usize) -> Result<Frame, ParseError> {
        let (spans, count) = line::tokens::<5>(buf, args).ok_or(ParseError::BadArguments)?;
        let [subject, second, third, fourth, fifth] = spans;
        let with_sid = matches!(verb, Verb::Msg | Verb::Hmsg);
        let with_headers = matches!(verb, Verb::Hpub | Verb::Hmsg);
        // Without the id all forms are: subject, perhaps a reply, perhaps a header size, the size.
        let (id, rest, left) = if with_sid {
            (second, [third, fourth, fifth], count.saturating_sub(2))
        } else {
            (Span::default(), [second, third, fourth], count.saturating_sub(1))
        };
        let none = Span::default();
        let [a, b, c] = rest;
        let (reply, header, size) = match (with_headers, left) {
            (false, 1) => (none, none, a),
            (false, 2) => (a, none, b),
            (true, 2) => (none, a, b),
            (true, 3) => (a, b, c),
            _ => return Err(ParseError::BadArguments),
        };
        let sid = if with_sid { line::id(id.of(buf)).ok_or(ParseError::BadArguments)? } else { 0 };
        let header = if with_headers { line::size(header.of(buf)).ok_or(ParseError::BadSize)? } else { 0 };
        let size = line::size(size.of(buf)).ok_or(ParseError::BadSize)?;
        if header > size {
            return Err(ParseError::Header);
        }
        if size > self.limits.payload {
            return Err(ParseError::Payload);
        }
        Ok(Frame { subject, reply, sid, with_headers, body, split: body + header, end: body + size })
    }

    #[inline(always)]
    fn body(&mut self, buf: &[u8], frame: Frame) -> Result<Option<Step>, ParseError> {
        match buf.get(frame.end..) {
            Some([b'\r', b'\n', ..]) => {
                self.stage = Stage::Start;
                Ok(Some(Step::Frame(frame)))
            }
            None | Some([] | [b'\r']) => {
                self.want = frame.end + 2;
                if !matches!(self.stage, Stage::Body) {
                    (self.stage, self.frame) = (Stage::Body, frame);
                }
                Ok(None)
            }
            Some(_) => Err(ParseError::MissingCrlf),
        }
    }
}

impl Frame {
    /// Subject and reply, when `read` takes both.
    #[inline(always)]
    fn texts<'a>(
        &self,
        buf: &'a [u8],
        read: impl Fn(&'a [u8]) -> Option<&'a str>,
    ) -> Option<(&'a str, Option<&'a str>)> {
        let subject = read(self.subject.of(buf))?;
        let reply = if self.reply.is_empty() { None } else { Some(read(self.reply.of(buf))?) };
        Some((subject, reply))
    }

    /// Header block and payload.
    #[inline(always)]
    fn data<'a>(&self, buf: &'a [u8]) -> (Option<&'a [u8]>, &'a [u8]) {
        let headers = self.with_headers.then(|| buf.get(self.body..self.split).unwrap_or_default());
        (headers, buf.get(self.split..self.end).unwrap_or_default())
    }
}

/// Without the blanks around and without one CR before the line end.
#[inline(always)]
fn trim(buf: &[u8], mut span: Span) -> Span {
    if let [.., b'\r'] = span.of(buf) {
        span.end -= 1;
    }
    while let [b' ' | b'\t', ..] = span.of(buf) {
        span.start += 1;
    }
    while let [.., b' ' | b'\t'] = span.of(buf) {
        span.end -= 1;
    }
    span
}

/// `SUB subject [queue] sid`.
fn subscribe(buf: &[u8], args: Span) -> Result<ClientOp<'_>, ParseError> {
    let (spans, count) = line::tokens::<3>(buf, args).ok_or(ParseError::BadArguments)?;
    let [subject, second, third] = spans.map(|span| span.of(buf));
    let (queue, sid) = match count {
        2 => (None, second),
        3 => (Some(second), third),
        _ => return Err(ParseError::BadArguments),
    };
    if line::clean(sid).is_none() {
        return Err(ParseError::BadArguments);
    }
    let queue = match queue.map(line::clean) {
        Some(None) => return Ok(ClientOp::Refused("Invalid Subject")),
        Some(queue) => queue,
        None => None,
    };
    Ok(match line::clean(subject) {
        Some(subject) => ClientOp::Sub { subject, queue, sid },
        None => ClientOp::Refused("Invalid Subject"),
    })
}

/// `UNSUB sid [max]`.
fn unsubscribe(buf: &[u8], args: Span) -> Result<ClientOp<'_>, ParseError> {
    let (spans, count) = line::tokens::<2>(buf, args).ok_or(ParseError::BadArguments)?;
    let [sid, max] = spans.map(|span| span.of(buf));
    if count == 0 {
        return Err(ParseError::BadArguments);
    }
    let max = line::size(max).filter(|&max| max > 0).map(|max| max as u64);
    Ok(ClientOp::Unsub { sid, max })
}

/// The text inside the quotes; what is not UTF-8 is cut off, since the text is for people.
fn error_text(args: &[u8]) -> &str {
    let inner = args.strip_prefix(b"'").unwrap_or(args);
    let inner = inner.strip_suffix(b"'").unwrap_or(inner);
    match std::str::from_utf8(inner) {
        Ok(text) => text,
        Err(error) => {
            inner.get(..error.valid_up_to()).and_then(|valid| std::str::from_utf8(valid).ok()).unwrap_or_default()
        }
    }
}
