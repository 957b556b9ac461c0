//! Servers as processes and clients without a library, for the tests of authentication: ours and nats-server side by side.
#![allow(dead_code)] // each test binary uses its own part

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use data_encoding::BASE64URL_NOPAD;
use natsune_credentials::KeyPair;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program of nats-server; `None`: the comparison is skipped, except where everything must run.
pub fn nats_server() -> Option<PathBuf> {
    program("NATSUNE_NATS_SERVER")
}

/// The program an environment variable names.
pub fn program(variable: &str) -> Option<PathBuf> {
    match std::env::var_os(variable) {
        Some(path) => Some(path.into()),
        None if std::env::var("CI").is_ok_and(|ci| ci == "true") => panic!("{variable} is not set"),
        None => {
            println!("skipped: {variable} is not set");
            None
        }
    }
}

pub fn our_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_natsune-broker"))
}

/// A server in a process of its own; killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    pub dir: tempfile::TempDir,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a server on this configuration, with a free port.
    pub fn start(program: &Path, config: &str) -> Server {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("server.conf"), config).unwrap();
        Server::start_in(program, dir)
    }

    /// Starts a server on `server.conf` of a folder.
    pub fn start_in(program: &Path, dir: tempfile::TempDir) -> Server {
        let mut command = Command::new(program);
        command.arg("-c").arg(dir.path().join("server.conf")).args(["-a", "127.0.0.1", "-p", "-1"]);
        command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Mutex::new(String::new()));
        let mut address = String::new();
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                panic!("the server ended: {}", log.lock().unwrap());
            }
            log.lock().unwrap().push_str(&line);
            if let Some((_, listening)) = line.split_once("Listening for client connections on ") {
                address = listening.trim().to_owned();
            }
            if line.contains("Server is ready") {
                break;
            }
        }
        let rest = log.clone();
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut log = rest.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Server { child, address, dir, log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `kill -9`, then the same again in the same folder.
    pub fn kill_and_restart(mut self, program: &Path) -> Server {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let empty = tempfile::tempdir().unwrap();
        let dir = std::mem::replace(&mut self.dir, empty);
        Server::start_in(program, dir)
    }

    pub fn reload(&self) {
        let status = Command::new("kill").args(["-HUP", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that writes and reads protocol lines.
pub struct Raw {
    stream: BufReader<TcpStream>,
    pub info: serde_json::Value,
}

impl Raw {
    pub fn dial(address: &str) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Raw { stream: BufReader::new(stream), info: serde_json::Value::Null };
        let line = raw.line().expect("INFO");
        raw.info = serde_json::from_str(line.strip_prefix("INFO ").unwrap()).unwrap();
        raw
    }

    /// Dials, and sends CONNECT with these fields; `$sig(seed)` is not needed: see [`Raw::sign`].
    pub fn connect(address: &str, fields: serde_json::Value) -> Raw {
        let mut raw = Raw::dial(address);
        raw.say_connect(fields);
        raw
    }

    pub fn say_connect(&mut self, fields: serde_json::Value) {
        let mut document =
            serde_json::json!({"verbose": false, "pedantic": false, "protocol": 1, "headers": true, "echo": true});
        document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.send(&format!("CONNECT {document}\r\nPING\r\n"));
    }

    /// The signature of this connection's nonce.
    pub fn sign(&self, key: &KeyPair) -> String {
        let nonce = self.info["nonce"].as_str().expect("a nonce");
        BASE64URL_NOPAD.encode(&key.sign(nonce.as_bytes()).unwrap())
    }

    pub fn send(&mut self, text: &str) {
        // The server may have closed already: what it said before is still to be read.
        let _ = self.stream.get_mut().write_all(text.as_bytes());
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }

    /// Everything up to the PONG of a PING sent now, INFO apart; a close shows as `closed`.
    pub fn settle(&mut self, send: &str) -> Vec<String> {
        self.send(&format!("{send}PING\r\n"));
        self.until_pong()
    }

    pub fn until_pong(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match self.line() {
                None => {
                    seen.push("closed".to_owned());
                    return seen;
                }
                Some(line) if line == "PONG" => return seen,
                Some(line) if line.starts_with("INFO ") => self.info = serde_json::from_str(&line[5..]).unwrap(),
                Some(line) if line == "PING" => self.send("PONG\r\n"),
                Some(line) => seen.push(line),
            }
        }
    }

    /// Everything up to the end of the connection.
    pub fn until_closed(&mut self) -> Vec<String> {
        let mut seen = Vec::new();
        while let Some(line) = self.line() {
            if !line.starts_with("INFO ") {
                seen.push(line);
            }
        }
        seen
    }
}

/// Waits for a condition.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    started.elapsed()
}

/// Runs a program to its end: exit code, standard output, standard error.
pub fn run(program: &Path, args: &[&str]) -> (i32, String, String) {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = err.read_to_string(&mut text);
        text
    });
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (code, text, reader.join().unwrap())
}
