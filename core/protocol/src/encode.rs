//! Operations appended to a buffer. Nothing here fails: subjects and texts are checked by the caller.

/// `PUB`, or `HPUB` when there is a header block.
pub fn pub_(out: &mut Vec<u8>, subject: &str, reply: Option<&str>, headers: Option<&[u8]>, payload: &[u8]) {
    let block = headers.unwrap_or_default();
    let reply = reply.unwrap_or_default();
    out.reserve(subject.len() + reply.len() + block.len() + payload.len() + 56);
    out.extend_from_slice(if headers.is_some() { b"HPUB " } else { b"PUB " });
    out.extend_from_slice(subject.as_bytes());
    message(out, reply, headers.map(<[u8]>::len), block, payload);
}

/// `MSG`, or `HMSG` when there is a header block.
pub fn msg(out: &mut Vec<u8>, subject: &str, sid: &[u8], reply: Option<&str>, headers: Option<&[u8]>, payload: &[u8]) {
    let block = headers.unwrap_or_default();
    let reply = reply.unwrap_or_default();
    out.reserve(subject.len() + sid.len() + reply.len() + block.len() + payload.len() + 56);
    out.extend_from_slice(if headers.is_some() { b"HMSG " } else { b"MSG " });
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    out.extend_from_slice(sid);
    message(out, reply, headers.map(<[u8]>::len), block, payload);
}

/// What the two have in common: ` [reply] [header size] size`, block, payload.
fn message(out: &mut Vec<u8>, reply: &str, header: Option<usize>, block: &[u8], payload: &[u8]) {
    out.push(b' ');
    if !reply.is_empty() {
        out.extend_from_slice(reply.as_bytes());
        out.push(b' ');
    }
    if let Some(header) = header {
        number(out, header as u64);
        out.push(b' ');
    }
    number(out, (block.len() + payload.len()) as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(block);
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// `SUB`.
pub fn sub(out: &mut Vec<u8>, subject: &str, queue: Option<&str>, sid: u64) {
    let queue = queue.unwrap_or_default();
    out.reserve(subject.len() + queue.len() + 32);
    out.extend_from_slice(b"SUB ");
    out.extend_from_slice(subject.as_bytes());
    out.push(b' ');
    if !queue.is_empty() {
        out.extend_from_slice(queue.as_bytes());
        out.push(b' ');
    }
    number(out, sid);
    out.extend_from_slice(b"\r\n");
}

/// `UNSUB`; with `max`, after that many messages counted from the subscription's start.
pub fn unsub(out: &mut Vec<u8>, sid: u64, max: Option<u64>) {
    out.extend_from_slice(b"UNSUB ");
    number(out, sid);
    if let Some(max) = max {
        out.push(b' ');
        number(out, max);
    }
    out.extend_from_slice(b"\r\n");
}

/// `PING`.
pub fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PING\r\n");
}

/// `PONG`.
pub fn pong(out: &mut Vec<u8>) {
    out.extend_from_slice(b"PONG\r\n");
}

/// `+OK`.
pub fn ok(out: &mut Vec<u8>) {
    out.extend_from_slice(b"+OK\r\n");
}

/// `-ERR 'text'`. Line ends inside the text become blanks: it often repeats what a peer sent.
pub fn err(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"-ERR '");
    out.extend(text.bytes().map(|byte| if byte == b'\r' || byte == b'\n' { b' ' } else { byte }));
    out.extend_from_slice(b"'\r\n");
}

/// `INFO` with a JSON text on one line.
pub fn info(out: &mut Vec<u8>, json: &[u8]) {
    document(out, b"INFO ", json);
}

/// `CONNECT` with a JSON text on one line.
pub fn connect(out: &mut Vec<u8>, json: &[u8]) {
    document(out, b"CONNECT ", json);
}

fn document(out: &mut Vec<u8>, verb: &[u8], json: &[u8]) {
    out.reserve(verb.len() + json.len() + 2);
    out.extend_from_slice(verb);
    out.extend_from_slice(json);
    out.extend_from_slice(b"\r\n");
}

/// A number in decimal digits.
pub fn number(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0u8; 20];
    let mut left = value;
    let mut at = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (left % 10) as u8;
        left /= 10;
        at -= 1;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}
