//! Nanoseconds per operation, for a look after a change: `cargo run --release -p natsune-protocol --example measure`.
use std::hint::black_box;
use std::time::Instant;

use natsune_protocol::{Limits, Parser, encode, header_get, status_of, subject};

const OPS: usize = 1000;
const ROUNDS: usize = 200;

/// The best of many runs: other work on the machine only ever adds.
fn report(name: &str, per_round: usize, mut round: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..60 {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            round();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / (ROUNDS * per_round) as f64);
    }
    println!("{name:<28} {best:7.1} ns/op");
}

fn wire(op: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut wire = Vec::new();
    for _ in 0..OPS {
        op(&mut wire);
    }
    wire
}

fn server(name: &str, op: impl Fn(&mut Vec<u8>)) {
    let wire = wire(op);
    let mut parser = Parser::new(Limits::client());
    report(name, OPS, || {
        let mut at = 0;
        while let Ok(Some((op, used))) = parser.server_op(black_box(&wire[at..])) {
            black_box(op);
            at += used;
        }
        assert_eq!(at, wire.len());
    });
}

fn client(name: &str, op: impl Fn(&mut Vec<u8>)) {
    let wire = wire(op);
    let mut parser = Parser::new(Limits::broker());
    report(name, OPS, || {
        let mut at = 0;
        while let Ok(Some((op, used))) = parser.client_op(black_box(&wire[at..])) {
            black_box(op);
            at += used;
        }
        assert_eq!(at, wire.len());
    });
}

fn main() {
    let block = b"NATS/1.0\r\nNats-Msg-Id: 12345678\r\nTrace: 0af7651916cd43dd8448eb211c80319c\r\n\r\n";
    let inbox = Some("_INBOX.vxQbW2CTrLPuB5dCCnHWtg.42");
    server("parse MSG 16 B", |out| encode::msg(out, "orders.eu.1234", b"42", None, None, &[b'x'; 16]));
    server("parse MSG 16 B, reply", |out| encode::msg(out, "orders.eu.1234", b"42", inbox, None, &[b'x'; 16]));
    server("parse HMSG 16 B", |out| encode::msg(out, "orders.eu.1234", b"42", None, Some(block), &[b'x'; 16]));
    server("parse PING", encode::ping);
    client("parse PUB 16 B", |out| encode::pub_(out, "orders.eu.1234", None, None, &[b'x'; 16]));
    client("parse PUB 16 B, reply", |out| encode::pub_(out, "orders.eu.1234", inbox, None, &[b'x'; 16]));
    client("parse HPUB 16 B", |out| encode::pub_(out, "orders.eu.1234", None, Some(block), &[b'x'; 16]));
    client("parse SUB", |out| encode::sub(out, "orders.eu.*", Some("workers"), 42));
    let mut out = Vec::with_capacity(1 << 20);
    report("encode PUB 16 B", 1, || {
        out.clear();
        encode::pub_(&mut out, black_box("orders.eu.1234"), None, None, black_box(&[b'x'; 16]));
    });
    report("encode MSG 16 B", 1, || {
        out.clear();
        encode::msg(&mut out, black_box("orders.eu.1234"), b"42", None, None, black_box(&[b'x'; 16]));
    });
    report("header_get, second of two", 1, || {
        black_box(header_get(black_box(block), "Trace"));
    });
    report("status_of", 1, || {
        black_box(status_of(black_box(b"NATS/1.0 503\r\n\r\n")));
    });
    report("subject::matches", 1, || {
        black_box(subject::matches(black_box("orders.*.>"), black_box("orders.eu.1234")));
    });
    report("subject::is_valid_publish", 1, || {
        black_box(subject::is_valid_publish(black_box("orders.eu.1234")));
    });
}
