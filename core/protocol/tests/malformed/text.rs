//! The text form of the frames in `client.txt` and `server.txt`: one frame a line, `class` TAB `bytes`.
//!
//! Bytes are printable ASCII as they are, `\r` `\n` `\t` `\\` and `\xNN`; `\*COUNT;` says how often the byte before it
//! stands there in all. Lines that begin with `#` are comments. Other tests may take this file in with `#[path]`.

/// The class and the bytes of each frame.
pub fn read(text: &str) -> Vec<(&str, Vec<u8>)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (class, frame) = line.split_once('\t').expect("class TAB bytes");
            (class, unescape(frame))
        })
        .collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            frame.push(byte);
            continue;
        }
        let (&code, after) = rest.split_first().expect("something behind a backslash");
        rest = after;
        match code {
            b'r' => frame.push(b'\r'),
            b'n' => frame.push(b'\n'),
            b't' => frame.push(b'\t'),
            b'\\' => frame.push(b'\\'),
            b'x' => {
                let (digits, after) = rest.split_at(2);
                rest = after;
                frame.push(u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).expect("two hex digits"));
            }
            b'*' => {
                let end = rest.iter().position(|&byte| byte == b';').expect("a semicolon");
                let count: usize = std::str::from_utf8(&rest[..end]).unwrap().parse().expect("a number");
                rest = &rest[end + 1..];
                let last = *frame.last().expect("a byte to repeat");
                frame.resize(frame.len() + count - 1, last);
            }
            other => panic!("unknown escape {other}"),
        }
    }
    frame
}

/// One frame as text.
#[allow(dead_code, reason = "only the test that owns the files writes them")]
pub fn escape(frame: &[u8]) -> String {
    let mut text = String::new();
    for run in frame.chunk_by(|a, b| a == b) {
        let once = match run[0] {
            b'\r' => "\\r".to_owned(),
            b'\n' => "\\n".to_owned(),
            b'\t' => "\\t".to_owned(),
            b'\\' => "\\\\".to_owned(),
            byte @ 0x20..0x7f => char::from(byte).to_string(),
            byte => format!("\\x{byte:02x}"),
        };
        if run.len() > 24 {
            text.push_str(&format!("{once}\\*{};", run.len()));
        } else {
            text.push_str(&once.repeat(run.len()));
        }
    }
    text
}
