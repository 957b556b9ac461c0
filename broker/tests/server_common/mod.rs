//! Raw sockets for the tests of the server: what a client would never send, and what it would never notice.
#![allow(dead_code)] // each test binary uses its own part

use std::time::Duration;

use natsune_broker::Broker;
use natsune_broker::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Everything is allowed to take its time, nothing for ever.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("took too long")
}

/// A quiet server on a free port.
pub async fn start(config: Config) -> Broker {
    Broker::start(config).await.expect("the broker starts")
}

/// A configuration text, on a free port, without a log.
pub fn config(text: &str) -> Config {
    let mut config = Config::parse_str(text).expect("the configuration is valid");
    config.port = 0;
    config.log = natsune_broker::config::LogConfig::off();
    config
}

/// Host and port of a server's URL.
pub fn address(url: &str) -> String {
    url.split("//").nth(1).expect("a URL").to_owned()
}

/// A connection without any client library.
pub struct Raw {
    stream: TcpStream,
    /// Read, not yet looked at.
    pub seen: Vec<u8>,
}

impl Raw {
    pub async fn connect(broker: &Broker) -> Raw {
        Raw::dial(&address(&broker.url())).await
    }

    pub async fn dial(address: &str) -> Raw {
        let stream = within(TcpStream::connect(address)).await.expect("connects");
        stream.set_nodelay(true).expect("nodelay");
        Raw { stream, seen: Vec::new() }
    }

    /// Connected, CONNECT sent, INFO read.
    pub async fn hello(broker: &Broker, options: &str) -> Raw {
        let mut raw = Raw::connect(broker).await;
        raw.line().await;
        raw.send(&format!("CONNECT {{\"verbose\":false,\"pedantic\":false{options}}}\r\n")).await;
        raw
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.expect("sends");
    }

    /// The same, when the server may have closed already.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within(self.stream.write_all(bytes.as_ref())).await.is_ok()
    }

    async fn more(&mut self) -> bool {
        self.seen.reserve(64 * 1024);
        matches!(within(self.stream.read_buf(&mut self.seen)).await, Ok(1..))
    }

    /// The next line without its end.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.seen.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.seen.drain(..end + 2).collect();
                return String::from_utf8_lossy(&line[..end]).into_owned();
            }
            assert!(self.more().await, "closed before the end of a line: {:?}", String::from_utf8_lossy(&self.seen));
        }
    }

    /// Everything up to and including `text`.
    pub async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen.windows(text.len()).position(|part| part == text.as_bytes()) {
                let all: Vec<u8> = self.seen.drain(..at + text.len()).collect();
                return String::from_utf8_lossy(&all).into_owned();
            }
            assert!(self.more().await, "closed before {text:?}: {:?}", String::from_utf8_lossy(&self.seen));
        }
    }

    /// Reads that many bytes and forgets them.
    pub async fn length(&mut self, mut length: usize) {
        while self.seen.len() < length {
            length -= self.seen.len();
            self.seen.clear();
            assert!(self.more().await, "closed {length} bytes too early");
        }
        self.seen.drain(..length);
    }

    /// Sends PING and gives what came before its PONG.
    pub async fn fence(&mut self) -> String {
        self.send("PING\r\n").await;
        let all = self.until("PONG\r\n").await;
        all[..all.len() - 6].to_owned()
    }

    /// Everything until the server closes.
    pub async fn rest(&mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&std::mem::take(&mut self.seen)).into_owned()
    }

    /// Everything until there were `pongs` PONGs or the server closed; then `<EOF>` stands at the end.
    pub async fn answer(&mut self, pongs: usize) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.seen).into_owned();
            if pongs > 0 && text.matches("PONG\r\n").count() >= pongs {
                return text;
            }
            if !self.more().await {
                return String::from_utf8_lossy(&self.seen).into_owned() + "<EOF>";
            }
        }
    }
}
#[path = "../../../core/protocol/tests/malformed/text.rs"]
mod text;

/// The frames of the list that the wire's own tests use, with their class.
pub fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    text::read(include_str!("../../../core/protocol/tests/malformed/client.txt"))
}
