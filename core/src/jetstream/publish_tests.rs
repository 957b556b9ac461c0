//! The header block of a publish, and the answers that a stream gives.

use serde_json::json;

use super::*;

fn block(options: &PublishOptions, given: Option<&[u8]>) -> Result<String> {
    let mut out = b"subject".to_vec();
    options.write_block(given, &mut out)?;
    Ok(String::from_utf8(out.split_off(7)).unwrap())
}

fn answer(body: &str) -> Result<PublishAck> {
    read_ack(&Message::from_parts(None, "_INBOX.1", None, None, body.as_bytes()), "orders.new")
}

#[test]
fn nothing_asked_for_gives_no_headers() {
    assert_eq!(block(&PublishOptions::default(), None).unwrap(), "");
    assert_eq!(
        block(&PublishOptions::default(), Some(b"NATS/1.0\r\na: 1\r\n\r\n")).unwrap(),
        "NATS/1.0\r\na: 1\r\n\r\n"
    );
}

#[test]
fn every_option_is_a_header() {
    let options = PublishOptions {
        id: Some("x-1".into()),
        expected_stream: Some("ORDERS".into()),
        expected_last_sequence: Some(7),
        expected_last_message_id: Some("x-0".into()),
        expected_last_subject_sequence: Some(0),
        expected_last_subject: Some("orders.*".into()),
        ttl: Some(Duration::from_secs(60)),
        ..Default::default()
    };
    let expected = "Nats-Msg-Id: x-1\r\nNats-Expected-Stream: ORDERS\r\nNats-Expected-Last-Msg-Id: x-0\r\n\
        Nats-Expected-Last-Subject-Sequence-Subject: orders.*\r\nNats-Expected-Last-Sequence: 7\r\n\
        Nats-Expected-Last-Subject-Sequence: 0\r\nNats-TTL: 60\r\n\r\n";
    assert_eq!(block(&options, None).unwrap(), format!("NATS/1.0\r\n{expected}"));
    assert_eq!(block(&options, Some(b"NATS/1.0\r\na: 1\r\n\r\n")).unwrap(), format!("NATS/1.0\r\na: 1\r\n{expected}"));
    let mut headers = Headers::new();
    headers.append("b", "2").unwrap();
    let with = PublishOptions { headers: Some(headers), id: Some("i".into()), ..Default::default() };
    assert_eq!(block(&with, None).unwrap(), "NATS/1.0\r\nb: 2\r\nNats-Msg-Id: i\r\n\r\n");
}

#[test]
fn times_to_live_are_written_as_the_server_reads_them() {
    let of = |ttl| block(&PublishOptions { ttl: Some(ttl), ..Default::default() }, None).unwrap();
    assert!(of(Duration::MAX).contains("Nats-TTL: never\r\n"));
    assert!(of(Duration::from_millis(1500)).contains("Nats-TTL: 1500ms\r\n"));
}

#[test]
fn a_value_cannot_smuggle_a_header() {
    let options = PublishOptions { id: Some("a\r\nb: c".into()), ..Default::default() };
    assert_eq!(block(&options, None).unwrap_err().code(), Code::InvalidArgument);
    let options = PublishOptions { id: Some("a".into()), ..Default::default() };
    assert_eq!(block(&options, Some(b"NATS/1.0\r\n")).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn options_are_a_document_that_refuses_unknown_fields() {
    let options: PublishOptions = serde_json::from_value(json!({"id": "a", "ttl": 1.5, "timeout": 2})).unwrap();
    assert_eq!((options.ttl, options.timeout), (Some(Duration::from_millis(1500)), Some(Duration::from_secs(2))));
    assert!(serde_json::from_value::<PublishOptions>(json!({"ident": "a"})).is_err());
    assert!(serde_json::from_value::<PublishOptions>(json!({"ttl": -1})).is_err());
}

#[test]
fn acknowledgements_are_read_with_what_is_new_in_them() {
    let ack = answer(r#"{"stream":"ORDERS","seq":12}"#).unwrap();
    assert_eq!((ack.stream.as_str(), ack.sequence, ack.duplicate, ack.domain), ("ORDERS", 12, false, None));
    assert!(ack.extra.is_empty());
    let ack =
        answer(r#"{"type":"x","domain":"hub","val":"5","stream":"O","seq":18446744073709551615,"duplicate":true}"#)
            .unwrap();
    assert_eq!((ack.sequence, ack.duplicate, ack.domain.as_deref()), (u64::MAX, true, Some("hub")));
    assert_eq!(ack.extra["val"], "5");
    assert_eq!(serde_json::to_value(&ack).unwrap()["val"], "5");
}

#[test]
fn refusals_carry_the_numbers() {
    let error = answer(
        r#"{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 3"},"stream":"O","seq":0}"#,
    )
    .unwrap_err();
    assert_eq!((error.code(), error.detail().err_code, error.applied()), (Code::Conflict, Some(10071), Applied::No));
    assert!(error.message().contains("wrong last sequence: 3"), "{error}");
}

#[test]
fn an_answer_of_somebody_else_is_told_apart() {
    for body in ["", "ok", "[]", "{}", r#"{"stream":5}"#] {
        let error = answer(body).unwrap_err();
        assert_eq!((error.code(), error.applied()), (Code::Server, Applied::Maybe), "{body}");
    }
}
