//! Each operation as it looks on the wire, and what is malformed.
use natsune_protocol::{
    ClientOp, Headers, Limits, Msg, ParseError, Parser, Pub, ServerOp, encode, header_get, status_of,
};

fn server(wire: &[u8]) -> Result<Option<(ServerOp<'_>, usize)>, ParseError> {
    Parser::new(Limits::client()).server_op(wire)
}

fn client(wire: &[u8]) -> Result<Option<(ClientOp<'_>, usize)>, ParseError> {
    Parser::new(Limits::broker()).client_op(wire)
}

#[test]
fn server_operations() {
    let msg = Msg { subject: "a.b", sid: 9, reply: None, headers: None, payload: b"hi" };
    let cases: &[(&[u8], ServerOp<'_>)] = &[
        (b"PING\r\n", ServerOp::Ping),
        (b"pInG \n", ServerOp::Ping),
        (b"PONG\r\n", ServerOp::Pong),
        (b"+OK\r\n", ServerOp::Ok),
        (b"+ok\r\n", ServerOp::Ok),
        (b"-ERR 'Stale Connection'\r\n", ServerOp::Err("Stale Connection")),
        (b"-err\t 'it''s' \r\n", ServerOp::Err("it''s")),
        (b"INFO {\"a\":1}\r\n", ServerOp::Info(b"{\"a\":1}")),
        (b"info \t {} \r\n", ServerOp::Info(b"{}")),
        (b"MSG a.b 9 2\r\nhi\r\n", ServerOp::Msg(msg)),
        (b"msg\ta.b \t 9  2 \r\nhi\r\n", ServerOp::Msg(msg)),
        (b"MSG a.b 9 r.1 2\r\nhi\r\n", ServerOp::Msg(Msg { reply: Some("r.1"), ..msg })),
        (
            b"HMSG a.b 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            ServerOp::Msg(Msg { headers: Some(b"NATS/1.0\r\n\r\n"), ..msg }),
        ),
        (
            b"HMSG a.b 9 r 12 12\r\nNATS/1.0\r\n\r\n\r\n",
            ServerOp::Msg(Msg { reply: Some("r"), headers: Some(b"NATS/1.0\r\n\r\n"), payload: b"", ..msg }),
        ),
        (b"MSG \xff 7 0\r\n\r\n", ServerOp::Unreadable { sid: 7 }),
    ];
    for (wire, op) in cases {
        assert_eq!(server(wire), Ok(Some((*op, wire.len()))), "{}", wire.escape_ascii());
    }
}

#[test]
fn client_operations() {
    let publish = Pub { subject: "a", reply: None, headers: None, payload: b"hi" };
    let cases: &[(&[u8], ClientOp<'_>)] = &[
        (b"PING\r\n", ClientOp::Ping),
        (b"pong\n", ClientOp::Pong),
        (b"CONNECT {}\r\n", ClientOp::Connect(b"{}")),
        (b"INFO {}\r\n", ClientOp::Info(b"{}")),
        (b"PUB a 2\r\nhi\r\n", ClientOp::Pub(publish)),
        (b"pub a\t2\nhi\r\n", ClientOp::Pub(publish)),
        (b"PUB a r 2\r\nhi\r\n", ClientOp::Pub(Pub { reply: Some("r"), ..publish })),
        (b"HPUB a 1 3\r\nxhi\r\n", ClientOp::Pub(Pub { headers: Some(b"x"), ..publish })),
        (b"HPUB a r 0 2\r\nhi\r\n", ClientOp::Pub(Pub { reply: Some("r"), headers: Some(b""), ..publish })),
        (b"SUB a.> 1\r\n", ClientOp::Sub { subject: "a.>", queue: None, sid: b"1" }),
        (b"sub  a.>\tq  x1 \r\n", ClientOp::Sub { subject: "a.>", queue: Some("q"), sid: b"x1" }),
        (b"UNSUB 1\r\n", ClientOp::Unsub { sid: b"1", max: None }),
        (b"UNSUB 1 5\r\n", ClientOp::Unsub { sid: b"1", max: Some(5) }),
        (b"UNSUB 1 0\r\n", ClientOp::Unsub { sid: b"1", max: None }),
        (b"UNSUB 1 -5\r\n", ClientOp::Unsub { sid: b"1", max: None }),
        (b"PUB a\rb 0\r\n\r\n", ClientOp::Refused("Invalid Publish Subject")),
        (b"PUB a \xc3\x28 0\r\n\r\n", ClientOp::Refused("Invalid Publish Subject")),
        (b"SUB a\x00 1\r\n", ClientOp::Refused("Invalid Subject")),
        (b"SUB a \xff 1\r\n", ClientOp::Refused("Invalid Subject")),
    ];
    for (wire, op) in cases {
        assert_eq!(client(wire), Ok(Some((*op, wire.len()))), "{}", wire.escape_ascii());
    }
}

#[test]
fn what_is_encoded_is_read_back() {
    let mut wire = Vec::new();
    encode::pub_(&mut wire, "s", Some("r"), Some(b"NATS/1.0\r\n\r\n"), b"x");
    encode::pub_(&mut wire, "s", None, None, b"");
    encode::sub(&mut wire, "s.*", Some("q"), u64::MAX);
    encode::unsub(&mut wire, 10, Some(100));
    encode::connect(&mut wire, b"{}");
    assert_eq!(
        wire.escape_ascii().to_string(),
        "HPUB s r 12 13\\r\\nNATS/1.0\\r\\n\\r\\nx\\r\\nPUB s 0\\r\\n\\r\\nSUB s.* q 18446744073709551615\\r\\nUNSUB 10 100\\r\\nCONNECT {}\\r\\n"
    );
    let mut parser = Parser::new(Limits::broker());
    let mut at = 0;
    let mut count = 0;
    while at < wire.len() {
        at += parser.client_op(&wire[at..]).unwrap().unwrap().1;
        count += 1;
    }
    assert_eq!(count, 5);
}

#[test]
fn headers_keep_order_case_and_repetition() {
    let mut headers = Headers::new();
    headers.append("A", "1").unwrap();
    headers.append("a", "2").unwrap();
    headers.append("A", "  3").unwrap();
    assert!(headers.append("bad name", "x").is_err() && headers.append("", "x").is_err());
    assert!(headers.append("a:b", "x").is_err() && headers.append("a", "x\r\nInjected: 1").is_err());
    let mut block = Vec::new();
    headers.encode(&mut block);
    assert_eq!(block, b"NATS/1.0\r\nA: 1\r\na: 2\r\nA: 3\r\n\r\n");
    assert_eq!(block.len(), headers.encoded_len());
    assert_eq!(Headers::parse(&block), Ok((headers.clone(), None)));
    assert_eq!(header_get(&block, "a"), Some("2"));
    assert_eq!(headers.values("A").collect::<Vec<_>>(), ["1", "3"]);
    headers.set("A", "9").unwrap();
    assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", "2"), ("A", "9")]);
    assert!(headers.delete("a") && !headers.delete("a"));

    let mut block = Vec::new();
    headers.encode_with_status(&mut block, 503, "No\r\nResponders");
    assert_eq!(status_of(&block), Some((503, "No  Responders")));
    assert_eq!(status_of(b"NATS/1.0 100 Idle Heartbeat\r\n\r\n"), Some((100, "Idle Heartbeat")));
    assert_eq!(status_of(b"NATS/1.0\r\nA: 1\r\n\r\n"), None);
    for bad in ["", "NATS/1.0", "NATS/1.0\r\n", "NATS/1.1\r\n\r\n", "NATS/1.0\r\nA\r\n\r\n", "NATS/1.0\r\n: x\r\n\r\n"]
    {
        assert_eq!(Headers::parse(bad.as_bytes()), Err(ParseError::Header), "{bad:?}");
    }
}
