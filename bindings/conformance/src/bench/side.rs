//! The other side of every case, the same for all languages: it answers `bench.req`, and a number published to `bench.flood`
//! makes it publish so many messages to `bench.sub`.
use super::raw::{Op, Raw, flood, publish};
use crate::sh::Outcome;
use std::net::{Shutdown, TcpStream};
use std::thread::JoinHandle;

/// A thread with a connection of its own.
pub struct Side {
    ender: TcpStream,
    thread: Option<JoinHandle<String>>,
}

impl Side {
    /// Starts it; it is there when this returns.
    pub fn start(address: &str) -> Outcome<Side> {
        let raw = Raw::connect(address, &["bench.req", "bench.flood"])?;
        let ender = raw.ender()?;
        let thread = std::thread::spawn(move || serve(raw).err().unwrap_or_default());
        Ok(Side { ender, thread: Some(thread) })
    }

    /// Why it ended, if it did.
    pub fn ended(&mut self) -> Option<String> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        Some(thread.join().unwrap_or_else(|_| "it panicked".to_owned()))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.ender.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut raw: Raw) -> Outcome {
    let (mut out, mut floods) = (Vec::new(), Vec::new());
    loop {
        raw.read(|op| {
            match op {
                Op::Msg { sid: b"1", reply: Some(reply), payload, .. } => publish(&mut out, reply, None, payload),
                Op::Msg { sid: b"2", payload, .. } => {
                    let count = std::str::from_utf8(payload).ok().and_then(|text| text.parse::<u64>().ok());
                    floods.push(count.ok_or("bench.flood wants a number")?);
                }
                _ => {}
            }
            Ok(())
        })?;
        if !out.is_empty() {
            raw.write(&out)?;
            out.clear();
        }
        for count in floods.drain(..) {
            flood(&mut raw, "bench.sub", count)?;
        }
    }
}
