//! A bare connection for measuring: it reads and writes in large pieces and knows just enough of the protocol.
use crate::sh::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// So many bytes are read at once.
const CHUNK: usize = 1 << 18;

/// What every message holds.
pub const PAYLOAD: [u8; 128] = [b'x'; 128];

/// What a server says.
pub enum Op<'a> {
    /// A message without headers.
    Msg {
        sid: &'a [u8],
        reply: Option<&'a [u8]>,
        payload: &'a [u8],
    },
    /// What was sent before a PING has been processed.
    Pong,
    Ping,
    Other,
}

/// The connection.
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
    chunk: Vec<u8>,
}

impl Raw {
    /// Connects, subscribes to the subjects (sid 1, 2, ...) and waits until the server knows.
    pub fn connect(address: &str, subjects: &[&str]) -> Outcome<Raw> {
        let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut raw = Raw { stream, buffer: Vec::new(), chunk: vec![0; CHUNK] };
        let mut hello = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"bench\",\"lang\":\"raw\",\"version\":\"1\",\"protocol\":1,\"headers\":false,\"no_responders\":false}\r\n".to_vec();
        for (at, subject) in subjects.iter().enumerate() {
            hello.extend_from_slice(format!("SUB {subject} {}\r\n", at + 1).as_bytes());
        }
        raw.write(&hello)?;
        raw.processed()?;
        Ok(raw)
    }

    /// A handle that only ends the connection.
    pub fn ender(&self) -> Outcome<TcpStream> {
        self.stream.try_clone().map_err(|error| error.to_string())
    }

    /// A read that gives nothing for so long is an error.
    pub fn patience(&self, time: Duration) -> Outcome {
        self.stream.set_read_timeout(Some(time)).map_err(|error| error.to_string())
    }

    /// Writes all of it.
    pub fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.stream.write_all(bytes).map_err(|error| format!("the bare connection: {error}"))
    }

    /// Waits until the server processed all that was written. What else comes meanwhile is not looked at.
    pub fn processed(&mut self) -> Outcome {
        self.write(b"PING\r\n")?;
        let mut done = false;
        while !done {
            self.read(|op| {
                done |= matches!(op, Op::Pong);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Reads once and gives all that is complete.
    pub fn read(&mut self, mut each: impl FnMut(Op<'_>) -> Outcome) -> Outcome {
        let count = self.stream.read(&mut self.chunk).map_err(|error| format!("the bare connection: {error}"))?;
        if count == 0 {
            return Err("the server closed the bare connection".to_owned());
        }
        self.buffer.extend_from_slice(self.chunk.get(..count).unwrap_or_default());
        let (mut at, mut pings) = (0, 0);
        while let Some((op, used)) = parse(self.buffer.get(at..).unwrap_or_default())? {
            at += used;
            match op {
                Op::Ping => pings += 1,
                op => each(op)?,
            }
        }
        self.buffer.drain(..at);
        for _ in 0..pings {
            self.write(b"PONG\r\n")?;
        }
        Ok(())
    }
}

/// The first operation and how many bytes it took.
fn parse(bytes: &[u8]) -> Outcome<Option<(Op<'_>, usize)>> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = bytes.get(..end).unwrap_or_default().trim_ascii_end();
    let strange = || format!("a server says {:.200}", String::from_utf8_lossy(line));
    if let Some(rest) = line.strip_prefix(b"MSG ") {
        let mut words = rest.split(|byte| *byte == b' ');
        let (_subject, sid, third, fourth) = (words.next(), words.next(), words.next(), words.next());
        let (reply, size) = if fourth.is_some() { (third, fourth) } else { (None, third) };
        let size = size.and_then(|size| std::str::from_utf8(size).ok()?.parse::<usize>().ok()).ok_or_else(strange)?;
        let total = end + 1 + size + 2;
        return match bytes.get(end + 1..end + 1 + size) {
            Some(payload) if bytes.len() >= total => {
                Ok(Some((Op::Msg { sid: sid.unwrap_or_default(), reply, payload }, total)))
            }
            _ => Ok(None),
        };
    }
    let op = match line {
        b"PONG" => Op::Pong,
        b"PING" => Op::Ping,
        line if line.starts_with(b"-ERR") || line.starts_with(b"HMSG") => return Err(strange()),
        _ => Op::Other,
    };
    Ok(Some((op, end + 1)))
}

/// Appends one publish.
pub fn publish(out: &mut Vec<u8>, subject: &[u8], reply: Option<&[u8]>, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    out.extend_from_slice(subject);
    out.push(b' ');
    if let Some(reply) = reply {
        out.extend_from_slice(reply);
        out.push(b' ');
    }
    out.extend_from_slice(payload.len().to_string().as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Publishes `count` messages as fast as the socket takes them.
pub fn flood(raw: &mut Raw, subject: &str, count: u64) -> Outcome {
    const BATCH: u64 = 512;
    let batch = |size: u64| {
        let mut out = Vec::new();
        (0..size).for_each(|_| publish(&mut out, subject.as_bytes(), None, &PAYLOAD));
        out
    };
    let full = batch(BATCH);
    for _ in 0..count / BATCH {
        raw.write(&full)?;
    }
    raw.write(&batch(count % BATCH))
}
