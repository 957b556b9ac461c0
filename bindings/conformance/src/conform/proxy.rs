//! A TCP proxy between the testee and the server that keeps what passed, and can cut, hold and refuse.
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How much of each direction is kept: enough for every scenario's facts.
const KEPT: usize = 4 << 20;

/// Which way bytes went.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    /// From the testee to the server.
    Up,
    /// From the server to the testee.
    Down,
}

#[derive(Default)]
struct Record {
    up: Vec<u8>,
    down: Vec<u8>,
}

struct Shared {
    upstream: AtomicU16,
    records: Mutex<Vec<Record>>,
    changed: Condvar,
    sockets: Mutex<Vec<TcpStream>>,
    refuse: AtomicBool,
    hold: AtomicBool,
    accepted: AtomicUsize,
    stop: AtomicBool,
}

/// The proxy; it listens until dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    /// Listens on a free port of the loopback and forwards to `upstream`.
    pub fn start(upstream: u16) -> Result<Proxy, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
        let port = listener.local_addr().map_err(|error| error.to_string())?.port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            records: Mutex::default(),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            refuse: AtomicBool::new(false),
            hold: AtomicBool::new(false),
            accepted: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let here = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if here.stop.load(Ordering::SeqCst) {
                    return;
                }
                if !here.refuse.load(Ordering::SeqCst) {
                    here.clone().serve(client);
                }
            }
        });
        Ok(Proxy { shared, port })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Forwards new connections to another port.
    pub fn point_to(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::SeqCst);
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        if let Ok(mut sockets) = self.shared.sockets.lock() {
            for socket in sockets.drain(..) {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Closes new connections at once, or takes them again.
    pub fn refuse(&self, on: bool) {
        self.shared.refuse.store(on, Ordering::SeqCst);
    }

    /// Passes nothing on in either direction, as a network that lost its packets, or goes on.
    pub fn hold(&self, on: bool) {
        self.shared.hold.store(on, Ordering::SeqCst);
        self.shared.changed.notify_all();
    }

    /// How many connections it took.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How often `needle` passed, all connections together, once it is at least `wanted` or the time is up.
    pub fn count(&self, way: Way, needle: &[u8], wanted: usize, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        let Ok(mut records) = self.shared.records.lock() else { return 0 };
        loop {
            let found = records
                .iter()
                .map(|record| occurrences(if way == Way::Up { &record.up } else { &record.down }, needle))
                .sum();
            let left = deadline.saturating_duration_since(Instant::now());
            if found >= wanted || left.is_zero() {
                return found;
            }
            let Ok((next, _)) = self.shared.changed.wait_timeout(records, left) else { return found };
            records = next;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.hold.store(false, Ordering::SeqCst);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    if needle.is_empty() { 0 } else { bytes.windows(needle.len()).filter(|window| window == &needle).count() }
}

impl Shared {
    fn serve(self: Arc<Shared>, client: TcpStream) {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        self.changed.notify_all();
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.upstream.load(Ordering::SeqCst))) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let Ok(mut records) = self.records.lock() else { return };
        let at = records.len();
        records.push(Record::default());
        drop(records);
        for (from, to, way) in [(&client, &server, Way::Up), (&server, &client, Way::Down)] {
            if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
                let shared = self.clone();
                std::thread::spawn(move || shared.pump(from, to, at, way));
            }
        }
        if let Ok(mut sockets) = self.sockets.lock() {
            sockets.push(client);
            sockets.push(server);
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, at: usize, way: Way) {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count) = from.read(&mut buffer) {
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            self.wait_while_held();
            if let Ok(mut records) = self.records.lock()
                && let Some(record) = records.get_mut(at)
            {
                let kept = if way == Way::Up { &mut record.up } else { &mut record.down };
                kept.extend_from_slice(
                    bytes.get(..bytes.len().min(KEPT.saturating_sub(kept.len()))).unwrap_or_default(),
                );
            }
            self.changed.notify_all();
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    fn wait_while_held(&self) {
        let Ok(mut records) = self.records.lock() else { return };
        while self.hold.load(Ordering::SeqCst) && !self.stop.load(Ordering::SeqCst) {
            let Ok((next, _)) = self.changed.wait_timeout(records, Duration::from_millis(100)) else { return };
            records = next;
        }
    }
}
