//! Mutated wire bytes: `cargo run --release -p natsune-protocol --example fuzz_protocol -- --target parser|headers --seed 1 --count N`.
#[path = "../../tests/malformed/frames.rs"]
mod frames;
mod mutator;

use mutator::{Options, Random};
use natsune_protocol::{
    ClientOp, Headers, Limits, Msg, ParseError, Parser, Pub, ServerOp, encode, header_get, header_lines, status_of,
    subject,
};

fn main() {
    let options = Options::from_args(&["parser", "headers"]);
    if options.target == "parser" { parser(&options) } else { headers(&options) }
}

const LIMITS: Limits = Limits { control_line: 256, payload: 1024, info: 512 };

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"MSG ",
    b"HMSG ",
    b"PUB ",
    b"HPUB ",
    b"SUB ",
    b"UNSUB ",
    b"PING\r\n",
    b"PONG\r\n",
    b"+OK\r\n",
    b"-ERR '",
    b"INFO {",
    b"CONNECT {",
    b"NATS/1.0\r\n",
    b"\r\n\r\n",
    b"0",
    b"1",
    b"12",
    b"1024",
    b"1025",
    b"999999999",
    b"4294967296",
    b"18446744073709551616",
    b"-1",
    b"'",
    b"a.b",
    b">",
    b"*",
    b":",
    b": ",
    b"\xff",
    b"\xc3\xa4",
];

fn parser(options: &Options) {
    let mut seeds = [Vec::new(), Vec::new()];
    for (side, list) in [frames::client(), frames::server()].into_iter().enumerate() {
        seeds[side].extend(list.into_iter().map(|(_, frame)| frame).filter(|frame| frame.len() < 200));
    }
    let block = b"NATS/1.0 503\r\nA: 1\r\n\r\n";
    for number in 0..100 {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        let payload = vec![b'p'; number];
        let reply = (number % 2 == 0).then_some("_INBOX.a.1");
        let headers = (number % 3 == 0).then_some(&block[..]);
        encode::pub_(&mut client, "a.b", reply, headers, &payload);
        encode::sub(&mut client, "a.>", reply, number as u64);
        encode::unsub(&mut client, number as u64, None);
        encode::connect(&mut client, b"{\"verbose\":false}");
        encode::msg(&mut server, "a.b", b"17", reply, headers, &payload);
        encode::info(&mut server, b"{\"proto\":1}");
        encode::err(&mut server, "Stale Connection");
        encode::ping(&mut server);
        seeds[0].push(client);
        seeds[1].push(server);
    }
    let mut input = Vec::new();
    mutator::run(options, |random| {
        let server = random.below(2);
        random.mutate(&seeds[server], WORDS, &mut input);
        let whole = digest(server == 1, &input, &mut || usize::MAX);
        let pieces = digest(server == 1, &input, &mut || 1 + random.below(16));
        assert_eq!(whole, pieces, "cutting matters: {}", input.escape_ascii());
    });
}

/// Parses all operations, the bytes arriving in pieces; a number that depends on each of them.
fn digest(server: bool, wire: &[u8], piece: &mut dyn FnMut() -> usize) -> (u64, Option<ParseError>) {
    let mut parser = Parser::new(LIMITS);
    let (mut at, mut end, mut sum) = (0usize, 0usize, 0u64);
    loop {
        let buf = &wire[at..end];
        let step = if server {
            parser.server_op(buf).map(|op| op.map(|(op, used)| (server_sum(&op), used)))
        } else {
            parser.client_op(buf).map(|op| op.map(|(op, used)| (client_sum(&op), used)))
        };
        match step {
            Ok(Some((part, used))) => {
                assert!(used > 0 && used <= buf.len());
                at += used;
                sum = sum.rotate_left(5) ^ part ^ used as u64;
            }
            Ok(None) if end < wire.len() => {
                assert!(parser.want() > buf.len());
                end = end.saturating_add(piece()).min(wire.len());
            }
            Ok(None) => return (sum ^ at as u64, None),
            Err(error) => return (sum ^ at as u64, Some(error)),
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn server_sum(op: &ServerOp<'_>) -> u64 {
    match *op {
        ServerOp::Info(json) => hash(json),
        ServerOp::Err(text) => hash(text.as_bytes()),
        ServerOp::Msg(Msg { subject, sid, reply, headers, payload }) => {
            read_block(headers.unwrap_or_default());
            hash(subject.as_bytes())
                ^ sid
                ^ hash(reply.unwrap_or("-").as_bytes()).rotate_left(1)
                ^ hash(headers.unwrap_or(b"-")).rotate_left(2)
                ^ hash(payload).rotate_left(3)
        }
        ServerOp::Ping => 1,
        ServerOp::Pong => 2,
        ServerOp::Ok => 3,
        ServerOp::Unreadable { sid } => sid.rotate_left(9),
    }
}

fn client_sum(op: &ClientOp<'_>) -> u64 {
    match *op {
        ClientOp::Info(json) | ClientOp::Connect(json) => hash(json),
        ClientOp::Pub(Pub { subject, reply, headers, payload }) => {
            // Nothing that could forge an operation when it is sent on, and what is sent on is read as the same.
            for text in [subject, reply.unwrap_or_default()] {
                assert!(!text.bytes().any(|byte| byte <= b' '));
            }
            let mut wire = Vec::new();
            encode::pub_(&mut wire, subject, reply, headers, payload);
            let again =
                Parser::new(Limits { control_line: 1 << 20, ..LIMITS }).client_op(&wire).map(|op| op.map(|op| op.0));
            assert_eq!(again, Ok(Some(*op)));
            let mut wire = Vec::new();
            encode::msg(&mut wire, subject, b"1", reply, headers, payload);
            let again = Parser::new(Limits::client()).server_op(&wire);
            assert!(matches!(again, Ok(Some((ServerOp::Msg(_), used))) if used == wire.len()));
            subject::matches(subject, "a.b");
            subject::overlaps(subject, "a.>");
            hash(subject.as_bytes())
                ^ hash(reply.unwrap_or("-").as_bytes()).rotate_left(1)
                ^ hash(headers.unwrap_or(b"-")).rotate_left(2)
                ^ hash(payload).rotate_left(3)
        }
        ClientOp::Sub { subject, queue, sid } => {
            hash(subject.as_bytes()) ^ hash(queue.unwrap_or("-").as_bytes()).rotate_left(1) ^ hash(sid).rotate_left(2)
        }
        ClientOp::Unsub { sid, max } => hash(sid) ^ max.unwrap_or(7),
        ClientOp::Refused(text) => hash(text.as_bytes()),
        ClientOp::Ping => 1,
        ClientOp::Pong => 2,
    }
}

/// Reads a block in every way there is; the ways agree.
fn read_block(block: &[u8]) {
    let status = status_of(block);
    let Ok((headers, parsed)) = Headers::parse(block) else { return };
    assert_eq!(status.map(|(code, _)| code), parsed.as_ref().map(|status| status.code));
    assert_eq!(header_lines(block).count(), headers.len());
    for (name, value) in headers.iter() {
        let first = headers.get(name);
        assert!(first.is_some() && headers.values(name).any(|have| have == value));
        if let Some(raw) = header_get(block, name) {
            assert_eq!(Some(raw), first);
        }
    }
    let mut again = Vec::new();
    match &parsed {
        Some(status) => headers.encode_with_status(&mut again, status.code, &status.text),
        None => {
            headers.encode(&mut again);
            assert_eq!(again.len(), headers.encoded_len());
        }
    }
    assert_eq!(Headers::parse(&again).map(|(headers, _)| headers), Ok(headers), "{}", block.escape_ascii());
}

fn headers(options: &Options) {
    let seeds: Vec<Vec<u8>> = [
        "NATS/1.0\r\n\r\n",
        "NATS/1.0 503\r\n\r\n",
        "NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 2\r\n\r\n",
        "NATS/1.0\r\nA: 1\r\nA: 2\r\na: 3\r\n\r\n",
        "NATS/1.0\r\nNats-Msg-Id: 42\r\nNats-Expected-Last-Sequence: 7\r\nX:\r\nY:   padded  \r\n\r\n",
        "NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\nNats-Pending-Bytes: 0\r\n\r\n",
        "NATS/1.0\nA:1\n\n",
        "NATS/1.0\r\nK\u{e4}y: v\u{e4}lue\r\n\r\n",
    ]
    .iter()
    .map(|seed| seed.as_bytes().to_vec())
    .collect();
    let mut input = Vec::new();
    mutator::run(options, |random: &mut Random| {
        random.mutate(&seeds, WORDS, &mut input);
        read_block(&input);
        build(random, &input);
    });
}

/// What can be set can be sent, and comes back as it was.
fn build(random: &mut Random, input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut headers = Headers::new();
    for part in text.split("\r\n").take(6) {
        let (name, value) = part.split_once(':').unwrap_or((part, ""));
        let accepted = match random.below(3) {
            0 => headers.set(name, value),
            _ => headers.append(name, value),
        };
        if accepted.is_ok() && random.below(4) == 0 {
            assert!(headers.delete(name) && headers.get(name).is_none());
        }
    }
    let mut block = Vec::new();
    headers.encode(&mut block);
    assert_eq!(Headers::parse(&block), Ok((headers, None)));
}
