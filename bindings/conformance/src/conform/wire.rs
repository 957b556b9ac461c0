//! The runner's own connection to a server: small, blocking, and none of the code under test.
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A message that the runner received.
#[derive(Clone, Debug)]
pub struct Received {
    pub sid: u64,
    pub subject: String,
    pub reply: Option<String>,
    pub headers: String,
    pub data: Vec<u8>,
}

#[derive(Default)]
struct Inbound {
    messages: Vec<Received>,
    pongs: u64,
    error: Option<String>,
}

/// The connection.
pub struct Wire {
    stream: TcpStream,
    inbound: Arc<(Mutex<Inbound>, Condvar)>,
    pings: u64,
    sids: u64,
}

impl Wire {
    /// Connects to `host:port` and waits for the first PONG.
    pub fn connect(address: &str, login: Option<&(String, String)>) -> Result<Wire, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("{address}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().map_err(|error| error.to_string())?);
        let mut info = String::new();
        reader.read_line(&mut info).map_err(|error| format!("{address}: {error}"))?;
        if !info.starts_with("INFO ") {
            return Err(format!("{address} does not say INFO: {info:.100}"));
        }
        let inbound: Arc<(Mutex<Inbound>, Condvar)> = Arc::default();
        let shared = inbound.clone();
        let mut answers = stream.try_clone().map_err(|error| error.to_string())?;
        std::thread::spawn(move || {
            let end = read(&mut reader, &mut answers, &shared);
            if let Ok(mut state) = shared.0.lock() {
                state.error.get_or_insert(end);
            }
            shared.1.notify_all();
        });
        let mut connect = json!({"verbose": false, "pedantic": false, "headers": true, "no_responders": true, "name": "runner", "lang": "runner", "version": "1", "protocol": 1});
        if let (Some((user, password)), Some(fields)) = (login, connect.as_object_mut()) {
            fields.insert("user".into(), user.as_str().into());
            fields.insert("pass".into(), password.as_str().into());
        }
        let mut wire = Wire { stream, inbound, pings: 0, sids: 0 };
        wire.write(format!("CONNECT {connect}\r\n").as_bytes())?;
        wire.flush()?;
        Ok(wire)
    }

    /// Waits until the server handled all that was sent.
    pub fn flush(&mut self) -> Result<(), String> {
        self.pings += 1;
        self.write(b"PING\r\n")?;
        let wanted = self.pings;
        self.wait(Duration::from_secs(10), |state| (state.pongs >= wanted).then_some(()))?
            .ok_or_else(|| "the runner's own connection got no PONG".into())
    }

    /// Subscribes, confirmed.
    pub fn subscribe(&mut self, subject: &str, queue: Option<&str>) -> Result<u64, String> {
        self.sids += 1;
        let queue = queue.map(|queue| format!("{queue} ")).unwrap_or_default();
        self.write(format!("SUB {subject} {queue}{}\r\n", self.sids).as_bytes())?;
        self.flush()?;
        Ok(self.sids)
    }

    /// Publishes one message; not flushed.
    pub fn publish(
        &mut self,
        subject: &str,
        reply: Option<&str>,
        headers: &[(String, String)],
        data: &[u8],
    ) -> Result<(), String> {
        let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
        let mut out = Vec::with_capacity(data.len() + 128);
        if headers.is_empty() {
            out.extend_from_slice(format!("PUB {subject} {reply}{}\r\n", data.len()).as_bytes());
        } else {
            let mut block = "NATS/1.0\r\n".to_owned();
            for (name, value) in headers {
                block.push_str(&format!("{name}: {value}\r\n"));
            }
            block.push_str("\r\n");
            out.extend_from_slice(
                format!("HPUB {subject} {reply}{} {}\r\n{block}", block.len(), block.len() + data.len()).as_bytes(),
            );
        }
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
        self.write(&out)
    }

    /// Asks and waits for one answer.
    pub fn request(&mut self, subject: &str, data: &[u8], within: Duration) -> Result<Option<Received>, String> {
        let inbox = format!("_RUNNER.{}.{}", std::process::id(), self.sids + 1);
        let sid = self.subscribe(&inbox, None)?;
        self.publish(subject, Some(&inbox), &[], data)?;
        let answer = self.wait(within, |state| state.messages.iter().find(|message| message.sid == sid).cloned())?;
        self.write(format!("UNSUB {sid}\r\n").as_bytes())?;
        Ok(answer)
    }

    /// What subscription `sid` received, once it is `count` messages or the time is up.
    pub fn received(&mut self, sid: u64, count: usize, within: Duration) -> Result<Vec<Received>, String> {
        let of = |state: &mut Inbound| {
            state.messages.iter().filter(|message| message.sid == sid).cloned().collect::<Vec<_>>()
        };
        let enough = self.wait(within, |state| {
            let found = of(state);
            (found.len() >= count).then_some(found)
        })?;
        match enough {
            Some(found) => Ok(found),
            None => Ok(of(&mut *self.inbound.0.lock().map_err(|error| error.to_string())?)),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| format!("the runner's own connection: {error}"))
    }

    fn wait<T>(&self, within: Duration, mut check: impl FnMut(&mut Inbound) -> Option<T>) -> Result<Option<T>, String> {
        let deadline = Instant::now() + within;
        let mut state = self.inbound.0.lock().map_err(|error| error.to_string())?;
        loop {
            if let Some(found) = check(&mut state) {
                return Ok(Some(found));
            }
            if let Some(error) = &state.error {
                return Err(format!("the runner's own connection ended: {error}"));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.inbound.1.wait_timeout(state, left).map_err(|error| error.to_string())?.0;
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn read(reader: &mut impl BufRead, answers: &mut TcpStream, shared: &(Mutex<Inbound>, Condvar)) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        match reader.read_line(&mut line) {
            Ok(0) => return "closed".to_owned(),
            Ok(_) => {}
            Err(error) => return error.to_string(),
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut message = None;
        match words.first().copied().unwrap_or_default() {
            "PING" => {
                if let Err(error) = answers.write_all(b"PONG\r\n") {
                    return error.to_string();
                }
            }
            "-ERR" => return line.trim().to_owned(),
            verb @ ("MSG" | "HMSG") => match body(reader, &words, verb == "HMSG") {
                Ok(found) => message = Some(found),
                Err(error) => return error,
            },
            _ => {}
        }
        let Ok(mut state) = shared.0.lock() else { return "poisoned".to_owned() };
        if words.first() == Some(&"PONG") {
            state.pongs += 1;
        }
        state.messages.extend(message);
        drop(state);
        shared.1.notify_all();
    }
}

fn body(reader: &mut impl Read, words: &[&str], with_headers: bool) -> Result<Received, String> {
    let sizes = if with_headers { 2 } else { 1 };
    let number = |back: usize| {
        words
            .len()
            .checked_sub(back)
            .and_then(|at| words.get(at))
            .and_then(|word| word.parse::<usize>().ok())
            .ok_or("a message line without a size")
    };
    let total = number(1)?;
    let header = if with_headers { number(2)? } else { 0 };
    let mut bytes = vec![0; total + 2];
    reader.read_exact(&mut bytes).map_err(|error| error.to_string())?;
    bytes.truncate(total);
    let data = bytes.split_off(header.min(total));
    Ok(Received {
        sid: words.get(2).and_then(|word| word.parse().ok()).unwrap_or_default(),
        subject: words.get(1).copied().unwrap_or_default().to_owned(),
        reply: (words.len() == 4 + sizes).then(|| words.get(3).copied().unwrap_or_default().to_owned()),
        headers: String::from_utf8_lossy(&bytes).into_owned(),
        data,
    })
}

/// The JSON of a message.
pub fn json_of(message: &Received) -> Result<Value, String> {
    serde_json::from_slice(&message.data).map_err(|error| format!("not JSON: {error}"))
}
