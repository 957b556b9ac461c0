//! The packed layouts against the golden vectors that every language reads.
//!
//! `NATSUNE_WRITE_VECTORS=1 cargo test -p natsune-ffi vectors` writes the file anew.

use natsune_protocol::Headers;
use serde_json::{Value, json};

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/vectors/batch.json");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn block(lines: &[(&str, &str)], status: &str) -> Vec<u8> {
    let mut out = format!("NATS/1.0{status}\r\n").into_bytes();
    for (name, value) in lines {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// One message of a vector, and how it is told in JSON.
struct Sample {
    subject: &'static str,
    reply: Option<&'static str>,
    headers: &'static [(&'static str, &'static str)],
    status: Option<(u16, &'static str)>,
    payload: Vec<u8>,
    metadata: Option<Metadata<'static>>,
}

impl Sample {
    fn new(subject: &'static str, payload: &[u8]) -> Sample {
        Sample { subject, reply: None, headers: &[], status: None, payload: payload.to_vec(), metadata: None }
    }

    fn block(&self) -> Option<Vec<u8>> {
        let status = self.status.map_or(String::new(), |(code, text)| format!(" {code} {text}").trim_end().to_owned());
        let status = if status.is_empty() { status } else { format!(" {}", status.trim()) };
        (!self.headers.is_empty() || self.status.is_some()).then(|| block(self.headers, &status))
    }

    fn told(&self) -> Value {
        json!({
            "subject": self.subject,
            "reply": self.reply,
            "headers": self.headers,
            "status": self.status.map_or(0, |(code, _)| code),
            "payload_hex": hex(&self.payload),
            "metadata": self.metadata.map(|of| json!({
                "stream": of.stream,
                "consumer": of.consumer,
                "domain": of.domain,
                "stream_sequence": of.stream_sequence,
                "consumer_sequence": of.consumer_sequence,
                "delivered": of.delivered,
                "pending": of.pending,
                "timestamp_ns": of.timestamp_ns,
            })),
        })
    }
}

fn batches() -> Vec<(&'static str, u32, Vec<Sample>)> {
    let metadata = Metadata {
        stream: "ORDERS",
        consumer: "workers",
        domain: "",
        stream_sequence: 7,
        consumer_sequence: 3,
        delivered: 1,
        pending: 41,
        timestamp_ns: 1_767_225_600_123_456_789,
    };
    vec![
        ("nothing, idle", STATE_IDLE, vec![]),
        ("nothing, ended", STATE_ENDED, vec![]),
        ("one plain message", STATE_IDLE, vec![Sample::new("greet.joe", b"hello")]),
        ("an empty payload", STATE_MORE, vec![Sample::new("a", b"")]),
        ("bytes that are no text", STATE_IDLE, vec![Sample::new("a.b", &[0, 255, 10, 13, 128])]),
        (
            "reply and headers, ordered, repeated, empty and not ASCII",
            STATE_MORE,
            vec![
                Sample {
                    reply: Some("_INBOX.x.1"),
                    headers: &[("Trace", "1"), ("trace", "2"), ("Trace", "3"), ("Empty", ""), ("Wide", "grüße 🌍")],
                    ..Sample::new("müsli.日本", "grüße".as_bytes())
                },
                Sample::new("b", b"2"),
            ],
        ),
        (
            "a status of the server",
            STATE_IDLE,
            vec![Sample { status: Some((503, "")), ..Sample::new("_INBOX.x.2", b"") }],
        ),
        (
            "a status with a description and headers",
            STATE_IDLE,
            vec![Sample {
                status: Some((409, "Message Size Exceeds MaxBytes")),
                headers: &[("Nats-Pending-Messages", "5")],
                ..Sample::new("_INBOX.x.3", b"")
            }],
        ),
        (
            "messages of a consumer",
            STATE_MORE,
            vec![
                Sample {
                    reply: Some("$JS.ACK.ORDERS.workers.1.7.3.1767225600123456789.41"),
                    headers: &[("Nats-Msg-Id", "a-1")],
                    metadata: Some(metadata),
                    ..Sample::new("orders.new", b"{}")
                },
                Sample {
                    reply: Some("$JS.ACK.hub._.ORDERS.workers.2.9007199254740993.4.-1.0"),
                    metadata: Some(Metadata {
                        domain: "hub",
                        stream_sequence: 9_007_199_254_740_993,
                        consumer_sequence: 4,
                        delivered: 2,
                        pending: 0,
                        timestamp_ns: -1,
                        ..metadata
                    }),
                    ..Sample::new("orders.old", b"")
                },
            ],
        ),
        (
            "a message read from its stream",
            STATE_ENDED,
            vec![Sample {
                metadata: Some(Metadata { consumer: "", consumer_sequence: 0, delivered: 0, pending: 0, ..metadata }),
                ..Sample::new("orders.new", b"stored")
            }],
        ),
    ]
}

fn packed(state: u32, samples: &[Sample]) -> Vec<u8> {
    let blocks: Vec<Option<Vec<u8>>> = samples.iter().map(Sample::block).collect();
    let views: Vec<View<'_>> = samples
        .iter()
        .zip(&blocks)
        .map(|(sample, block)| View {
            subject: sample.subject.as_bytes(),
            reply: sample.reply.map(str::as_bytes),
            block: block.as_deref(),
            payload: &sample.payload,
            metadata: sample.metadata,
        })
        .collect();
    let mut out = Vec::new();
    pack(state, views.iter().copied(), &mut out);
    assert_eq!(out.len(), packed_len(views.iter().copied()), "the size is known before");
    let mut place = vec![0; out.len()];
    pack(state, views.iter().copied(), &mut place.as_mut_slice());
    assert_eq!(out, place);
    out
}

fn packed_pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in pairs {
        out.put_u32_le(name.len() as u32);
        out.put_slice(name.as_bytes());
        out.put_u32_le(value.len() as u32);
        out.put_slice(value.as_bytes());
    }
    out
}

/// Headers as a facade gives them.
const HEADERS: [(&str, &[(&str, &str)]); 4] = [
    ("none", &[]),
    ("one", &[("Trace", "1")]),
    ("ordered and repeated", &[("B", "1"), ("A", "2"), ("B", "3")]),
    ("empty and not ASCII", &[("Empty", ""), ("Wide", "grüße 🌍")]),
];

/// Packed headers that are refused as `invalid_argument`.
fn refused() -> Vec<(&'static str, Vec<u8>)> {
    let cut = packed_pairs(&[("Trace", "1")]);
    vec![
        ("a name with a colon", packed_pairs(&[("a:b", "1")])),
        ("a name with a blank", packed_pairs(&[("a b", "1")])),
        ("an empty name", packed_pairs(&[("", "1")])),
        ("a value with a line break", packed_pairs(&[("a", "1\r\nEvil: 2")])),
        ("cut in a length", cut[..2].to_vec()),
        ("cut in a value", cut[..cut.len() - 1].to_vec()),
        ("a length beyond the end", vec![255, 255, 255, 255, 1]),
        ("a value that is not UTF-8", [&packed_pairs(&[("a", "")])[..5], &[1, 0, 0, 0, 0xff]].concat()),
    ]
}

fn failures() -> Vec<Failure> {
    let mut missing = Failure::new("not_found", "stream `ORDERS` does not exist");
    missing.detail = json!({ "err_code": 10059 });
    let mut lost = Failure::new("timeout", "keine Antwort in der Zeit, schön");
    lost.applied = "maybe";
    let mut done = Failure::new("server", "");
    done.applied = "yes";
    vec![missing, lost, done]
}

fn all() -> Value {
    let batches: Vec<Value> = batches()
        .iter()
        .map(|(name, state, samples)| {
            let messages: Vec<Value> = samples.iter().map(Sample::told).collect();
            json!({ "name": name, "state": state, "messages": messages, "packed_hex": hex(&packed(*state, samples)) })
        })
        .collect();
    let headers: Vec<Value> = HEADERS
        .iter()
        .map(|(name, pairs)| json!({ "name": name, "headers": pairs, "packed_hex": hex(&packed_pairs(pairs)) }))
        .collect();
    let refused: Vec<Value> =
        refused().iter().map(|(name, packed)| json!({ "name": name, "packed_hex": hex(packed) })).collect();
    let failures: Vec<Value> = failures()
        .iter()
        .map(|failure| {
            let mut out = Vec::new();
            pack_failure(failure, &mut out);
            json!({
                "code": failure.code, "message": failure.message, "detail": failure.detail,
                "retryable": failure.retryable, "applied": failure.applied, "packed_hex": hex(&out),
            })
        })
        .collect();
    json!({
        "about": "Golden vectors of the packed layouts in bindings/ffi/src/batch.rs. Every language's reader and writer is tested against them.",
        "batches": batches,
        "headers": headers,
        "refused_headers": refused,
        "failures": failures,
    })
}

#[test]
fn vectors_are_what_the_packer_writes() {
    let all = all();
    let text = format!("{}\n", serde_json::to_string_pretty(&all).expect("JSON"));
    if std::env::var_os("NATSUNE_WRITE_VECTORS").is_some() {
        std::fs::write(FILE, &text).expect("written");
    }
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(FILE).expect("the vectors")).expect("JSON");
    assert_eq!(golden, all, "the layout changed: every reader must change with it");
}

#[test]
fn headers_go_both_ways() {
    for (name, pairs) in HEADERS {
        let mut block = Vec::new();
        unpack_headers(&packed_pairs(pairs), &mut block).expect(name);
        if pairs.is_empty() {
            assert!(block.is_empty());
            continue;
        }
        let (headers, _) = Headers::parse(&block).expect(name);
        assert_eq!(headers.iter().collect::<Vec<_>>(), pairs, "{name}");
        let mut encoded = Vec::new();
        headers.encode(&mut encoded);
        assert_eq!(encoded, block, "the same block as core's own");
        let mut again = Vec::new();
        pack_headers(&block, &mut again);
        assert_eq!(again, packed_pairs(pairs), "{name}");
        assert_eq!(again.len(), packed_headers_len(&block));
    }
}

#[test]
fn what_cannot_be_sent_is_refused_as_core_refuses_it() {
    for (name, packed) in refused() {
        let failure = unpack_headers(&packed, &mut Vec::new()).expect_err(name);
        assert_eq!(failure.code, "invalid_argument", "{name}");
    }
    for byte in 0u8..=255 {
        let name = [b'a', byte];
        let Ok(text) = std::str::from_utf8(&name) else { continue };
        let ours = unpack_headers(&packed_pairs(&[(text, "1")]), &mut Vec::new()).is_ok();
        assert_eq!(ours, Headers::new().append(text, "1").is_ok(), "{byte}");
        let ours = unpack_headers(&packed_pairs(&[("a", text)]), &mut Vec::new()).is_ok();
        assert_eq!(ours, Headers::new().append("a", text).is_ok(), "{byte}");
    }
}

/// Any bytes: no panic, and what is taken comes back.
#[test]
fn random_headers_never_panic() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..(seed % 40) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            bytes.push(if seed & 3 == 0 { (seed >> 8) as u8 } else { (seed >> 8) as u8 % 6 });
        }
        seed = seed.wrapping_add(0x9e37_79b9);
        let mut block = Vec::new();
        if unpack_headers(&bytes, &mut block).is_ok() && !bytes.is_empty() {
            Headers::parse(&block).expect("a block that core reads");
        }
        pack_headers(&bytes, &mut Vec::new());
    }
}
