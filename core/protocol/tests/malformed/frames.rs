//! Makes the malformed frames, each by what is wrong with it, without asking the parser.

/// Class and bytes.
type Frame = (&'static str, Vec<u8>);

const BAD_NUMBERS: &[&str] = &[
    "-1",
    "+1",
    "-0",
    "0x10",
    "1e3",
    "1.0",
    "1,0",
    "a",
    "1a",
    "a1",
    "1_000",
    "'1'",
    "9999999999",
    "00000000001",
    "18446744073709551616",
    "99999999999999999999999999",
    "\u{ff11}",
    "\u{661}",
    "1\0",
    "\0",
    "1\r1",
];

/// Bytes that are no UTF-8: stray, overlong, surrogate, cut off, out of range.
const BAD_TEXT: &[&[u8]] = &[
    b"\xff",
    b"a\xfe",
    b"\x80",
    b"a.\xc3",
    b"\xc3\x28",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"a.\xe2\x82.b",
];

struct Frames(Vec<Frame>);

impl Frames {
    fn add(&mut self, class: &'static str, frame: impl AsRef<[u8]>) {
        let frame = (class, frame.as_ref().to_vec());
        if !self.0.contains(&frame) {
            self.0.push(frame);
        }
    }

    /// Each verb with one letter that is not its own, without what must follow it, and things that are no verb at all.
    fn verbs(&mut self, verbs: &[&str], with_arguments: &[&str], strangers: &[&str]) {
        for verb in verbs {
            for at in 0..verb.len() {
                for wrong in ["x", "\0", "\u{e4}", " "] {
                    self.add("unknown-op", format!("{}{wrong}{} a 1\r\n", &verb[..at], &verb[at + 1..]));
                }
            }
        }
        for verb in with_arguments {
            for after in ["\r\n", "\n", "x a 1\r\n", "\0a 1\r\n", "{}\r\n", "'a'\r\n", ":1\r\n", "\u{a0}a 1\r\n"] {
                self.add("unknown-op", format!("{verb}{after}"));
            }
        }
        for stranger in strangers {
            self.add("unknown-op", stranger);
        }
        for noise in [
            "\r\n",
            "\n",
            " PING\r\n",
            "\tPING\r\n",
            "\r\nPING\r\n",
            "\0",
            "\u{feff}PING\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "{\"op\":\"PING\"}\r\n",
            "*1\r\n$4\r\nPING\r\n",
            "\u{ff30}ING\r\n",
            "P\r\n",
            "PIN\r\n",
            "PO\r\n",
            "+\r\n",
            "-\r\n",
        ] {
            self.add("unknown-op", noise);
        }
        self.add("unknown-op", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        self.add("unknown-op", b"\xff\xfe\xfd");
    }

    /// `head` is all of the line before reply and sizes.
    fn sizes(&mut self, plain: &str, with_headers: &str) {
        for bad in BAD_NUMBERS {
            for line in [
                format!("{plain} {bad}\r\n"),
                format!("{plain} re.ply {bad}\r\n"),
                format!("{with_headers} {bad} 12\r\n"),
                format!("{with_headers} 12 {bad}\r\n"),
                format!("{with_headers} re.ply 12 {bad}\r\n"),
                format!("{with_headers} re.ply {bad} 12\r\n"),
            ] {
                self.add("bad-size", line);
            }
        }
        for (header, total) in
            [(1, 0), (2, 1), (12, 11), (13, 12), (100, 99), (999_999_999, 0), (999_999_999, 999_999_998)]
        {
            self.add("header", format!("{with_headers} {header} {total}\r\n"));
            self.add("header", format!("{with_headers} r {header} {total}\r\nNATS/1.0\r\n\r\n\r\n"));
        }
        for blank in [" ", "\t", "   ", " \t "] {
            let line = |words: &[&str]| format!("{}\r\n", words.join(blank));
            self.add("bad-arguments", line(&[plain]));
            self.add("bad-arguments", line(&[plain, "r", "r", "1"]));
            self.add("bad-arguments", line(&[plain, "r", "1", "1", "1"]));
            self.add("bad-arguments", line(&[with_headers]));
            self.add("bad-arguments", line(&[with_headers, "1"]));
            self.add("bad-arguments", line(&[with_headers, "r", "r", "1", "1"]));
            self.add("bad-arguments", line(&[with_headers, "a", "b", "c", "d", "1", "1"]));
        }
        for body in ["PING\r\n", "abcX\r\n", "abc\n\r", "abc\n", "abc\rX", "abc\r\r\n", "abc\0\r\n", "abcdef\r\n"] {
            for reply in ["", " r"] {
                self.add("missing-crlf", format!("{plain}{reply} 3\r\n{body}"));
                self.add("missing-crlf", format!("{with_headers}{reply} 1 3\r\n{body}"));
            }
        }
        for body in ["x", "\n", "\rx", "PING\r\n", "\r\r\n"] {
            self.add("missing-crlf", format!("{plain} 0\r\n{body}"));
        }
    }

    fn too_large(&mut self, plain: &str, with_headers: &str, most: usize) {
        for size in [most + 1, most + 2, most * 2, 999_999_998, 999_999_999] {
            self.add("payload", format!("{plain} {size}\r\n"));
            self.add("payload", format!("{plain} r {size}\r\nx"));
            self.add("payload", format!("{with_headers} 12 {size}\r\n"));
            self.add("payload", format!("{with_headers} r {size} {size}\r\n"));
        }
    }

    fn too_long(&mut self, verbs: &[&str], most: usize) {
        for verb in verbs {
            for fill in ["a", " ", "\t", "{", "\r", "\0"] {
                // Without a line end, so that nothing but the length can be wrong.
                self.add("control-line", format!("{verb} {}", fill.repeat(most + 20)));
            }
            self.add("control-line", format!("{verb} {} 0\r\n\r\n", "a".repeat(most)));
        }
    }
}

/// What a client may send to a broker, under `Limits::broker()`.
pub fn client() -> Vec<Frame> {
    let mut frames = Frames(Vec::new());
    frames.verbs(
        &["PUB", "HPUB", "SUB", "UNSUB", "CONNECT", "PING", "PONG"],
        &["PUB", "HPUB", "SUB", "UNSUB", "CONNECT", "INFO"],
        &[
            "+OK\r\n",
            "-ERR 'x'\r\n",
            "MSG a 1 1\r\nx\r\n",
            "HMSG a 1 0 1\r\nx\r\n",
            "RS+ a b\r\n",
            "LS+ a\r\n",
            "A+ a\r\n",
            "RMSG a b 1\r\n",
        ],
    );
    frames.sizes("PUB a.b", "HPUB a.b");
    frames.too_large("PUB a", "HPUB a", 1024 * 1024);
    frames.too_long(&["PUB", "HPUB", "SUB", "UNSUB", "CONNECT"], 4096);
    for line in [
        "PUB  \r\n",
        "PUB \t \r\n",
        "HPUB \r\n",
        "SUB \r\n",
        "SUB a\r\n",
        "SUB a b c d\r\n",
        "SUB a b c d e f\r\n",
        "SUB  a  \r\n",
        "UNSUB \r\n",
        "UNSUB \t\r\n",
        "UNSUB 1 2 3\r\n",
        "UNSUB 1 2 3 4\r\n",
        "SUB a 1\0\r\n",
        "SUB a q 1\r1\r\n",
        "SUB a \x1b[0m\r\n",
    ] {
        frames.add("bad-arguments", line);
    }
    frames.add("bad-arguments", b"SUB a \xff\r\n");
    for byte in (0u8..32).filter(|byte| !matches!(byte, b'\t' | b'\n')) {
        let bad = format!("a{}b", char::from(byte));
        frames.add("refused", format!("PUB {bad} 1\r\nx\r\n"));
        frames.add("refused", format!("SUB {bad} 1\r\n"));
    }
    for bad in BAD_TEXT {
        frames.add("refused", [b"PUB ", *bad, b" 0\r\n\r\n"].concat());
        frames.add("refused", [b"PUB a ", *bad, b" 2\r\nhi\r\n"].concat());
        frames.add("refused", [b"HPUB ", *bad, b" r 1 1\r\nx\r\n"].concat());
        frames.add("refused", [b"SUB ", *bad, b" q 1\r\n"].concat());
        frames.add("refused", [b"SUB a ", *bad, b" 1\r\n"].concat());
    }
    for reply in ["r\0", "\x0b", "r\rMSG"] {
        frames.add("refused", format!("PUB a {reply} 0\r\n\r\n"));
    }
    frames.0
}

/// What a server may send to a client, under `Limits::client()`.
pub fn server() -> Vec<Frame> {
    let mut frames = Frames(Vec::new());
    frames.verbs(
        &["MSG", "HMSG", "PING", "PONG", "INFO", "+OK", "-ERR"],
        &["MSG", "HMSG", "INFO"],
        &[
            "PUB a 1\r\nx\r\n",
            "HPUB a 0 1\r\nx\r\n",
            "SUB a 1\r\n",
            "UNSUB 1\r\n",
            "CONNECT {}\r\n",
            "OK\r\n",
            "ERR 'x'\r\n",
            "RMSG a b 1\r\n",
        ],
    );
    frames.sizes("MSG a.b 7", "HMSG a.b 7");
    frames.too_large("MSG a 7", "HMSG a 7", 64 * 1024 * 1024);
    frames.too_long(&["MSG", "HMSG", "-ERR"], 64 * 1024);
    frames.too_long(&["INFO"], 1024 * 1024);
    for sid in ["x", "-1", "+1", "1.5", "0x1", "99999999999999999999", "18446744073709551616", "1\0", "\u{ff11}"] {
        frames.add("bad-arguments", format!("MSG a {sid} 0\r\n\r\n"));
        frames.add("bad-arguments", format!("MSG a {sid} r 0\r\n\r\n"));
        frames.add("bad-arguments", format!("HMSG a {sid} 0 0\r\n\r\n"));
    }
    for line in ["MSG  \r\n", "MSG a\r\n", "MSG \t a \t\r\n", "HMSG \r\n", "HMSG a\r\n", "MSG a r 7 1\r\nx\r\n"] {
        frames.add("bad-arguments", line);
    }
    for bad in BAD_TEXT {
        frames.add("unreadable", [b"MSG ", *bad, b" 7 0\r\n\r\n"].concat());
        frames.add("unreadable", [b"MSG a 7 ", *bad, b" 2\r\nhi\r\n"].concat());
        frames.add("unreadable", [b"HMSG ", *bad, b" 7 r 1 1\r\nx\r\n"].concat());
    }
    frames.0
}
