//! What the tests of the client share: the real server, servers that follow a script, waiting with a deadline.
#![allow(dead_code)] // Each test binary uses its own part.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use natsune::{Client, ConnectOptions};
use natsune_protocol::{ClientOp, Limits, Parser};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The longest that anything in a test may take.
pub const LIMIT: Duration = Duration::from_secs(60);

/// `future`, or a failure that says what did not happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {LIMIT:?}: {what}"),
    }
}

/// Waits until `holds`, looking again and again.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    soon(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Options for one server, with short delays so that tests are quick, and long limits so that a busy machine is no failure.
pub fn options(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new();
    options.servers = vec![url.to_owned()];
    options.reconnect_delay = Duration::from_millis(5);
    options.reconnect_delay_max = Duration::from_millis(50);
    // The keep-alive must not hide a wake that was lost.
    options.ping_interval = Duration::from_secs(3600);
    let patient = LIMIT / 2;
    (options.connect_timeout, options.request_timeout, options.subscribe_timeout) = (patient, patient, patient);
    options
}

/// A client with these options.
pub async fn client_with(options: ConnectOptions) -> Client {
    soon("connect", natsune::connect_with(options)).await.expect("connect")
}

/// A client of one server.
pub async fn client(url: &str) -> Client {
    client_with(options(url)).await
}

/// The real server as a child process.
pub struct NatsServer {
    program: PathBuf,
    args: Vec<String>,
    dir: tempfile::TempDir,
    /// Of its configuration file, which a restart reads again.
    _config: Option<tempfile::TempDir>,
    child: Child,
    pub port: u16,
}

impl NatsServer {
    /// Starts the server on a free port of the loopback with these arguments more. None, with a word on standard output:
    /// there is no such program here. In CI that is a failure.
    pub fn start(args: &[&str]) -> Option<NatsServer> {
        let Some(program) = std::env::var_os("NATSUNE_NATS_SERVER").map(PathBuf::from) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "NATSUNE_NATS_SERVER is not set");
            println!("skipped: NATSUNE_NATS_SERVER is not set");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary folder");
        let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        let (child, port) = launch(&program, &dir, "-1", &args);
        Some(NatsServer { program, args, dir, _config: None, child, port })
    }

    /// Starts it with a configuration file of this text.
    pub fn with_config(text: &str) -> Option<NatsServer> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("server.conf");
        std::fs::write(&path, text).expect("the configuration file");
        let mut server = NatsServer::start(&["-c", path.to_str().expect("a readable path")])?;
        server._config = Some(dir);
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without a goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) {
        self.kill();
        let (child, port) = launch(&self.program, &self.dir, &self.port.to_string(), &self.args);
        assert_eq!(port, self.port);
        self.child = child;
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn launch(program: &PathBuf, dir: &tempfile::TempDir, port: &str, args: &[String]) -> (Child, u16) {
    let ports = dir.path().join(format!("ports-{}", rand_name()));
    std::fs::create_dir(&ports).expect("the ports folder");
    let mut child = Command::new(program)
        .args(["-a", "127.0.0.1", "-p", port, "--ports_file_dir"])
        .arg(&ports)
        .args(args)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the server starts");
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = std::fs::read_dir(&ports).expect("the ports folder").flatten().find_map(|entry| {
            let text = std::fs::read_to_string(entry.path()).ok()?;
            let ports: serde_json::Value = serde_json::from_str(&text).ok()?;
            let url = ports["nats"].get(0)?.as_str()?;
            url.rsplit_once(':')?.1.parse().ok()
        });
        if let Some(port) = found {
            return (child, port);
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("the server ended at once: {status}");
        }
        assert!(Instant::now() < deadline, "the server did not write its ports");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn rand_name() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An operation of a client, owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Connect(serde_json::Value),
    Ping,
    Pong,
    Pub { subject: String, reply: Option<String>, headers: Option<Vec<u8>>, payload: Vec<u8> },
    Sub { subject: String, queue: Option<String>, sid: u64 },
    Unsub { sid: u64, max: Option<u64> },
}

/// A server that does what a test tells it.
pub struct FakeServer {
    listener: TcpListener,
}

impl FakeServer {
    pub async fn start() -> FakeServer {
        FakeServer { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("an address").port()
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port())
    }

    /// The next connection, before anything is said.
    pub async fn accept(&self) -> FakeConnection {
        let (stream, _) = soon("a connection to the fake server", self.listener.accept()).await.expect("accept");
        stream.set_nodelay(true).expect("no delay");
        FakeConnection::new(stream)
    }

    /// The next connection after INFO, CONNECT, SUBs and PING; answered with PONG. What was subscribed comes along.
    pub async fn accept_client(&self) -> (FakeConnection, Vec<Op>) {
        let mut connection = self.accept().await;
        let subs =
            connection.greet(r#"{"server_id":"FAKE","version":"2.15.0","headers":true,"max_payload":1048576}"#).await;
        (connection, subs)
    }
}

/// One connection to a fake server.
pub struct FakeConnection {
    pub stream: TcpStream,
    buf: Vec<u8>,
    parser: Parser,
    /// Everything that the client sent.
    pub received: Vec<u8>,
}

impl FakeConnection {
    pub fn new(stream: TcpStream) -> FakeConnection {
        let limits = Limits { control_line: 1 << 20, payload: 1 << 30, info: 1 << 20 };
        FakeConnection { stream, buf: Vec::new(), parser: Parser::new(limits), received: Vec::new() }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.expect("write to the client");
    }

    /// INFO, then everything up to the first PING, which is answered.
    pub async fn greet(&mut self, info: &str) -> Vec<Op> {
        self.send(format!("INFO {info}\r\n")).await;
        let mut ops = Vec::new();
        loop {
            match self.op().await {
                Op::Ping => break,
                op => ops.push(op),
            }
        }
        assert!(matches!(ops.first(), Some(Op::Connect(_))), "CONNECT comes first: {ops:?}");
        self.send("PONG\r\n").await;
        ops
    }

    /// The next operation of the client.
    pub async fn op(&mut self) -> Op {
        soon("an operation of the client", self.next_op()).await.expect("the client is still there")
    }

    /// The next operation that is not PING; PINGs are answered.
    pub async fn op_but_ping(&mut self) -> Op {
        loop {
            match self.op().await {
                Op::Ping => self.send("PONG\r\n").await,
                op => return op,
            }
        }
    }

    /// The next operation; none when the client closed.
    pub async fn next_op(&mut self) -> Option<Op> {
        loop {
            if let Some((op, used)) = self.parser.client_op(&self.buf).expect("the client speaks NATS") {
                let op = own(op);
                self.buf.drain(..used);
                return Some(op);
            }
            if self.read_some().await == 0 {
                return None;
            }
        }
    }

    /// Reads whatever comes; 0 at the end.
    pub async fn read_some(&mut self) -> usize {
        let before = self.buf.len();
        let n = self.stream.read_buf(&mut self.buf).await.unwrap_or(0);
        self.received.extend_from_slice(&self.buf[before..]);
        n
    }

    /// A server that offers no TLS: the client that wants it goes without a byte.
    pub async fn hears_nothing(&mut self, info: &str) {
        self.send(format!("INFO {info}\r\n")).await;
        while self.read_some().await > 0 {}
        assert!(self.received.is_empty(), "{:?}", String::from_utf8_lossy(&self.received));
    }

    /// A server that claims TLS and then does not speak it: it gets a TLS greeting, and nothing of the secret.
    pub async fn hears_a_tls_greeting(&mut self, secret: &[u8]) {
        self.send("INFO {\"tls_required\":true}\r\n").await;
        assert!(self.read_some().await > 0);
        self.send("-ERR 'no'\r\n").await;
        while self.read_some().await > 0 {}
        assert_eq!(self.received.first(), Some(&0x16), "a TLS handshake record");
        assert!(!self.received.windows(secret.len()).any(|w| w == secret));
    }

    /// Breaks the connection with a reset, so that nothing more is delivered.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// A message for the client.
    pub async fn msg(&mut self, subject: &str, sid: u64, reply: Option<&str>, payload: &[u8]) {
        let mut out = Vec::new();
        natsune_protocol::encode::msg(&mut out, subject, sid.to_string().as_bytes(), reply, None, payload);
        self.send(out).await;
    }
}

fn own(op: ClientOp<'_>) -> Op {
    let id = |sid: &[u8]| std::str::from_utf8(sid).expect("a sid").parse().expect("our sids are numbers");
    match op {
        ClientOp::Connect(json) => Op::Connect(serde_json::from_slice(json).expect("CONNECT is JSON")),
        ClientOp::Ping => Op::Ping,
        ClientOp::Pong => Op::Pong,
        ClientOp::Pub(p) => Op::Pub {
            subject: p.subject.to_owned(),
            reply: p.reply.map(str::to_owned),
            headers: p.headers.map(<[u8]>::to_vec),
            payload: p.payload.to_vec(),
        },
        ClientOp::Sub { subject, queue, sid } => {
            Op::Sub { subject: subject.to_owned(), queue: queue.map(str::to_owned), sid: id(sid) }
        }
        ClientOp::Unsub { sid, max } => Op::Unsub { sid: id(sid), max },
        other => panic!("a client must not send this: {other:?}"),
    }
}
