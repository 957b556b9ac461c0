//! Malformed frames: the committed lists, and what the parser makes of them, whole and byte by byte.
//!
//! `NATSUNE_WRITE_FRAMES=1 cargo test -p natsune-protocol --test malformed` writes the lists anew.
#[path = "malformed/frames.rs"]
mod frames;
#[path = "malformed/text.rs"]
mod text;

use std::path::Path;

use natsune_protocol::{ClientOp, Limits, ParseError, Parser, ServerOp};

const HEAD: &str = "# Malformed frames, one a line: class TAB bytes (the form is explained in text.rs; written by malformed.rs).
# What a broker answers: unknown-op, missing-crlf: -ERR 'Unknown Protocol Operation' and close; control-line: -ERR 'maximum
# control line exceeded' and close; payload: -ERR 'Maximum Payload Violation' and close; bad-size, bad-arguments, header:
# close without a word; refused: -ERR 'Invalid Publish Subject' or 'Invalid Subject', the connection stays.
# What a client does: it closes; but after unreadable it goes on.
";

fn committed(name: &str, frames: Vec<(&'static str, Vec<u8>)>) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/malformed").join(name);
    let mut made = HEAD.to_owned();
    for (class, frame) in &frames {
        made.push_str(&format!("{class}\t{}\n", text::escape(frame)));
    }
    if std::env::var_os("NATSUNE_WRITE_FRAMES").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap();
    assert!(have == made, "{name} is not what frames.rs makes");
    let back: Vec<_> = text::read(&have);
    assert!(back.len() >= 200 && back == frames, "{name} does not read back");
    have
}

fn class_of(error: ParseError) -> &'static str {
    match error {
        ParseError::UnknownOp => "unknown-op",
        ParseError::ControlLine => "control-line",
        ParseError::Payload => "payload",
        ParseError::BadSize => "bad-size",
        ParseError::BadArguments => "bad-arguments",
        ParseError::Header => "header",
        ParseError::MissingCrlf => "missing-crlf",
        _ => "new",
    }
}

fn client_class(parser: &mut Parser, frame: &[u8]) -> Option<&'static str> {
    match parser.client_op(frame) {
        Ok(None) => None,
        Ok(Some((ClientOp::Refused(_), used))) if used == frame.len() => Some("refused"),
        Ok(Some(_)) => Some("fine"),
        Err(error) => Some(class_of(error)),
    }
}

fn server_class(parser: &mut Parser, frame: &[u8]) -> Option<&'static str> {
    match parser.server_op(frame) {
        Ok(None) => None,
        Ok(Some((ServerOp::Unreadable { .. }, used))) if used == frame.len() => Some("unreadable"),
        Ok(Some(_)) => Some("fine"),
        Err(error) => Some(class_of(error)),
    }
}

fn check(list: &str, limits: Limits, class: fn(&mut Parser, &[u8]) -> Option<&'static str>) {
    for (expected, frame) in text::read(list) {
        let shown = text::escape(&frame);
        assert_eq!(class(&mut Parser::new(limits), &frame), Some(expected), "{shown}");
        let mut parser = Parser::new(limits);
        let first = (0..=frame.len()).find_map(|end| class(&mut parser, &frame[..end]));
        assert_eq!(first, Some(expected), "byte by byte: {shown}");
    }
}

#[test]
fn client_frames() {
    check(&committed("client.txt", frames::client()), Limits::broker(), client_class);
}

#[test]
fn server_frames() {
    check(&committed("server.txt", frames::server()), Limits::client(), server_class);
}

#[test]
fn the_texts_are_those_of_nats_server() {
    let texts = [
        (ParseError::UnknownOp, Some("Unknown Protocol Operation")),
        (ParseError::MissingCrlf, Some("Unknown Protocol Operation")),
        (ParseError::ControlLine, Some("maximum control line exceeded")),
        (ParseError::Payload, Some("Maximum Payload Violation")),
        (ParseError::BadSize, None),
        (ParseError::BadArguments, None),
        (ParseError::Header, None),
    ];
    for (error, text) in texts {
        assert_eq!(error.err_text(), text);
    }
}
