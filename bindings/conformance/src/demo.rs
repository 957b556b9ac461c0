//! `cargo dev demo`: a work queue over five languages, a killed worker, a killed broker, and the proof that nothing was lost.
use crate::conform::{Kind, Server};
use crate::report::Report;
use crate::sh::{self, Outcome};
use crate::workspace::{root, target};
use crate::{artefacts, doctor};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// So many jobs at least; the files are taken again until there are.
const JOBS: usize = 2_000;

/// What the demo is run on.
pub struct Options {
    /// The folder of files; this source tree when not given.
    pub path: Option<PathBuf>,
    /// Another server than our broker.
    pub server: Option<String>,
    /// The credentials for it.
    pub creds: Option<PathBuf>,
}

/// Where the demo's messages go.
struct Place {
    server: Option<Server>,
    url: String,
    creds: String,
    _folder: tempfile::TempDir,
    list: PathBuf,
}

/// Runs it.
pub fn run(report: &mut Report, options: &Options) -> Outcome {
    let folder = options.path.clone().unwrap_or_else(root);
    let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut languages = Vec::new();
    for (language, state) in doctor::languages() {
        match state.and_then(|()| artefacts::worker(language)) {
            Ok(command) => languages.push((language, command)),
            Err(missing) => report.skip(format!("{language}: {missing}")),
        }
    }
    let files = files(&folder)?;
    let mut place = Place::make(options, &files)?;
    println!("files below {}: {}, jobs: {}", folder.display(), files.len(), files.len().max(JOBS));
    println!("workers: {}", languages.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "));
    if place.server.is_none() {
        println!("skipped: the broker's death (the server is not ours to kill)");
    }
    let mut coordinator = Coordinator::start(&place, &folder, languages.len())?;
    coordinator.until("registering")?;
    let mut workers = Workers::default();
    for (language, mut command) in languages {
        command.arg(&place.url).arg(&place.creds).arg(&folder).stdin(Stdio::null()).stdout(Stdio::null());
        let log = std::fs::File::create(place.list.with_extension(language)).map_err(|error| error.to_string())?;
        let child = command.stderr(log).spawn().map_err(|error| format!("{}: {error}", sh::shown(&command)))?;
        workers.0.push((language, child));
    }
    for _ in 0..workers.0.len() {
        let line = coordinator.until("registered").map_err(|problem| format!("{problem}\n{}", workers.logs(&place)))?;
        println!("registered: {}", line["registered"].as_str().unwrap_or_default());
    }
    coordinator.go()?;
    let all = workers.0.len();
    let judged = act(&mut coordinator, &mut place, &mut workers)?;
    show(report, &judged, all)
}

impl Place {
    fn make(options: &Options, files: &[String]) -> Outcome<Place> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let list = folder.path().join("jobs");
        let jobs: Vec<&str> = files.iter().map(String::as_str).cycle().take(files.len().max(JOBS)).collect();
        std::fs::write(&list, jobs.join("\n")).map_err(|error| error.to_string())?;
        if let Some(url) = &options.server {
            let creds = options.creds.as_ref().map_or_else(|| "-".to_owned(), |creds| creds.display().to_string());
            return Ok(Place { server: None, url: url.clone(), creds, _folder: folder, list });
        }
        let namespaces = folder.path().join("namespaces");
        let creds = folder.path().join("demo.creds");
        let config = format!(
            "listen: \"127.0.0.1:-1\"\njetstream {{ store_dir: \"{}\" }}\nnamespaces {{ dir: \"{}\" }}\n",
            folder.path().join("store").display(),
            namespaces.display()
        );
        let broker = |arguments: &[&str]| {
            let mut command = sh::command(artefacts::broker(), folder.path());
            sh::quiet(command.args(arguments).arg("--dir").arg(&namespaces))
        };
        broker(&["namespace", "create", "demo"])?;
        broker(&["credentials", "create", "demo", "workers", "--output", &creds.to_string_lossy()])?;
        let server = Server::start(Kind::Ours, folder.path(), &config)?;
        println!("broker: nats://127.0.0.1:{} (durable), namespace demo", server.port());
        let url = format!("nats://127.0.0.1:{}", server.port());
        Ok(Place { server: Some(server), url, creds: creds.display().to_string(), _folder: folder, list })
    }
}

/// One file a job, by the tree's own ignore rules, with paths relative to the folder.
fn files(folder: &Path) -> Outcome<Vec<String>> {
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(folder).require_git(false).build() {
        let entry = entry.map_err(|error| error.to_string())?;
        if entry.file_type().is_some_and(|kind| kind.is_file())
            && let Some(path) = entry.path().strip_prefix(folder).ok().and_then(Path::to_str)
            && !path.contains('\n')
        {
            files.push(path.to_owned());
        }
    }
    files.sort();
    if files.is_empty() { Err(format!("there is no file below {}", folder.display())) } else { Ok(files) }
}

/// The process that publishes the jobs and judges the answers.
struct Coordinator {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
}

impl Coordinator {
    fn start(place: &Place, folder: &Path, workers: usize) -> Outcome<Coordinator> {
        let mut command = Command::new(target().join("release/examples/demo"));
        command.arg(&place.url).arg(&place.creds).arg(folder).arg(&place.list).arg(workers.to_string());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", sh::shown(&command)))?;
        let (send, lines) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    let Ok(value) = serde_json::from_str(&line) else { continue };
                    if send.send(value).is_err() {
                        return;
                    }
                }
            });
        }
        let stdin = child.stdin.take();
        Ok(Coordinator { child, stdin, lines })
    }

    fn next(&self) -> Outcome<Value> {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .map_err(|_| "the coordinator said nothing for 60 s, or ended".to_owned())
    }

    fn until(&self, field: &str) -> Outcome<Value> {
        loop {
            let line = self.next()?;
            if line.get(field).is_some() {
                return Ok(line);
            }
        }
    }

    fn go(&mut self) -> Outcome {
        let stdin = self.stdin.as_mut().ok_or("the coordinator has no stdin")?;
        writeln!(stdin, "go").map_err(|error| error.to_string())
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Workers(Vec<(&'static str, Child)>);

impl Workers {
    /// What the workers wrote to stderr.
    fn logs(&self, place: &Place) -> String {
        let log = |name: &str| std::fs::read_to_string(place.list.with_extension(name)).unwrap_or_default();
        self.0.iter().map(|(name, _)| format!("--- {name}\n{}", sh::tail(&log(name), 10))).collect()
    }

    /// The worker that died by itself, if any.
    fn dead(&mut self) -> Option<&'static str> {
        self.0.iter_mut().find_map(|(name, child)| child.try_wait().ok().flatten().map(|_| *name))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Follows the progress; kills a worker after a quarter of the jobs and the broker after the half.
fn act(coordinator: &mut Coordinator, place: &mut Place, workers: &mut Workers) -> Outcome<Value> {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} answered, {msg}") {
        bar.set_style(style);
    }
    let (mut worker_killed, mut broker_killed) = (false, place.server.is_none());
    let mut killed = Vec::new();
    loop {
        let line = coordinator.next().map_err(|problem| format!("{problem}\n{}", workers.logs(place)))?;
        if let Some(judged) = line.get("report") {
            bar.finish_and_clear();
            return Ok(judged.clone());
        }
        let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or_default();
        let (done, total, in_flight) = (number("done"), number("total"), number("in_flight"));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(format!("{in_flight} in flight"));
        if let Some(name) = workers.dead() {
            return Err(format!("the {name} worker died by itself\n{}", workers.logs(place)));
        }
        if !worker_killed && done >= total / 4 && in_flight > 0 && workers.0.len() > 1 {
            worker_killed = true;
            let (name, mut child) = workers.0.remove(0);
            let _ = child.kill();
            let _ = child.wait();
            killed.push(child);
            bar.println(format!("killed the {name} worker, {in_flight} jobs in flight"));
        }
        if !broker_killed && done >= total / 2 {
            broker_killed = true;
            if let Some(server) = &mut place.server {
                let begun = Instant::now();
                server.stop(true)?;
                server.start_again()?;
                let took = begun.elapsed().as_millis();
                bar.println(format!(
                    "killed the broker with -9 and started it again on port {} in {took} ms",
                    server.port()
                ));
            }
        }
    }
}

fn show(report: &mut Report, judged: &Value, all: usize) -> Outcome {
    let number = |name: &str| judged.get(name).and_then(Value::as_u64).unwrap_or_default();
    let (jobs, answered) = (number("jobs"), number("answered"));
    let none = serde_json::Map::new();
    let languages = judged.get("languages").and_then(Value::as_object).unwrap_or(&none);
    println!("\n{:<10} {:>8}", "language", "jobs");
    for (language, count) in languages {
        println!("{language:<10} {:>8}", count.as_u64().unwrap_or_default());
    }
    println!("{:<10} {answered:>8} of {jobs}, {} delivered more than once", "together", number("delivered_twice"));
    let wrong = judged.get("wrong").and_then(Value::as_array).cloned().unwrap_or_default();
    for problem in wrong.iter().take(20) {
        report.fail(problem.as_str().unwrap_or_default());
    }
    if answered != jobs || !wrong.is_empty() {
        return Err(format!("{answered} of {jobs} answered, {} wrong", wrong.len()));
    }
    // The killed one counts too: it had its share before it died.
    if languages.len() < all {
        return Err(format!("only {} languages did a job", languages.len()));
    }
    println!("every file was answered, and every answer is right");
    report.pass(jobs);
    Ok(())
}
