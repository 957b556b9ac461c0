//! The parser against a naive one that takes the line apart with the standard library, on well-formed and broken bytes,
//! whole and in pieces.
use natsune_protocol::{ClientOp, Limits, Msg, ParseError, Parser, Pub, ServerOp};
use proptest::prelude::*;

const LIMITS: Limits = Limits { control_line: 64, payload: 200, info: 80 };
/// The room the parser gives a line for verb, blank and line end.
const SLACK: usize = 16;

/// One step of either direction, owned, so that whole and split runs can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    More,
    Error(ParseError),
    Op(String, usize),
}

fn outcome<T: std::fmt::Debug>(result: Result<Option<(T, usize)>, ParseError>) -> Outcome {
    match result {
        Ok(None) => Outcome::More,
        Ok(Some((op, used))) => Outcome::Op(format!("{op:?}"), used),
        Err(error) => Outcome::Error(error),
    }
}

fn step(parser: &mut Parser, server: bool, buf: &[u8]) -> Outcome {
    if server { outcome(parser.server_op(buf)) } else { outcome(parser.client_op(buf)) }
}

fn blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn model_number(token: &[u8], most: usize) -> Option<u64> {
    let text = std::str::from_utf8(token).ok()?;
    if text.len() > most || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn model_clean(token: &[u8]) -> Option<&str> {
    std::str::from_utf8(token).ok().filter(|text| !text.bytes().any(|byte| byte < 0x20))
}

fn model(server: bool, buf: &[u8]) -> Outcome {
    let verbs: &[&str] = if server {
        &["MSG", "HMSG", "PING", "PONG", "+OK", "-ERR", "INFO"]
    } else {
        &["PUB", "HPUB", "PING", "PONG", "SUB", "UNSUB", "CONNECT", "INFO"]
    };
    let upper = buf.to_ascii_uppercase();
    let Some(verb) = verbs.iter().find(|verb| upper.starts_with(verb.as_bytes())) else {
        let possible = verbs.iter().any(|verb| verb.as_bytes().starts_with(&upper));
        return if possible { Outcome::More } else { Outcome::Error(ParseError::UnknownOp) };
    };
    if !["PING", "PONG", "+OK", "-ERR"].contains(verb) {
        match buf.get(verb.len()) {
            None => return Outcome::More,
            Some(byte) if blank(byte) => {}
            Some(_) => return Outcome::Error(ParseError::UnknownOp),
        }
    }
    let limit = if ["INFO", "CONNECT"].contains(verb) { LIMITS.info } else { LIMITS.control_line };
    let newline = match buf.iter().position(|&byte| byte == b'\n') {
        Some(at) if at < limit + SLACK => at,
        None if buf.len() <= limit + SLACK => return Outcome::More,
        _ => return Outcome::Error(ParseError::ControlLine),
    };
    let line = &buf[verb.len()..newline];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let from = line.iter().position(|byte| !blank(byte)).unwrap_or(line.len());
    let to = line.iter().rposition(|byte| !blank(byte)).map_or(from, |at| at + 1);
    let line = &line[from..to];
    if line.len() > limit {
        return Outcome::Error(ParseError::ControlLine);
    }
    let tokens: Vec<&[u8]> = line.split(blank).filter(|token| !token.is_empty()).collect();
    let done = |op: String| Outcome::Op(op, newline + 1);
    let bad_arguments = Outcome::Error(ParseError::BadArguments);
    match *verb {
        "PING" if server => done(format!("{:?}", ServerOp::Ping)),
        "PONG" if server => done(format!("{:?}", ServerOp::Pong)),
        "INFO" if server => done(format!("{:?}", ServerOp::Info(line))),
        "+OK" => done(format!("{:?}", ServerOp::Ok)),
        "-ERR" => {
            let inner = line.strip_prefix(b"'").unwrap_or(line);
            let inner = inner.strip_suffix(b"'").unwrap_or(inner);
            let valid = String::from_utf8_lossy(inner);
            let text = match std::str::from_utf8(inner) {
                Ok(text) => text,
                Err(_) => valid.split('\u{fffd}').next().unwrap(),
            };
            done(format!("{:?}", ServerOp::Err(text)))
        }
        "PING" => done(format!("{:?}", ClientOp::Ping)),
        "PONG" => done(format!("{:?}", ClientOp::Pong)),
        "INFO" => done(format!("{:?}", ClientOp::Info(line))),
        "CONNECT" => done(format!("{:?}", ClientOp::Connect(line))),
        "SUB" => {
            let (subject, queue, sid) = match tokens[..] {
                [subject, sid] => (subject, None, sid),
                [subject, queue, sid] => (subject, Some(queue), sid),
                _ => return bad_arguments,
            };
            if model_clean(sid).is_none() {
                return bad_arguments;
            }
            match (model_clean(subject), queue.map(model_clean)) {
                (None, _) | (_, Some(None)) => done(format!("{:?}", ClientOp::Refused("Invalid Subject"))),
                (Some(subject), queue) => done(format!("{:?}", ClientOp::Sub { subject, queue: queue.flatten(), sid })),
            }
        }
        "UNSUB" => match tokens[..] {
            [sid] => done(format!("{:?}", ClientOp::Unsub { sid, max: None })),
            [sid, max] => {
                let max = model_number(max, 9).filter(|&max| max != 0);
                done(format!("{:?}", ClientOp::Unsub { sid, max }))
            }
            _ => bad_arguments,
        },
        verb => model_message(verb, tokens, buf, newline + 1),
    }
}

fn model_message(verb: &str, mut tokens: Vec<&[u8]>, buf: &[u8], body: usize) -> Outcome {
    let with_headers = verb.starts_with('H');
    let bad_arguments = Outcome::Error(ParseError::BadArguments);
    let with_sid = verb.ends_with("MSG");
    let fixed = 2 + usize::from(with_headers) + usize::from(with_sid);
    if tokens.len() != fixed && tokens.len() != fixed + 1 {
        return bad_arguments;
    }
    let has_reply = tokens.len() == fixed + 1;
    let subject = tokens.remove(0);
    let mut sid = 0;
    if with_sid {
        match model_number(tokens.remove(0), 19) {
            Some(number) => sid = number,
            None => return bad_arguments,
        }
    }
    let reply = has_reply.then(|| tokens.remove(0));
    let sizes: Option<Vec<usize>> =
        tokens.iter().map(|token| model_number(token, 9).map(|number| number as usize)).collect();
    let (header, total) = match sizes.as_deref() {
        Some([header, total]) => (*header, *total),
        Some([total]) => (0, *total),
        _ => return Outcome::Error(ParseError::BadSize),
    };
    if header > total {
        return Outcome::Error(ParseError::Header);
    }
    if total > LIMITS.payload {
        return Outcome::Error(ParseError::Payload);
    }
    match (buf.get(body + total), buf.get(body + total + 1)) {
        (None | Some(b'\r'), None) => return Outcome::More,
        (Some(b'\r'), Some(b'\n')) => {}
        _ => return Outcome::Error(ParseError::MissingCrlf),
    }
    let headers = with_headers.then(|| &buf[body..body + header]);
    let payload = &buf[body + header..body + total];
    let op = if with_sid {
        let texts = (std::str::from_utf8(subject).ok(), reply.map(|reply| std::str::from_utf8(reply).ok()));
        format!(
            "{:?}",
            match texts {
                (Some(subject), None) => ServerOp::Msg(Msg { subject, sid, reply: None, headers, payload }),
                (Some(subject), Some(Some(reply))) =>
                    ServerOp::Msg(Msg { subject, sid, reply: Some(reply), headers, payload }),
                _ => ServerOp::Unreadable { sid },
            }
        )
    } else {
        format!(
            "{:?}",
            match (model_clean(subject), reply.map(model_clean)) {
                (Some(subject), None) => ClientOp::Pub(Pub { subject, reply: None, headers, payload }),
                (Some(subject), Some(Some(reply))) =>
                    ClientOp::Pub(Pub { subject, reply: Some(reply), headers, payload }),
                _ => ClientOp::Refused("Invalid Publish Subject"),
            }
        )
    };
    Outcome::Op(op, body + total + 2)
}

/// All steps of a buffer, up to the first that is no operation.
fn run(server: bool, wire: &[u8], mut one: impl FnMut(&[u8]) -> Outcome) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut at = 0;
    loop {
        let outcome = one(&wire[at..]);
        outcomes.push(outcome.clone());
        match outcome {
            Outcome::Op(_, used) => {
                assert!(used > 0 && at + used <= wire.len(), "{server}");
                at += used;
            }
            _ => return outcomes,
        }
    }
}

/// The same bytes, arriving in pieces of the given sizes.
fn run_in_pieces(server: bool, wire: &[u8], pieces: &[usize]) -> Vec<Outcome> {
    let mut parser = Parser::new(LIMITS);
    let mut pieces = pieces.iter().copied().cycle();
    let (mut at, mut end) = (0, 0);
    let mut outcomes = Vec::new();
    loop {
        let outcome = step(&mut parser, server, &wire[at..end]);
        match outcome {
            Outcome::More if end < wire.len() => {
                assert!(parser.want() > end - at, "want() must ask for something");
                end = (end + pieces.next().unwrap_or(1).max(1)).min(wire.len());
            }
            Outcome::Op(_, used) => {
                at += used;
                outcomes.push(outcome);
            }
            _ => {
                outcomes.push(outcome);
                return outcomes;
            }
        }
    }
}

fn check(server: bool, wire: &[u8], pieces: &[usize]) {
    let expected = run(server, wire, |buf| model(server, buf));
    let mut parser = Parser::new(LIMITS);
    let whole = run(server, wire, |buf| step(&mut parser, server, buf));
    assert_eq!(whole, expected, "whole: {}", wire.escape_ascii());
    assert_eq!(run_in_pieces(server, wire, pieces), expected, "in pieces: {}", wire.escape_ascii());
}

/// Pieces of the protocol: put together at random they are often nearly right, which is where mistakes live.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "MSG ",
        "HMSG ",
        "PUB ",
        "HPUB ",
        "SUB ",
        "UNSUB ",
        "PING",
        "PONG",
        "+OK",
        "-ERR ",
        "INFO ",
        "CONNECT ",
        "msg\t",
        "hpub ",
        "pInG",
        "\r\n",
        "\n",
        "\r",
        " ",
        "\t",
        "a.b",
        "foo",
        "_INBOX.x.1",
        ">",
        "*",
        "1",
        "2",
        "3",
        "12",
        "0",
        "200",
        "201",
        "00000001",
        "999999999",
        "9999999999",
        "-1",
        "x",
        "NATS/1.0\r\n\r\n",
        "'text'",
        "{}",
        "\u{e4}",
    ];
    prop_oneof![
        8 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => (1usize..90).prop_map(|length| vec![b'z'; length]),
    ]
}

/// A whole operation, right or with one wrong number.
fn operation() -> impl Strategy<Value = Vec<u8>> {
    let subject = "[a-z*>.]{1,6}";
    let reply = prop::option::of("[a-zA-Z.]{1,6}");
    let body = prop::collection::vec(any::<u8>(), 0..20);
    (any::<bool>(), subject, reply, prop::option::of(0usize..25), body, -1i64..2, any::<bool>()).prop_map(
        |(server, subject, reply, header, body, off, crlf)| {
            let mut line =
                format!("{}{} {subject} ", if header.is_some() { "H" } else { "" }, if server { "MSG" } else { "PUB" });
            if server {
                line.push_str("7 ");
            }
            if let Some(reply) = reply {
                line.push_str(&reply);
                line.push(' ');
            }
            if let Some(header) = header {
                line.push_str(&format!("{header} "));
            }
            // Mostly the right size.
            let size = body.len() as i64 + if crlf { 0 } else { off };
            line.push_str(&format!("{size}\r\n"));
            let mut wire = line.into_bytes();
            wire.extend_from_slice(&body);
            wire.extend_from_slice(b"\r\n");
            wire
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_model(
        parts in prop::collection::vec(prop_oneof![fragment(), operation()], 0..8),
        server: bool,
        pieces in prop::collection::vec(1usize..12, 1..6),
    ) {
        check(server, &parts.concat(), &pieces);
    }

    #[test]
    fn agrees_with_the_model_after_one_changed_byte(
        wire in operation(), server: bool, at: prop::sample::Index, byte: u8, pieces in prop::collection::vec(1usize..12, 1..6),
    ) {
        let mut wire = wire;
        let at = at.index(wire.len());
        wire[at] = byte;
        check(server, &wire, &pieces);
    }
}

/// Every operation, cut once at every byte: the first part is not enough, and the whole is as if it had come at once.
#[test]
fn every_operation_split_at_every_byte() {
    let server: &[&[u8]] = &[
        b"PING\r\n",
        b"PONG\r\n",
        b"+OK\r\n",
        b"-ERR 'Stale Connection'\r\n",
        b"INFO {\"a\":[1,2]}\r\n",
        b"MSG a.b 12 5\r\nhello\r\n",
        b"MSG a.b 12 reply.to 5\r\nhe\r\no\r\n",
        b"HMSG a.b 12 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n",
        b"HMSG\ta.b  12\treply 12 12 \r\nNATS/1.0\r\n\r\n\r\n",
        b"MSG \xff 1 0\r\n\r\n",
    ];
    let client: &[&[u8]] = &[
        b"CONNECT {\"verbose\":false}\r\n",
        b"PING\r\n",
        b"PUB a.b 5\r\nhello\r\n",
        b"PUB a.b reply.to 5\nhe\r\no\r\n",
        b"HPUB a.b 18 20\r\nNATS/1.0\r\nA: 1\r\n\r\nhi\r\n",
        b"hpub a.b r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        b"SUB a.> queue 17\r\n",
        b"UNSUB 17 5\r\n",
        b"INFO {}\r\n",
        b"PUB \xff 1\r\nx\r\n",
    ];
    for (is_server, frames) in [(true, server), (false, client)] {
        for frame in frames {
            let whole = step(&mut Parser::new(LIMITS), is_server, frame);
            assert!(matches!(&whole, Outcome::Op(_, used) if *used == frame.len()), "{}", frame.escape_ascii());
            for cut in 0..frame.len() {
                let mut parser = Parser::new(LIMITS);
                assert_eq!(
                    step(&mut parser, is_server, &frame[..cut]),
                    Outcome::More,
                    "{}",
                    frame[..cut].escape_ascii()
                );
                assert!(parser.want() > cut && parser.want() <= frame.len());
                assert_eq!(step(&mut parser, is_server, frame), whole);
                // What follows does not matter, and the parser is ready for the next one.
                let twice = [*frame, *frame].concat();
                assert_eq!(step(&mut parser, is_server, &twice), whole);
            }
            let one_by_one = run_in_pieces(is_server, frame, &[1]);
            assert_eq!(one_by_one, [whole, Outcome::More]);
        }
    }
}

/// Lines of every length around the limits, with and without an end.
#[test]
fn agrees_with_the_model_at_the_limits() {
    for verb in ["PUB ", "SUB ", "MSG ", "PING", "CONNECT ", "INFO ", "-ERR ", "UNSUB  "] {
        for length in 40..110 {
            for end in ["", "\r", "\n", "\r\n", " 1\r\n", "  \t\r\n", " 1 \r\n\r\n"] {
                for fill in [b'z', b' ', b'\r'] {
                    let mut wire = verb.as_bytes().to_vec();
                    wire.resize(length, fill);
                    wire.extend_from_slice(end.as_bytes());
                    check(true, &wire, &[1]);
                    check(false, &wire, &[7, 1]);
                }
            }
        }
    }
}
