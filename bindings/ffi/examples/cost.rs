//! What the boundary costs in Rust: publish, take, pack, request, ready. `cargo run --release -p natsune-ffi --example cost`
//!
//! Nanoseconds by operation, the least and the middle of nine runs, against a broker in the same process.

use std::hint::black_box;
use std::sync::mpsc;
use std::time::Instant;

use natsune_ffi::{Failure, Outcome};

struct Queue {
    number: u64,
    wakes: mpsc::Receiver<()>,
}

impl Queue {
    fn new() -> Result<Queue, Failure> {
        let (send, wakes) = mpsc::channel();
        let number = natsune_ffi::queue_new(Box::new(move || send.send(()).unwrap_or(())))?;
        Ok(Queue { number, wakes })
    }

    fn wait(&self) -> Result<Vec<u64>, Failure> {
        let mut ids = Vec::new();
        while ids.is_empty() {
            let _ = self.wakes.recv();
            natsune_ffi::queue_drain(self.number, &mut ids)?;
        }
        Ok(ids)
    }

    fn run(&self, target: u64, verb: &str, document: &str) -> Result<Outcome, Failure> {
        let id = natsune_ffi::start(self.number, target, verb, document)?;
        while !self.wait()?.contains(&id) {}
        natsune_ffi::finish(id)
    }

    fn handle(&self, target: u64, verb: &str, document: &str) -> Result<u64, Failure> {
        match self.run(target, verb, document)? {
            Outcome::Handle(handle) => Ok(handle),
            _ => Err(Failure::internal("no handle")),
        }
    }
}

/// Runs `body`, which does `count` operations and says how many nanoseconds to count, nine times.
fn measure(name: &str, count: u64, mut body: impl FnMut() -> Result<u128, Failure>) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for _ in 0..9 {
        runs.push(body()? as f64 / count as f64);
    }
    runs.sort_by(f64::total_cmp);
    println!("{name:44} {:8.1} {:8.1} ns", runs[0], runs[4]);
    Ok(())
}

fn main() -> Result<(), Failure> {
    let queue = Queue::new()?;
    let broker = queue.handle(0, "broker.start", "{}")?;
    let url = natsune_ffi::info(broker, "url")?;
    let client = queue.handle(
        0,
        "connect",
        &format!("{{\"servers\":[{url}],\"outbound_mark\":1000000000,\"outbound_limit\":1100000000}}"),
    )?;
    let other = queue.handle(
        0,
        "connect",
        &format!("{{\"servers\":[{url}],\"outbound_mark\":1000000000,\"outbound_limit\":1100000000}}"),
    )?;
    let header: Vec<u8> = [&5u32.to_le_bytes()[..], b"Trace", &1u32.to_le_bytes(), b"1"].concat();

    println!("{:44} {:>8} {:>8}", "", "least", "middle");
    for (name, size, headers) in [
        ("publish 16 B", 16, &[][..]),
        ("publish 128 B", 128, &[]),
        ("publish 128 B with a header", 128, &header),
        ("publish 4 KiB", 4096, &[]),
    ] {
        // Not more than a socket's worth at once: fresh memory is not what is measured.
        let count = 1_000_000 / size as u64;
        let count = count.min(20_000);
        let payload = vec![7u8; size];
        measure(name, count, || {
            queue.run(client, "client.flush", "")?;
            let start = Instant::now();
            for _ in 0..count {
                natsune_ffi::publish(client, b"bench.orders.created.eu", None, headers, &payload)?;
            }
            Ok(start.elapsed().as_nanos())
        })?;
    }

    const MESSAGES: u64 = 100_000;
    let sub = queue.handle(other, "client.subscribe", "{\"subject\":\"bench.take.*\"}")?;
    let fill = || -> Result<(), Failure> {
        for _ in 0..MESSAGES {
            natsune_ffi::publish(client, b"bench.take.orders.eu".get(..16).unwrap_or_default(), None, &[], &[7; 128])?;
        }
        queue.run(client, "client.flush", "")?;
        queue.run(other, "client.flush", "").map(|_| ())
    };
    measure("take 256, by message", MESSAGES, || {
        fill()?;
        let (mut got, mut done, start) = (0, 0, Instant::now());
        while got < MESSAGES {
            let taken = black_box(natsune_ffi::take(sub, 256, u32::MAX, done)?);
            done = taken.len() as u32;
            got += taken.len() as u64;
        }
        Ok(start.elapsed().as_nanos())
    })?;
    measure("take 256 and pack, by message", MESSAGES, || {
        fill()?;
        let (mut got, mut done, start) = (0, 0, Instant::now());
        while got < MESSAGES {
            let taken = natsune_ffi::take(sub, 256, u32::MAX, done)?;
            done = taken.len() as u32;
            got += taken.len() as u64;
            black_box(taken.pack());
        }
        Ok(start.elapsed().as_nanos())
    })?;
    measure("publish to take, end to end, by message", MESSAGES, || {
        let start = Instant::now();
        let sender = std::thread::spawn(move || -> Result<(), Failure> {
            for _ in 0..MESSAGES {
                natsune_ffi::publish(client, b"bench.take.a", None, &[], &[7; 128])?;
            }
            Ok(())
        });
        let (mut got, mut done) = (0, 0);
        while got < MESSAGES {
            let taken = natsune_ffi::take(sub, 256, u32::MAX, done)?;
            done = taken.len() as u32;
            got += taken.len() as u64;
            if taken.is_empty() {
                let id = natsune_ffi::start_ready(queue.number, sub)?;
                queue.wait()?;
                natsune_ffi::finish(id)?;
            }
        }
        sender.join().map_err(|_| Failure::internal("the sender panicked"))??;
        Ok(start.elapsed().as_nanos())
    })?;

    let service = queue.handle(other, "client.subscribe", "{\"subject\":\"bench.svc\"}")?;
    std::thread::spawn(move || -> Result<(), Failure> {
        let own = Queue::new()?;
        loop {
            let taken = natsune_ffi::take(service, 256, u32::MAX, 0)?;
            if let natsune_ffi::Messages::Core(list) = &taken.messages {
                for message in list {
                    natsune_ffi::publish(other, message.reply().unwrap_or_default().as_bytes(), None, &[], b"ok")?;
                }
            }
            if taken.is_empty() {
                let id = natsune_ffi::start_ready(own.number, service)?;
                own.wait()?;
                natsune_ffi::finish(id)?;
            }
        }
    });
    const REQUESTS: u64 = 20_000;
    measure("request, 1000 in flight", REQUESTS, || {
        let (mut started, mut finished, start) = (0, 0, Instant::now());
        while finished < REQUESTS {
            while started < REQUESTS && started - finished < 1000 {
                natsune_ffi::start_request(queue.number, client, b"bench.svc", &[], b"ask", 0)?;
                started += 1;
            }
            for id in queue.wait()? {
                black_box(natsune_ffi::finish(id)?);
                finished += 1;
            }
        }
        Ok(start.elapsed().as_nanos())
    })?;
    measure("ready that is ready, drain, finish", REQUESTS, || {
        natsune_ffi::publish(client, b"bench.take.a", None, &[], b"")?;
        queue.run(client, "client.flush", "")?;
        queue.run(other, "client.flush", "")?;
        let start = Instant::now();
        let mut ids = Vec::new();
        for _ in 0..REQUESTS {
            let id = natsune_ffi::start_ready(queue.number, sub)?;
            ids.clear();
            natsune_ffi::queue_drain(queue.number, &mut ids)?;
            natsune_ffi::finish(id)?;
        }
        let spent = start.elapsed().as_nanos();
        natsune_ffi::take(sub, 1000, u32::MAX, 0)?;
        Ok(spent)
    })?;
    Ok(())
}
