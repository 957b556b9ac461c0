//! What every test here needs: a queue that can be waited on, a broker, a client.
#![allow(dead_code, reason = "every test binary uses a part of this")]

use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use natsune_ffi::{Failure, Messages, Outcome, R, Taken};
use serde_json::Value;

/// No wait in a test takes longer, unless something is wrong.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A completion queue and the thread that drains it, as a facade would.
pub struct Queue {
    pub number: u64,
    done: Arc<(Mutex<HashMap<u64, ()>>, Condvar)>,
}

impl Queue {
    pub fn new() -> Queue {
        let (send, wakes) = mpsc::channel();
        let number = natsune_ffi::queue_new(Box::new(move || send.send(()).unwrap_or(()))).expect("a queue");
        let done: Arc<(Mutex<HashMap<u64, ()>>, Condvar)> = Arc::default();
        let shared = Arc::clone(&done);
        std::thread::spawn(move || {
            while wakes.recv().is_ok() {
                let mut ids = Vec::new();
                if natsune_ffi::queue_drain(number, &mut ids).is_err() {
                    return;
                }
                shared.0.lock().expect("not poisoned").extend(ids.into_iter().map(|id| (id, ())));
                shared.1.notify_all();
            }
        });
        Queue { number, done }
    }

    /// Waits until the id came out of the queue.
    pub fn wait(&self, id: u64) {
        let deadline = Instant::now() + LIMIT;
        let mut done = self.done.0.lock().expect("not poisoned");
        while done.remove(&id).is_none() {
            let left = deadline.checked_duration_since(Instant::now()).expect("the operation did not finish in time");
            done = self.done.1.wait_timeout(done, left).expect("not poisoned").0;
        }
    }

    pub fn finish(&self, id: u64) -> R<Outcome> {
        self.wait(id);
        natsune_ffi::finish(id)
    }

    /// Runs a verb of the control lane to its end.
    pub fn run(&self, target: u64, verb: &str, document: Value) -> R<Outcome> {
        self.finish(natsune_ffi::start(self.number, target, verb, &document.to_string())?)
    }

    pub fn handle(&self, target: u64, verb: &str, document: Value) -> R<u64> {
        match self.run(target, verb, document)? {
            Outcome::Handle(handle) => Ok(handle),
            other => panic!("{verb} gave {other:?}"),
        }
    }

    pub fn document(&self, target: u64, verb: &str, document: Value) -> R<Value> {
        match self.run(target, verb, document)? {
            Outcome::Document(text) => Ok(serde_json::from_str(&text).expect("JSON")),
            other => panic!("{verb} gave {other:?}"),
        }
    }

    pub fn unit(&self, target: u64, verb: &str, document: Value) -> R<()> {
        match self.run(target, verb, document)? {
            Outcome::Unit => Ok(()),
            other => panic!("{verb} gave {other:?}"),
        }
    }

    /// Waits until `take` gives something, and gives that.
    pub fn take(&self, handle: u64, max: u32, done: u32) -> R<Taken> {
        let mut done = done;
        loop {
            let taken = natsune_ffi::take(handle, max, u32::MAX, done)?;
            done = 0;
            if !taken.is_empty() || taken.state == natsune_ffi::batch::STATE_ENDED {
                return Ok(taken);
            }
            self.finish(natsune_ffi::start_ready(self.number, handle)?)?;
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        natsune_ffi::queue_close(self.number);
    }
}

/// A broker in memory, a client, and a queue for both.
pub struct World {
    pub queue: Queue,
    pub broker: u64,
    pub url: String,
    pub client: u64,
}

impl World {
    pub fn new() -> World {
        let queue = Queue::new();
        let broker = queue.handle(0, "broker.start", serde_json::json!({})).expect("a broker");
        let url = text(natsune_ffi::info(broker, "url"));
        let client = connect(&queue, &url);
        World { queue, broker, url, client }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        natsune_ffi::close_handle(self.client);
        natsune_ffi::close_handle(self.broker);
    }
}

pub fn connect(queue: &Queue, url: &str) -> u64 {
    queue.handle(0, "connect", serde_json::json!({ "servers": [url] })).expect("connected")
}

pub fn text(json: R<String>) -> String {
    serde_json::from_str(&json.expect("an answer")).expect("a text")
}

pub fn publish(client: u64, subject: &str, payload: &[u8]) -> R<bool> {
    natsune_ffi::publish(client, subject.as_bytes(), None, &[], payload)
}

/// The code of a call that must fail.
pub fn code<T: std::fmt::Debug>(result: R<T>) -> &'static str {
    result.map_err(|Failure { code, .. }| code).expect_err("it must fail")
}

pub fn payloads(taken: &Taken) -> Vec<Vec<u8>> {
    match &taken.messages {
        Messages::Core(list) | Messages::Consumer(list) => {
            list.iter().map(|message| message.payload().to_vec()).collect()
        }
        Messages::Stored(list) => list.iter().map(|stored| stored.message.payload().to_vec()).collect(),
        other => panic!("{other:?}"),
    }
}

/// The real nats-server with JetStream, when `NATSUNE_NATS_SERVER` names its binary.
pub struct RealServer {
    process: std::process::Child,
    pub url: String,
    _dir: tempfile::TempDir,
}

impl RealServer {
    pub fn start() -> Option<RealServer> {
        let binary = std::env::var_os("NATSUNE_NATS_SERVER")?;
        let dir = tempfile::tempdir().expect("a folder");
        let process = std::process::Command::new(binary)
            .args(["-a", "127.0.0.1", "-p", "-1", "-js", "-sd"])
            .arg(dir.path().join("store"))
            .arg("--ports_file_dir")
            .arg(dir.path())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("nats-server starts");
        let deadline = Instant::now() + LIMIT;
        let url = loop {
            assert!(Instant::now() < deadline, "nats-server did not say its port");
            let ports = std::fs::read_dir(dir.path()).expect("the folder").flatten().find_map(|entry| {
                let path = entry.path();
                path.extension().is_some_and(|end| end == "ports").then(|| std::fs::read_to_string(path).ok())?
            });
            let ports: Option<Value> = ports.and_then(|text| serde_json::from_str(&text).ok());
            if let Some(url) = ports.as_ref().and_then(|ports| ports["nats"][0].as_str()) {
                break url.to_owned();
            }
            std::thread::yield_now();
        };
        Some(RealServer { process, url, _dir: dir })
    }
}

impl Drop for RealServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
