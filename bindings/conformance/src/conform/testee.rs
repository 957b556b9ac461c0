//! The process under test: one JSON line in, one JSON line out.
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A started testee.
pub struct Testee {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Receiver<Result<Value, String>>,
    early: HashMap<u64, Value>,
    next: u64,
    errors: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Testee {
    /// Starts it and waits for its hello.
    pub fn start(mut command: Command, within: Duration) -> Result<Testee, String> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let shown = crate::sh::shown(&command);
        let mut child = command.spawn().map_err(|error| format!("{shown}: {error}"))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("{shown}: no pipes"));
        };
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let parsed = line.map_err(|error| error.to_string()).and_then(|line| {
                    serde_json::from_str(&line).map_err(|error| format!("not a JSON line ({error}): {line:.300}"))
                });
                if send.send(parsed).is_err() {
                    return;
                }
            }
        });
        let errors = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let kept = errors.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Ok(mut kept) = kept.lock()
                    && kept.len() < 64 * 1024
                {
                    kept.push_str(&line);
                    kept.push('\n');
                }
            }
        });
        let mut testee = Testee { child, stdin: Some(stdin), answers, early: HashMap::new(), next: 0, errors };
        let hello = testee
            .line(Instant::now() + within)
            .map_err(|problem| format!("{shown}: no hello: {problem}\n{}", testee.stderr()))?;
        if hello.get("hello").is_none() {
            return Err(format!("{shown}: the first line is not a hello: {hello}"));
        }
        Ok(testee)
    }

    /// Sends one request and gives its number.
    pub fn ask(&mut self, mut request: Value) -> Result<u64, String> {
        self.next += 1;
        if let Some(fields) = request.as_object_mut() {
            fields.insert("n".into(), self.next.into());
        }
        let stdin = self.stdin.as_mut().ok_or("the testee's stdin is closed")?;
        writeln!(stdin, "{request}")
            .and_then(|()| stdin.flush())
            .map_err(|error| format!("the testee is gone: {error}"))?;
        Ok(self.next)
    }

    /// The answer to request `number`.
    pub fn answer(&mut self, number: u64, within: Duration) -> Result<Value, String> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(answer) = self.early.remove(&number) {
                return Ok(answer);
            }
            let line = self.line(deadline)?;
            let of = line.get("n").and_then(Value::as_u64).ok_or_else(|| format!("an answer without n: {line}"))?;
            self.early.insert(of, line);
        }
    }

    /// True when it ended by itself with 0 after its stdin was closed; it is killed after `within`.
    pub fn end(mut self, within: Duration) -> Result<(), String> {
        drop(self.stdin.take());
        let deadline = Instant::now() + within;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("the testee ended with {status}\n{}", self.stderr())),
                Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Err("the testee did not end when its stdin was closed".to_owned()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// What it wrote to stderr so far.
    pub fn stderr(&self) -> String {
        self.errors.lock().map(|text| text.clone()).unwrap_or_default()
    }

    fn line(&mut self, deadline: Instant) -> Result<Value, String> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.answers.recv_timeout(left) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => Err("no answer in time".to_owned()),
            Err(RecvTimeoutError::Disconnected) => Err(format!("the testee ended\n{}", self.stderr())),
        }
    }
}

impl Drop for Testee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A testee that does nothing and says what is expected of it: every scenario must find it out.
pub fn liar() -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    let mut say = |value: Value| writeln!(out, "{value}").and_then(|()| out.flush()).map_err(|error| error.to_string());
    say(json!({"hello": {"language": "liar", "version": crate::workspace::VERSION}}))?;
    for line in std::io::stdin().lock().lines() {
        let request: Value =
            serde_json::from_str(&line.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let expected = request.get("expected").cloned().unwrap_or_default();
        let mut answer = super::values::pretend(&expected);
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("n".into(), request.get("n").cloned().unwrap_or_default());
        }
        say(answer)?;
    }
    Ok(())
}
