//! One measured case, with this crate or with async-nats: `bench natsune|async-nats CASE URL COUNT`, one JSON line.
//! See `bindings/conformance/README.md`; `cargo dev bench` starts it and the same program of the other languages.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a program, not a library")]

mod ours;
mod peer;

use std::future::Future;
use std::time::Instant;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What every message holds.
pub const PAYLOAD: [u8; 128] = [b'x'; 128];

/// A library under measurement: one case, ready to run a round of it.
pub trait Library: Sized + Send + 'static {
    /// Connects and prepares `case`.
    fn open(url: String, case: String) -> impl Future<Output = Result<Self>> + Send;

    /// Does it `count` times, to the end: what was sent has been processed, what was asked has been answered.
    fn round(&mut self, count: u64) -> impl Future<Output = Result<()>> + Send;
}

/// A message as the case wants it: its subject and its payload are looked at.
pub fn seen(subject: &str, payload: &[u8]) -> Result<()> {
    if std::hint::black_box(payload).len() == PAYLOAD.len() && !std::hint::black_box(subject).is_empty() {
        return Ok(());
    }
    Err(format!("{} bytes on {subject:?}", payload.len()).into())
}

/// `parallel` tasks, each one operation after the other.
pub async fn lanes<F>(parallel: u64, count: u64, once: impl Fn() -> F + Clone + Send + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..parallel {
        let once = once.clone();
        let mine = count / parallel + u64::from(lane < count % parallel);
        tasks.spawn(async move {
            for _ in 0..mine {
                once().await?;
            }
            Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// User and system time of this process, in seconds; in steps of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name, which may hold blanks: the state is the first field, then utime is the 12th and stime the 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    (ticks(11) + ticks(12)) / 100.0
}

async fn measure<L: Library>(case: String, url: String, count: u64) -> Result<()> {
    let mut library = L::open(url, case.clone()).await?;
    library.round(count / 4).await?;
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    library.round(count).await?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let debug = cfg!(debug_assertions);
    println!(
        "{}",
        serde_json::json!({"case": case, "ops": count, "seconds": seconds, "cpu_seconds": cpu, "debug": debug})
    );
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, case, url, count] = arguments.as_slice() else {
        return Err("usage: bench natsune|async-nats CASE URL COUNT".into());
    };
    let (case, url, count) = (case.clone(), url.clone(), count.parse()?);
    // In a task, as programs do it: what runs outside of the runtime's threads pays for each wake-up.
    match library.as_str() {
        "natsune" => tokio::spawn(measure::<ours::Ours>(case, url, count)).await?,
        "async-nats" => tokio::spawn(measure::<peer::Peer>(case, url, count)).await?,
        other => Err(format!("natsune or async-nats, not {other}").into()),
    }
}
