//! `cargo dev bench`: our packages beside the official clients on the real server, and our broker beside nats-server.
//!
//! Every round runs every program once, so that a busy machine is busy for all of them.
mod programs;
mod raw;
mod servers;
mod side;
mod table;

use crate::conform::{Kind, Server, Wire, json_of};
use crate::doctor;
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::dist;
use indicatif::{ProgressBar, ProgressStyle};
use programs::Program;
use raw::{Raw, flood};
use serde_json::{Value, json};
use side::Side;
use std::process::Stdio;
use std::time::{Duration, Instant};
use table::{Row, Sample};

/// What to run.
pub struct Options {
    /// One language, or `broker` for the servers only.
    pub lang: Option<String>,
    /// Rounds; medians are of these.
    pub rounds: u32,
    /// Small counts: the pipeline is seen, the numbers mean little.
    pub quick: bool,
    /// Only this case.
    pub case: Option<String>,
}

impl Options {
    fn wants(&self, case: &str) -> bool {
        self.case.as_deref().is_none_or(|wanted| wanted == case)
    }
}

/// A case: its operations for most languages, for those that compile to machine code, and in a quick run.
struct Case {
    name: &'static str,
    count: u64,
    native: u64,
    quick: u64,
}

const fn case(name: &'static str, count: u64, native: u64, quick: u64) -> Case {
    Case { name, count, native, quick }
}

const CASES: [Case; 9] = [
    case("pub", 1_000_000, 5_000_000, 20_000),
    case("pub-await", 1_000_000, 1_000_000, 20_000),
    case("sub", 1_000_000, 3_000_000, 20_000),
    case("sub-copy", 1_000_000, 1_000_000, 20_000),
    case("req1", 20_000, 50_000, 400),
    case("req256", 200_000, 200_000, 4_000),
    case("jspub1", 10_000, 30_000, 200),
    case("jspub256", 50_000, 200_000, 2_000),
    case("jspull", 100_000, 300_000, 4_000),
];

/// The most messages that are on their way into a stream without an acknowledgement.
const PORTION: u64 = 5_000;

impl Case {
    /// Publishing has two ways in Python, and a payload in Node: a view, which is what nats.js gives, and a copy.
    fn of(&self, program: &Program) -> bool {
        match self.name {
            "pub-await" => program.language == "python",
            "sub-copy" => program.language == "node",
            _ => true,
        }
    }

    fn count(&self, program: &Program, quick: bool) -> u64 {
        match program.language {
            _ if quick => self.quick,
            "rust" | "swift" => self.native,
            _ => self.count,
        }
    }
}

/// Runs it, prints the table and writes `bench.json`.
pub fn run(report: &mut Report, options: &Options) -> Outcome {
    std::fs::create_dir_all(dist()).map_err(|error| error.to_string())?;
    let load = load_average();
    println!("load average {load}; 128 B a message; {} rounds, medians, ratios of the same round", options.rounds);
    if options.quick {
        println!("quick: far too few operations for numbers that mean anything");
    }
    let mut rows = Vec::new();
    if options.lang.as_deref() != Some("broker") {
        rows.extend(clients(report, options)?);
    }
    if options.lang.as_deref().is_none_or(|lang| lang == "broker") {
        rows.extend(servers::run(report, options)?);
    }
    if rows.is_empty() {
        return Err("nothing was measured: no such case, or nothing is built".to_owned());
    }
    table::show(&rows);
    println!(
        "\nclients: nats-server on loopback, streams on disk with its default sync; CPU time of the client's process.\n\
         broker: a bare load from this program; CPU time of the server. x: ours to the official one; load average {} now.",
        load_average()
    );
    let document = json!({
        "version": crate::workspace::VERSION,
        "payload": 128,
        "rounds": options.rounds,
        "quick": options.quick,
        "load_before": load,
        "load_after": load_average(),
        "rows": table::document(&rows),
    });
    let file = dist().join("bench.json");
    std::fs::write(&file, format!("{document:#}\n")).map_err(|error| format!("{}: {error}", file.display()))?;
    println!("{}", file.display());
    Ok(())
}

/// One, five and fifteen minutes.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The programs of the languages that are there.
fn wanted(report: &mut Report, options: &Options) -> Vec<Program> {
    let mut wanted = Vec::new();
    for (language, state) in doctor::languages() {
        if options.lang.as_deref().is_some_and(|lang| lang != language) {
            continue;
        }
        match state.and_then(|()| programs::of(language)) {
            Ok(programs) => wanted.extend(programs),
            Err(missing) => report.skip(format!("{language}: {missing}")),
        }
    }
    wanted
}

fn clients(report: &mut Report, options: &Options) -> Outcome<Vec<Row>> {
    let programs = wanted(report, options);
    let mut plan = Vec::new();
    for case in CASES.iter().filter(|case| options.wants(case.name)) {
        plan.extend(programs.iter().filter(|program| case.of(program)).map(|program| (case, program)));
    }
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let folder = tempfile::tempdir_in(dist()).map_err(|error| error.to_string())?;
    let store = folder.path().join("store");
    let config = format!("listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\n", store.display());
    let server = Server::start(Kind::Real, folder.path(), &config)?;
    let address = format!("127.0.0.1:{}", server.port());
    let mut side = Side::start(&address)?;
    let row = |(case, program): &(&Case, &Program)| {
        Row::new(case.name, program.language, program.name, program.ours, program.peer_name())
    };
    let mut rows: Vec<Row> = plan.iter().map(row).collect();
    let bar = ProgressBar::new(plan.len() as u64 * u64::from(options.rounds));
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let mut debug = false;
    for round in 1..=options.rounds {
        bar.println(format!("round {round}, load average {}", load_average()));
        for ((case, program), row) in plan.iter().zip(&mut rows) {
            bar.set_message(format!("{} {} {}", case.name, program.language, program.name));
            let result = prepare(case, &address, case.count(program, options.quick))
                .and_then(|()| once(case, program, &address, case.count(program, options.quick)));
            row.samples.push(match result {
                Ok((sample, unoptimised)) => {
                    report.pass(1);
                    debug |= unoptimised;
                    Some(sample)
                }
                Err(problem) => {
                    let (name, language) = (program.name, program.language);
                    report.fail(format!("{} with {name} in {language}, round {round}: {problem}", case.name));
                    None
                }
            });
            if let Some(why) = side.ended() {
                report.fail(format!("the other side ended: {why}"));
                side = Side::start(&address)?;
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if debug {
        println!("a debug build was measured: its numbers mean nothing");
    }
    Ok(rows)
}

/// A fresh stream for the cases that want one, with what a consumer is to deliver.
fn prepare(case: &Case, address: &str, count: u64) -> Outcome {
    if !case.name.starts_with("js") {
        return Ok(());
    }
    let mut wire = make_stream(address)?;
    if case.name != "jspull" {
        return Ok(());
    }
    // With what the round before takes to warm up. In portions: a server may drop what overflows its own queue of a stream.
    let all = count + count / 4;
    let mut raw = Raw::connect(address, &[])?;
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut sent = 0;
    while sent < all {
        let portion = PORTION.min(all - sent);
        flood(&mut raw, "bench.js", portion)?;
        raw.processed()?;
        sent += portion;
        loop {
            let info = ask(&mut wire, "STREAM.INFO.BENCH", &Value::Null)?;
            if info["state"]["messages"] == sent {
                break;
            }
            if Instant::now() > deadline {
                return Err(format!("the stream does not get {sent} messages: {}", info["state"]));
            }
        }
    }
    let config = json!({"durable_name": "bench", "ack_policy": "explicit", "max_ack_pending": 100_000});
    let wanted = json!({"stream_name": "BENCH", "config": config});
    ask(&mut wire, "CONSUMER.DURABLE.CREATE.BENCH.bench", &wanted).map(drop)
}

/// The stream of the cases, empty, on disk.
fn make_stream(address: &str) -> Outcome<Wire> {
    let mut wire = Wire::connect(address, None)?;
    // It may be there from the case before.
    let _ = ask(&mut wire, "STREAM.DELETE.BENCH", &Value::Null);
    let config = json!({"name": "BENCH", "subjects": ["bench.js"], "storage": "file", "retention": "limits"});
    ask(&mut wire, "STREAM.CREATE.BENCH", &config)?;
    Ok(wire)
}

fn ask(wire: &mut Wire, verb: &str, document: &Value) -> Outcome<Value> {
    let body = if document.is_null() { String::new() } else { document.to_string() };
    let answer = wire.request(&format!("$JS.API.{verb}"), body.as_bytes(), Duration::from_secs(30))?;
    let answer = json_of(&answer.ok_or_else(|| format!("{verb}: no answer"))?)?;
    match answer.get("error") {
        Some(error) => Err(format!("{verb}: {error}")),
        None => Ok(answer),
    }
}

/// One run; true: the program is a debug build.
fn once(case: &Case, program: &Program, address: &str, count: u64) -> Outcome<(Sample, bool)> {
    let mut command = program.command(case.name, &format!("nats://{address}"), count);
    let shown = sh::shown(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{}: {error}", sh::tail(&shown, 1)))?;
    let deadline = Instant::now() + Duration::from_secs(180);
    while child.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err("not done after 180 s".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let number = |name: &str| told.as_ref().and_then(|told| told.get(name)?.as_f64());
    match (number("ops"), number("seconds"), number("cpu_seconds")) {
        (Some(operations), Some(seconds), Some(cpu)) if output.status.success() && operations == count as f64 => {
            let debug = told.as_ref().is_some_and(|told| told["debug"] == true);
            Ok((Sample::new(count, seconds, cpu), debug))
        }
        _ => Err(format!(
            "ended with {}\n{}",
            output.status,
            sh::tail(&format!("{text}{}", String::from_utf8_lossy(&output.stderr)), 12)
        )),
    }
}
