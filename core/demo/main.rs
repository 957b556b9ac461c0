//! The coordinator of `cargo dev demo`: makes the streams, publishes the jobs, reads the answers back and judges them.
//!
//! It speaks to `cargo dev` in JSON lines on stdout, and waits on stdin for `go` once all workers registered.
#![forbid(unsafe_code)]

use natsune::jetstream::{AckPolicy, ConsumerConfig, JetStream, PublishOptions, RetentionPolicy, StreamConfig};
use natsune::{Client, Credentials};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[derive(Deserialize)]
struct Answer {
    id: u64,
    language: String,
    size: usize,
    lines: usize,
    sha256: String,
    delivered: u64,
}

fn say(line: &Value) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, creds, folder, list, workers] = arguments.as_slice() else {
        return Err("usage: demo URL CREDS FOLDER FILE-LIST WORKERS".into());
    };
    let mut connect = natsune::connect(url).name("demo");
    if creds != "-" {
        connect = connect.credentials(Credentials::file(creds));
    }
    let client = connect.await?;
    let js = client.jetstream();
    make_streams(&js).await?;
    say(&json!({"ready": true}));
    register(&client, workers.parse()?).await?;
    wait_for_go().await?;

    let paths: Vec<String> = std::fs::read_to_string(list)?.lines().map(str::to_owned).collect();
    let publisher = tokio::spawn(publish(js.clone(), paths.clone()));
    progress(&js, paths.len() as u64).await?;
    publisher.await??;
    let report = judge(&js, Path::new(folder), &paths).await?;
    js.delete_stream("JOBS").await?;
    js.delete_stream("RESULTS").await?;
    say(&json!({"report": report}));
    Ok(())
}

async fn make_streams(js: &JetStream) -> Result<()> {
    let stream = |name: &str, subject: &str, retention| StreamConfig {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        retention,
        ..StreamConfig::default()
    };
    let jobs = js.create_stream(stream("JOBS", "jobs.>", RetentionPolicy::WorkQueue)).await?;
    js.create_stream(stream("RESULTS", "results.>", RetentionPolicy::Limits)).await?;
    // Short, so that what a killed worker had comes to the others while one watches.
    let workers = ConsumerConfig {
        durable_name: Some("workers".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(3),
        ..ConsumerConfig::default()
    };
    jobs.create_consumer(workers).await?;
    Ok(())
}

/// Answers each worker's registration.
async fn register(client: &Client, count: usize) -> Result<()> {
    let mut registrations = client.subscribe("demo.register").await?;
    say(&json!({"registering": true}));
    for _ in 0..count {
        let Some(message) = registrations.next().await? else { return Err("the client was closed".into()) };
        say(&json!({"registered": String::from_utf8_lossy(message.payload())}));
        message.respond("welcome").await?;
    }
    Ok(())
}

async fn wait_for_go() -> Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "go" {
            return Ok(());
        }
    }
    Err("nobody said go".into())
}

async fn publish(js: JetStream, paths: Vec<String>) -> Result<()> {
    let next = std::sync::Arc::new(std::sync::Mutex::new(paths.into_iter().enumerate()));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (js, next) = (js.clone(), next.clone());
        lanes.spawn(async move {
            loop {
                let job = next.lock().map_err(|error| error.to_string())?.next();
                let Some((id, path)) = job else { return Ok::<(), Box<dyn Error + Send + Sync>>(()) };
                let body = json!({"id": id, "path": path}).to_string();
                let once = PublishOptions { id: Some(id.to_string()), ..PublishOptions::default() };
                while let Err(error) = js.publish_with("jobs.file", &body, &once).await {
                    if !error.retryable() {
                        return Err(error.into());
                    }
                }
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

/// Says how many answers there are, until there are all.
async fn progress(js: &JetStream, total: u64) -> Result<()> {
    let results = js.stream("RESULTS")?;
    let workers = js.consumer("JOBS", "workers")?;
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        // While the broker is away there is nothing to say.
        let (Ok(info), Ok(state)) = (results.info().await, workers.info().await) else { continue };
        let done = info.state.messages;
        say(&json!({"done": done, "total": total, "in_flight": state.num_ack_pending}));
        if done >= total {
            return Ok(());
        }
    }
}

async fn judge(js: &JetStream, folder: &Path, paths: &[String]) -> Result<Value> {
    let reader = js.stream("RESULTS")?.read(1).await?;
    let mut answers = HashMap::new();
    let mut languages: BTreeMap<String, u64> = BTreeMap::new();
    let (mut twice, mut wrong) = (0_u64, Vec::new());
    while let Some(message) = reader.next().await? {
        let answer: Answer = serde_json::from_slice(message.payload())?;
        *languages.entry(answer.language.clone()).or_default() += 1;
        twice += u64::from(answer.delivered > 1);
        if answers.insert(answer.id, answer).is_some() {
            wrong.push("a job was answered twice in the results".to_owned());
        }
    }
    for (id, path) in paths.iter().enumerate() {
        let content = std::fs::read(folder.join(path))?;
        let sha256 = format!("{:x}", Sha256::digest(&content));
        let lines = content.iter().filter(|byte| **byte == b'\n').count();
        match answers.get(&(id as u64)) {
            None => wrong.push(format!("{path}: no answer")),
            Some(answer) if (answer.size, answer.lines, &answer.sha256) != (content.len(), lines, &sha256) => {
                wrong.push(format!("{path}: {} answered something else", answer.language));
            }
            Some(_) => {}
        }
    }
    Ok(
        json!({"jobs": paths.len(), "answered": answers.len(), "wrong": wrong, "languages": languages, "delivered_twice": twice}),
    )
}
