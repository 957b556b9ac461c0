//! A worker of a work queue: takes jobs (a file each), answers with size, lines and SHA-256, acknowledges.
//!
//! `worker URL CREDS FOLDER`, where `FOLDER` holds the files that the jobs name.

use natsune::Credentials;
use natsune::jetstream::{ConsumeOptions, PublishOptions};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

const LANGUAGE: &str = "rust";

#[derive(Deserialize)]
struct Job {
    id: u64,
    path: String,
}

#[derive(Serialize)]
struct Answer {
    id: u64,
    language: &'static str,
    size: usize,
    lines: usize,
    sha256: String,
    delivered: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, creds, folder] = arguments.as_slice() else { return Err("usage: worker URL CREDS FOLDER".into()) };
    let client = natsune::connect(url).credentials(Credentials::file(creds)).name(LANGUAGE).await?;
    client.request("demo.register", LANGUAGE).await?;

    let js = client.jetstream();
    let jobs = js
        .consumer("JOBS", "workers")?
        .consume(&ConsumeOptions { max_messages: Some(20), ..Default::default() })
        .await?;
    while let Some(message) = jobs.next().await? {
        let job: Job = serde_json::from_slice(message.payload())?;
        let content = std::fs::read(Path::new(folder).join(&job.path))?;
        let answer = Answer {
            id: job.id,
            language: LANGUAGE,
            size: content.len(),
            lines: content.iter().filter(|byte| **byte == b'\n').count(),
            sha256: format!("{:x}", Sha256::digest(&content)),
            delivered: message.metadata()?.num_delivered,
        };
        // The id makes the answer safe to repeat: the stream keeps the first.
        let once = PublishOptions { id: Some(job.id.to_string()), ..Default::default() };
        while let Err(error) = js.publish_with("results.rust", serde_json::to_vec(&answer)?, &once).await {
            if !error.retryable() {
                return Err(error.into());
            }
        }
        message.ack()?;
    }
    Ok(())
}
