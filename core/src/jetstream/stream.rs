//! A stream: its information, its messages one by one, and its consumers.

use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64;
use natsune_protocol::subject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::consumer::Consumer;
use super::context::{JetStream, check_name};
use super::documents::{ConsumerConfig, ConsumerInfo, Document, StreamInfo};
use super::errors::number;
use super::message::StreamMessage;
use super::reader::StreamReader;
use crate::error::{Code, Error, Result};
use crate::message::Message;

/// A handle on a stream. Cheap to clone.
#[derive(Clone)]
pub struct Stream {
    inner: Arc<Inner>,
}

struct Inner {
    js: JetStream,
    name: String,
    info: Option<StreamInfo>,
}

/// What [`Stream::purge`] deletes. Nothing set: everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeOptions {
    /// Only messages with such a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Only messages before this sequence.
    #[serde(skip_serializing_if = "Option::is_none", rename(serialize = "seq"))]
    pub sequence: Option<u64>,
    /// All but the last so many. Not together with `sequence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<u64>,
}

#[derive(Deserialize)]
struct Purged {
    purged: u64,
}

#[derive(Deserialize)]
struct Success {}

#[derive(Deserialize)]
struct Found {
    message: Stored,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: String,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("name", &self.inner.name).finish_non_exhaustive()
    }
}

impl Stream {
    pub(crate) fn new(js: &JetStream, name: String, info: Option<StreamInfo>) -> Result<Stream> {
        check_name("stream", &name)?;
        Ok(Stream { inner: Arc::new(Inner { js: js.clone(), name, info }) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The JetStream it is reached through.
    pub fn jetstream(&self) -> &JetStream {
        &self.inner.js
    }

    /// What the server said when this handle was made by creating or updating the stream.
    pub fn cached_info(&self) -> Option<&StreamInfo> {
        self.inner.info.as_ref()
    }

    fn what(&self) -> String {
        format!("stream {}", self.inner.name)
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, verb: &str, body: &impl Serialize) -> Result<T> {
        self.inner.js.api(&format!("STREAM.{verb}.{}", self.inner.name), body, &self.what()).await
    }

    /// Its configuration and state.
    pub async fn info(&self) -> Result<StreamInfo> {
        self.ask("INFO", &()).await
    }

    /// Its configuration and state, with how many messages each subject has (`filter`: which subjects). The counts are in
    /// [`raw`](super::Info::raw) under `state.subjects`.
    pub async fn info_with_subjects(&self, filter: &str) -> Result<StreamInfo> {
        let mut info: Value = self.ask("INFO", &json!({"subjects_filter": filter})).await?;
        // A hundred thousand subjects a page.
        loop {
            let total = info["total"].as_u64().unwrap_or(0);
            let have = info["state"]["subjects"].as_object().map_or(0, serde_json::Map::len);
            if have as u64 >= total {
                break;
            }
            let page: Value = self.ask("INFO", &json!({"subjects_filter": filter, "offset": have})).await?;
            let Value::Object(more) = page["state"]["subjects"].clone() else { break };
            if more.is_empty() {
                break;
            }
            if let Some(all) = info["state"]["subjects"].as_object_mut() {
                all.extend(more);
                if all.len() == have {
                    break;
                }
            }
        }
        serde_json::from_value(info).map_err(|e| Error::new(Code::Server, format!("{}: {e}", self.what())))
    }

    /// Changes its configuration.
    pub async fn update(&self, config: impl Into<Document<super::StreamConfig>>) -> Result<Stream> {
        let config = config.into();
        if config.name != self.inner.name {
            let text = format!("the configuration is of stream {:?}, not of {:?}", config.name, self.inner.name);
            return Err(Error::new(Code::InvalidArgument, text));
        }
        self.inner.js.update_stream(config).await
    }

    /// Deletes messages and says how many.
    pub async fn purge(&self, options: &PurgeOptions) -> Result<u64> {
        if options.sequence.is_some() && options.keep.is_some() {
            return Err(Error::new(Code::InvalidArgument, "purge by sequence or by keep, not by both"));
        }
        Ok(self.ask::<Purged>("PURGE", options).await?.purged)
    }

    /// Deletes the stream with its messages and consumers.
    pub async fn delete(&self) -> Result<()> {
        self.ask::<Success>("DELETE", &()).await.map(drop)
    }

    // ---- messages

    /// The message with a sequence; `None` when there is none (any more).
    pub async fn get(&self, sequence: u64) -> Result<Option<StreamMessage>> {
        self.find(&json!({"seq": sequence})).await
    }

    /// The last message with a subject, which may have wildcards.
    pub async fn last_for(&self, subject: &str) -> Result<Option<StreamMessage>> {
        check_filter(subject)?;
        self.find(&json!({"last_by_subj": subject})).await
    }

    /// The first message from `sequence` on with a subject, which may have wildcards.
    pub async fn next_for(&self, subject: &str, sequence: u64) -> Result<Option<StreamMessage>> {
        check_filter(subject)?;
        self.find(&json!({"next_by_subj": subject, "seq": sequence})).await
    }

    async fn find(&self, query: &Value) -> Result<Option<StreamMessage>> {
        // Only a handle that was made with the answer of the server knows; any replica may answer then.
        if self.cached_info().is_some_and(|info| info.config.allow_direct) {
            match self.find_direct(query).await {
                // It was switched off meanwhile.
                Err(e) if e.code() == Code::NoResponders => {}
                result => return result,
            }
        }
        match self.ask::<Found>("MSG.GET", query).await {
            Ok(found) => self.message(found.message).map(Some),
            Err(e) if matches!(e.detail().err_code, Some(number::NO_MESSAGE_FOUND | number::SEQUENCE_NOT_FOUND)) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    async fn find_direct(&self, query: &Value) -> Result<Option<StreamMessage>> {
        let js = &self.inner.js;
        let subject = js.api_subject(&format!("DIRECT.GET.{}", self.inner.name));
        let answer = js.client().request(subject, query.to_string()).timeout(js.timeout()).await?;
        match answer.status() {
            Some(status) if status.code == 404 => return Ok(None),
            Some(status) => {
                let text = format!("{}: the message cannot be read: {}", self.what(), status.text);
                return Err(Error::new(Code::InvalidArgument, text).with_status(status.code));
            }
            None => {}
        }
        let broken = |part: &str| Error::new(Code::Server, format!("{}: the message's {part} is missing", self.what()));
        let subject = answer.header("Nats-Subject").ok_or_else(|| broken("subject"))?;
        let sequence = answer.header("Nats-Sequence").and_then(|s| s.parse().ok()).ok_or_else(|| broken("sequence"))?;
        let nanos = answer.header("Nats-Time-Stamp").and_then(nanos).ok_or_else(|| broken("time"))?;
        // What the server adds to a direct answer is not part of the message.
        let mut headers = answer.headers().clone();
        for name in [
            "Nats-Stream",
            "Nats-Subject",
            "Nats-Sequence",
            "Nats-Time-Stamp",
            "Nats-Num-Pending",
            "Nats-Last-Sequence",
        ] {
            headers.delete(name);
        }
        let mut block = Vec::new();
        if !headers.is_empty() {
            headers.encode(&mut block);
        }
        let block = (!block.is_empty()).then_some(block.as_slice());
        let message = Message::from_parts(Some(&answer), subject, None, block, answer.payload());
        Ok(Some(StreamMessage::new(message, sequence, nanos)))
    }

    fn message(&self, stored: Stored) -> Result<StreamMessage> {
        let broken =
            |part: &str| Error::new(Code::Server, format!("{}: the message's {part} cannot be read", self.what()));
        let headers = BASE64.decode(stored.hdrs.as_bytes()).map_err(|_| broken("headers"))?;
        let payload = BASE64.decode(stored.data.as_bytes()).map_err(|_| broken("data"))?;
        let nanos = nanos(&stored.time).ok_or_else(|| broken("time"))?;
        let headers = (!headers.is_empty()).then_some(headers.as_slice());
        let message = Message::from_parts(None, &stored.subject, None, headers, &payload);
        Ok(StreamMessage::new(message, stored.seq, nanos))
    }

    /// Deletes one message; `not_found` when it is not there. Its bytes stay on the server's disk until they are written over.
    pub async fn delete_message(&self, sequence: u64) -> Result<()> {
        self.ask::<Success>("MSG.DELETE", &json!({"seq": sequence, "no_erase": true})).await.map(drop)
    }

    /// Deletes one message and overwrites its bytes, which is slower; `not_found` when it is not there.
    pub async fn erase_message(&self, sequence: u64) -> Result<()> {
        self.ask::<Success>("MSG.DELETE", &json!({"seq": sequence})).await.map(drop)
    }

    /// Reads the stream in order, from `start` (0: its first message) to its end: to the moment when nothing more is there. It
    /// goes on across reconnects without a gap.
    pub async fn read(&self, start: u64) -> Result<StreamReader> {
        StreamReader::start(self, start).await
    }

    // ---- consumers

    /// A handle on a consumer, made without asking the server.
    pub fn consumer(&self, name: impl Into<String>) -> Result<Consumer> {
        Consumer::new(self, name.into(), None)
    }

    /// Makes a consumer. The same again succeeds; another configuration under the name is `already_exists`. Without a name the server
    /// gives one, and the consumer goes away when nobody uses it.
    pub async fn create_consumer(&self, config: impl Into<Document<ConsumerConfig>>) -> Result<Consumer> {
        self.put_consumer("create", config.into()).await
    }

    /// Changes a consumer; `not_found` when there is none.
    pub async fn update_consumer(&self, config: impl Into<Document<ConsumerConfig>>) -> Result<Consumer> {
        self.put_consumer("update", config.into()).await
    }

    /// Makes or changes a consumer.
    pub async fn create_or_update_consumer(&self, config: impl Into<Document<ConsumerConfig>>) -> Result<Consumer> {
        self.put_consumer("", config.into()).await
    }

    async fn put_consumer(&self, action: &str, mut config: Document<ConsumerConfig>) -> Result<Consumer> {
        let name = match (&config.durable_name, &config.name) {
            (Some(durable), Some(name)) if durable != name => {
                let text =
                    format!("durable_name {durable:?} and name {name:?} must be the same, or only one of them set");
                return Err(Error::new(Code::InvalidArgument, text));
            }
            (Some(name), _) | (None, Some(name)) => Some(name.clone()),
            (None, None) => None,
        };
        let stream = &self.inner.name;
        let (tail, what) = match &name {
            Some(name) => {
                check_name("consumer", name)?;
                config.known.name = Some(name.clone());
                // The filter in the subject lets permissions speak of it; one with wildcards is no part of a subject to publish to.
                let filter = match config.filter_subjects.as_slice() {
                    [] => config.filter_subject.as_str(),
                    [one] if config.filter_subject.is_empty() => one.as_str(),
                    _ => "",
                };
                let filter = if filter.contains(['*', '>']) { "" } else { filter };
                let dot = if filter.is_empty() { "" } else { "." };
                (format!("CONSUMER.CREATE.{stream}.{name}{dot}{filter}"), format!("consumer {name} of stream {stream}"))
            }
            None => (format!("CONSUMER.CREATE.{stream}"), format!("a consumer of stream {stream}")),
        };
        let mut body = json!({"stream_name": stream, "config": &config});
        if !action.is_empty() {
            body["action"] = json!(action);
        }
        let info: ConsumerInfo = self.inner.js.api(&tail, &body, &what).await?;
        Consumer::new(self, info.name.clone(), Some(info))
    }

    /// Deletes a consumer; `not_found` when there is none.
    pub async fn delete_consumer(&self, name: &str) -> Result<()> {
        self.consumer(name)?.delete().await
    }

    /// The names of its consumers.
    pub async fn consumer_names(&self) -> Result<Vec<String>> {
        self.inner.js.pages(&format!("CONSUMER.NAMES.{}", self.inner.name), "consumers", None, &self.what()).await
    }

    /// Its consumers.
    pub async fn consumers(&self) -> Result<Vec<ConsumerInfo>> {
        self.inner.js.pages(&format!("CONSUMER.LIST.{}", self.inner.name), "consumers", None, &self.what()).await
    }
}

fn nanos(time: &str) -> Option<i64> {
    i64::try_from(OffsetDateTime::parse(time, &Rfc3339).ok()?.unix_timestamp_nanos()).ok()
}

fn check_filter(filter: &str) -> Result<()> {
    if subject::is_valid_filter(filter) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidArgument, format!("{filter:?} is not a subject")).with_subject(filter))
}
