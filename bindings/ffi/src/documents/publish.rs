//! Publishing to streams and reading from consumers: what may be asked, and what comes back.

use std::time::Duration;

use crate::documents::{fields, info, options};
#[cfg(feature = "mobile")]
use crate::failure::{Failure, R};

options! {
    #[derive(Debug)]
    /// What a publish to a stream may ask for.
    PublishOptions {
        ;
        /// Id of the message: a second one with the same id is a duplicate. Makes a time-out safe to retry.
        id: Option<String>,
        /// The stream that must store it.
        expected_stream: Option<String>,
        /// The last sequence that the stream must have.
        expected_last_sequence: Option<u64>,
        /// The last sequence that the subject must have; 0: it must have none.
        expected_last_subject_sequence: Option<u64>,
        /// The subject that `expected_last_subject_sequence` is about, when it is another one; wildcards allowed.
        expected_last_subject: Option<String>,
        /// The id that the last message must have.
        expected_last_message_id: Option<String>,
        /// How long the stream keeps the message.
        #[serde(with = "fields::seconds_option")]
        ttl: Option<Duration>,
        /// How long to wait for the ack.
        #[serde(with = "fields::seconds_option")]
        timeout: Option<Duration>,
    }
}

info! {
    #[derive(Debug)]
    /// What a stream says of a message that it stored.
    PublishAck {
        /// The stream.
        stream: String,
        /// Its sequence in the stream.
        sequence: u64,
        /// It was there already, by its id.
        duplicate: bool,
        /// The JetStream domain.
        domain: Option<String>,
        /// The new value of a counter.
        value: Option<String>,
    }
}

options! {
    #[derive(Debug)]
    /// How messages are fetched from a consumer.
    FetchOptions {
        ;
        /// Most messages.
        max_messages: Option<u64>,
        /// Most bytes.
        max_bytes: Option<u64>,
        /// How long to wait until all of them are there.
        #[serde(with = "fields::seconds_option")]
        timeout: Option<Duration>,
        /// Give what is there, do not wait.
        no_wait: bool,
    }
}

options! {
    #[derive(Debug)]
    /// How messages of a consumer are kept flowing.
    ConsumeOptions {
        ;
        /// Most messages that are under way or not handled yet.
        max_messages: Option<u64>,
        /// Most bytes that are under way or not handled yet; not together with `max_messages`.
        max_bytes: Option<u64>,
        /// How long one request of ours lives.
        #[serde(with = "fields::seconds_option")]
        expires: Option<Duration>,
        /// How often the server says that it lives.
        #[serde(with = "fields::seconds_option")]
        heartbeat: Option<Duration>,
        /// Ask again when no more than this (messages, or bytes with `max_bytes`) is under way or not handled.
        threshold: Option<u64>,
        /// For consumers with priority groups.
        priority: Option<PriorityOptions>,
    }
}

options! {
    #[derive(Debug)]
    /// A place in a consumer's priority group.
    PriorityOptions {
        /// The group.
        group: String,
        ;
        /// Only when at least so many messages are pending.
        min_pending: Option<u64>,
        /// Only when at least so many messages wait for their ack.
        min_ack_pending: Option<u64>,
        /// 0 (first) to 9.
        priority: Option<u32>,
    }
}

impl PublishOptions {
    /// Sets one field from its text, as the packed lanes give it.
    #[cfg(feature = "mobile")]
    pub(crate) fn set(&mut self, name: &str, text: &str) -> R<()> {
        let number = || text.parse().map_err(|_| Failure::field(name, format!("the field `{name}` must be a number")));
        let seconds = || {
            let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            seconds.ok_or_else(|| Failure::field(name, format!("the field `{name}` must be seconds from 0 on")))
        };
        match name {
            "id" => self.id = Some(text.to_owned()),
            "expected_stream" => self.expected_stream = Some(text.to_owned()),
            "expected_last_sequence" => self.expected_last_sequence = Some(number()?),
            "expected_last_subject_sequence" => self.expected_last_subject_sequence = Some(number()?),
            "expected_last_subject" => self.expected_last_subject = Some(text.to_owned()),
            "expected_last_message_id" => self.expected_last_message_id = Some(text.to_owned()),
            "ttl" => self.ttl = Some(seconds()?),
            "timeout" => self.timeout = Some(seconds()?),
            _ => return Err(Failure::field(name, format!("there is no field `{name}`"))),
        }
        Ok(())
    }

    pub(crate) fn into_core(self) -> natsune::jetstream::PublishOptions {
        natsune::jetstream::PublishOptions {
            id: self.id,
            expected_stream: self.expected_stream,
            expected_last_sequence: self.expected_last_sequence,
            expected_last_subject_sequence: self.expected_last_subject_sequence,
            expected_last_subject: self.expected_last_subject,
            expected_last_message_id: self.expected_last_message_id,
            ttl: self.ttl,
            timeout: self.timeout,
            headers: None,
        }
    }
}

impl PublishAck {
    pub(crate) fn from_core(mut ack: natsune::jetstream::PublishAck) -> PublishAck {
        let value = ack.extra.remove("val").and_then(|value| match value {
            serde_json::Value::String(text) => Some(text),
            _ => None,
        });
        PublishAck { stream: ack.stream, sequence: ack.sequence, duplicate: ack.duplicate, domain: ack.domain, value }
    }
}

impl FetchOptions {
    pub(crate) fn into_core(self) -> natsune::jetstream::FetchOptions {
        natsune::jetstream::FetchOptions {
            max_messages: self.max_messages.unwrap_or(1),
            max_bytes: self.max_bytes,
            timeout: self.timeout,
            no_wait: self.no_wait,
        }
    }
}

impl PriorityOptions {
    fn into_core(self) -> natsune::jetstream::Priority {
        natsune::jetstream::Priority {
            group: self.group,
            min_pending: self.min_pending,
            min_ack_pending: self.min_ack_pending,
            priority: self.priority.map(|priority| u8::try_from(priority).unwrap_or(u8::MAX)),
        }
    }
}

impl ConsumeOptions {
    pub(crate) fn into_core(self) -> natsune::jetstream::ConsumeOptions {
        natsune::jetstream::ConsumeOptions {
            max_messages: self.max_messages,
            max_bytes: self.max_bytes,
            threshold: self.threshold,
            expires: self.expires,
            heartbeat: self.heartbeat,
            priority: self.priority.map(PriorityOptions::into_core),
        }
    }
}
