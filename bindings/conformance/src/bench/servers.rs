//! Our broker beside nats-server under the same bare load, with the CPU time of the server.
use super::raw::{Op, PAYLOAD, Raw, flood, publish};
use super::table::{Row, Sample};
use super::{Options, make_stream};
use crate::conform::{Kind, Server};
use crate::report::Report;
use crate::sh::Outcome;
use crate::workspace::dist;
use std::time::{Duration, Instant};

/// A server under measurement: its name, its program, and how it writes to the disk.
type Measured = (&'static str, Kind, &'static str);

const SERVERS: [Measured; 3] = [
    ("natsune-broker", Kind::Ours, "sync_interval: always"),
    // The durable one is what ours is compared with.
    ("nats-server, sync always", Kind::Real, "sync_interval: always"),
    ("nats-server, its default", Kind::Real, ""),
];

/// The peer of the ratios.
const PEER: &str = SERVERS[1].0;

/// Name, messages, messages in a quick run.
const CASES: [(&str, u64, u64); 3] =
    [("server-pub", 3_000_000, 20_000), ("server-pubsub", 2_000_000, 20_000), ("server-jspub256", 200_000, 2_000)];

/// Runs the rounds; all servers run all the time, one is under load.
pub fn run(report: &mut Report, options: &Options) -> Outcome<Vec<Row>> {
    let mut running = Vec::new();
    for (name, kind, sync) in SERVERS {
        if !kind.program().exists() {
            report.skip(format!("{name}: {} is missing", kind.program().display()));
            continue;
        }
        let folder = tempfile::tempdir_in(dist()).map_err(|error| error.to_string())?;
        let store = folder.path().join("store");
        let config = format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\"\n{sync} }}\n", store.display());
        running.push((name, Server::start(kind, folder.path(), &config)?, folder));
    }
    let cases: Vec<_> = CASES.into_iter().filter(|(name, ..)| options.wants(name)).collect();
    let mut rows = Vec::new();
    for (case, ..) in &cases {
        for (name, ..) in &running {
            rows.push(Row::new(case, "broker", name, *name == SERVERS[0].0, Some(PEER)));
        }
    }
    for round in 0..options.rounds {
        let mut row = rows.iter_mut();
        for (case, full, quick) in &cases {
            for (name, server, _) in &running {
                let count = if options.quick { *quick } else { *full };
                // One flush of the disk for each message: the same count would take minutes.
                let count = if *name == PEER && *case == "server-jspub256" { count / 20 } else { count };
                let result = load(case, server, count);
                if let Err(problem) = &result {
                    report.fail(format!("{case} on {name}, round {}: {problem}", round + 1));
                } else {
                    report.pass(1);
                }
                if let Some(row) = row.next() {
                    row.samples.push(result.ok());
                }
            }
        }
    }
    Ok(rows)
}

fn load(case: &str, server: &Server, count: u64) -> Outcome<Sample> {
    let address = format!("127.0.0.1:{}", server.port());
    let work: fn(&str, u64) -> Outcome = match case {
        "server-pub" => published,
        "server-pubsub" => received,
        _ => {
            make_stream(&address)?;
            stored
        }
    };
    work(&address, count / 4)?;
    let (begun, cpu) = (Instant::now(), cpu_seconds(server.id())?);
    work(&address, count)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Sample::new(count, seconds, cpu_seconds(server.id())? - cpu))
}

fn published(address: &str, count: u64) -> Outcome {
    let mut raw = Raw::connect(address, &[])?;
    flood(&mut raw, "bench.pub", count)?;
    raw.processed()
}

fn received(address: &str, count: u64) -> Outcome {
    let mut subscriber = Raw::connect(address, &["bench.sub"])?;
    subscriber.patience(Duration::from_secs(30))?;
    let mut publisher = Raw::connect(address, &[])?;
    let publishing = std::thread::spawn(move || {
        flood(&mut publisher, "bench.sub", count)?;
        publisher.processed()
    });
    let mut left = count;
    while left > 0 {
        subscriber.read(|op| {
            left -= u64::from(matches!(op, Op::Msg { .. }));
            Ok(())
        })?;
    }
    publishing.join().map_err(|_| "the publisher panicked")?
}

/// 256 publishes are outstanding until the last ones.
fn stored(address: &str, count: u64) -> Outcome {
    const REPLY: &str = "_INBOX.bench";
    let mut raw = Raw::connect(address, &[REPLY])?;
    raw.patience(Duration::from_secs(30))?;
    let (mut sent, mut acked, mut out) = (0, 0, Vec::new());
    while acked < count {
        while sent < count && sent - acked < 256 {
            publish(&mut out, b"bench.js", Some(REPLY.as_bytes()), &PAYLOAD);
            sent += 1;
        }
        if !out.is_empty() {
            raw.write(&out)?;
            out.clear();
        }
        raw.read(|op| {
            if let Op::Msg { payload, .. } = op {
                if !payload.windows(6).any(|part| part == b"\"seq\":") {
                    return Err(format!("not an ack: {}", String::from_utf8_lossy(payload)));
                }
                acked += 1;
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// User and system time of a process, in seconds; in steps of 10 ms.
fn cpu_seconds(process: u32) -> Outcome<f64> {
    let file = format!("/proc/{process}/stat");
    let stat = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    // After the name, which may hold blanks: the state is the first field, then utime is the 12th and stime the 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    Ok((ticks(11) + ticks(12)) / 100.0)
}
