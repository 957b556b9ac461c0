//! The short way out: what goes out on the caller's thread, what is left to the driver, and how it is accounted for.

use std::io::{Read, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Wake, Waker};

use super::super::{Kind, Next};
use super::*;
use crate::engine::requests::Requests;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Woken>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// A live wire with an idle driver, the server's end of its socket, and how often the driver was woken.
struct Rig {
    wire: Wire,
    requests: Requests,
    server: std::net::TcpStream,
    /// The same socket as the wire's.
    client: std::net::TcpStream,
    woken: Arc<Woken>,
    chunk: Vec<u8>,
}

impl Rig {
    fn new() -> Rig {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let (wire, requests) = (Wire::new(1 << 20, 1 << 20, true), Requests::new("_INBOX.mux"));
        wire.ensure_mux(|| requests.filter());
        wire.begin_handshake(b"{}", Some(client.try_clone().unwrap())).unwrap();
        wire.go_live(&requests, None);
        wire.on_pong().unwrap();
        let mut rig = Rig { wire, requests, server, client, woken: Arc::default(), chunk: Vec::new() };
        assert!(matches!(rig.next(), Next::Idle(None)));
        rig
    }

    fn next(&mut self) -> Next {
        self.wire.next(&mut self.chunk, &Waker::from(Arc::clone(&self.woken)))
    }

    fn ask(&self, alone: bool) {
        self.wire
            .publish(Kind::Request { alone, settling: false }, false, "a", Some("_INBOX.mux.1"), None, b"x")
            .unwrap();
    }

    fn woken(&self) -> usize {
        self.woken.0.load(SeqCst)
    }

    fn received(&mut self, bytes: usize) -> String {
        let mut got = vec![0; bytes];
        self.server.read_exact(&mut got).unwrap();
        String::from_utf8(got).unwrap()
    }

    /// The kernel takes no more.
    fn fill(&mut self) -> usize {
        let mut filled = 0;
        while let Ok(n) = self.client.write(&[b'.'; 4096]) {
            filled += n;
        }
        filled
    }
}

const FRAME: &str = "PUB a _INBOX.mux.1 1\r\nx\r\n";

#[test]
fn a_lone_request_goes_out_without_the_driver() {
    let mut rig = Rig::new();
    rig.ask(true);
    assert_eq!(rig.received(FRAME.len()), FRAME);
    assert_eq!(rig.woken(), 1, "to look at its clock");
    assert!(matches!(rig.next(), Next::Idle(Some(_))), "unconfirmed");
    rig.ask(true);
    assert_eq!(rig.received(FRAME.len()), FRAME);
    assert_eq!((rig.woken(), rig.wire.buffered()), (1, 0));
    assert_eq!(rig.wire.direct_bytes(), 2 * FRAME.len() as u64);
    rig.ask(false);
    assert_eq!((rig.woken(), rig.wire.buffered()), (2, FRAME.len()), "with others it is the driver's");
    rig.ask(true);
    assert_eq!(rig.wire.buffered(), 2 * FRAME.len(), "and nothing overtakes it");
    let broken = rig.wire.on_break(&[], 0, &rig.requests).unwrap();
    assert_eq!((broken.unknown, broken.unsent.len()), (2, 2));
    assert!(rig.wire.counts().balanced(), "{:?}", rig.wire.counts());
}

#[test]
fn what_the_socket_did_not_take_is_the_drivers() {
    let mut rig = Rig::new();
    let filled = rig.fill();
    rig.ask(true);
    assert_eq!(rig.woken(), 1);
    let Next::Write(ahead) = rig.next() else { panic!("there is something to write") };
    assert_eq!(rig.chunk, FRAME.as_bytes());
    rig.received(filled);
    rig.client.write_all(&rig.chunk[ahead..]).unwrap();
    assert_eq!(rig.received(FRAME.len()), FRAME);
}

#[test]
fn a_half_written_request_was_not_sent() {
    let mut rig = Rig::new();
    rig.fill();
    rig.ask(true);
    rig.wire.lock().ahead = 5;
    let broken = rig.wire.on_break(&[], 0, &rig.requests).unwrap();
    assert_eq!((broken.unknown, broken.unsent), (0, vec![1]));
    let counts = rig.wire.counts();
    assert_eq!((counts.dropped, counts.pending), (1, 0));
    assert_eq!(rig.wire.lock().ahead, 0);
    assert_eq!(rig.wire.buffered(), 0);
}

#[test]
fn a_flush_counts_what_went_out_before_it() {
    let mut rig = Rig::new();
    rig.ask(true);
    let (send, _got) = tokio::sync::oneshot::channel();
    assert!(matches!(rig.next(), Next::Idle(Some(_))));
    rig.wire.flush(send).unwrap();
    assert_eq!(rig.received(FRAME.len() + 6), format!("{FRAME}PING\r\n"));
    let ponged = rig.wire.on_pong().unwrap();
    assert_eq!((ponged.counts.flushed, ponged.counts.pending, ponged.then.len()), (1, 0, 1));
}
