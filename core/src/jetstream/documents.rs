//! The documents of JetStream: async-nats' serde types, with everything that this version does not know kept beside them.

use std::ops::{Deref, DerefMut};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PriorityPolicy, ReplayPolicy};
pub use async_nats::jetstream::stream::{
    Compression, ConsumerLimits, DiscardPolicy, External, Placement, Republish, RetentionPolicy, Source, State,
    StorageType, SubjectTransform,
};

/// The configuration of a stream, as the server knows it.
pub use async_nats::jetstream::stream::Config as StreamConfig;

/// The configuration of a consumer (pull or push), as the server knows it.
pub use async_nats::jetstream::consumer::Config as ConsumerConfig;

/// A configuration: the fields that are known, and the others as they came. Both go back to the server, so that
/// `update(info.config)` never drops a setting that this version has no name for.
///
/// It can be read and changed like the known part (`document.max_messages = 10`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document<T> {
    /// The fields with a name and a type.
    pub known: T,
    /// Everything else, in the same places: a nested object holds only what is not known of it.
    pub extra: Map<String, Value>,
}

impl<T> Deref for Document<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<T> DerefMut for Document<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.known
    }
}

impl<T> From<T> for Document<T> {
    fn from(known: T) -> Document<T> {
        Document { known, extra: Map::new() }
    }
}

impl<T: Clone> From<&Document<T>> for Document<T> {
    fn from(document: &Document<T>) -> Document<T> {
        document.clone()
    }
}

impl<T: Serialize> Serialize for Document<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.extra.is_empty() {
            return self.known.serialize(serializer);
        }
        let Value::Object(mut all) = serde_json::to_value(&self.known).map_err(S::Error::custom)? else {
            return Err(S::Error::custom("a document is an object"));
        };
        add_missing(&mut all, &self.extra);
        all.serialize(serializer)
    }
}

impl<'de, T: Serialize + DeserializeOwned> Deserialize<'de> for Document<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Document<T>, D::Error> {
        let all = Map::<String, Value>::deserialize(deserializer)?;
        let known = T::deserialize(Value::Object(all.clone())).map_err(D::Error::custom)?;
        let Value::Object(told) = serde_json::to_value(&known).map_err(D::Error::custom)? else {
            return Err(D::Error::custom("a document is an object"));
        };
        let extra = beyond::<T>(&all, &told, &all);
        Ok(Document { known, extra })
    }
}

/// What of `all` is not in `told`, the known part written out again. A known field with its empty value is not written out; it is
/// told from an unknown one by asking the type: it refuses nonsense in a field that it knows.
fn beyond<T: DeserializeOwned>(
    all: &Map<String, Value>,
    told: &Map<String, Value>,
    whole: &Map<String, Value>,
) -> Map<String, Value> {
    let mut extra = Map::new();
    for (name, value) in all {
        match told.get(name) {
            Some(known) => {
                if let Some(rest) = difference(value, known) {
                    extra.insert(name.clone(), rest);
                }
            }
            None if is_empty(value) && knows::<T>(whole, name) => {}
            None => {
                extra.insert(name.clone(), value.clone());
            }
        }
    }
    extra
}

/// The unknown part of a value whose known part is `known`.
fn difference(value: &Value, known: &Value) -> Option<Value> {
    match (value, known) {
        (Value::Object(all), Value::Object(told)) => {
            let rest: Map<String, Value> = all
                .iter()
                .filter_map(|(name, value)| match told.get(name) {
                    Some(known) => difference(value, known).map(|rest| (name.clone(), rest)),
                    None if is_empty(value) => None,
                    None => Some((name.clone(), value.clone())),
                })
                .collect();
            (!rest.is_empty()).then_some(Value::Object(rest))
        }
        (Value::Array(all), Value::Array(told)) if all.len() == told.len() => {
            let rest: Vec<Option<Value>> = all.iter().zip(told).map(|(v, k)| difference(v, k)).collect();
            rest.iter()
                .any(Option::is_some)
                .then(|| Value::Array(rest.into_iter().map(|v| v.unwrap_or(Value::Object(Map::new()))).collect()))
        }
        _ => None,
    }
}

/// Puts what is only in `extra` into `all`; what is in both stays as it is in `all`.
fn add_missing(all: &mut Map<String, Value>, extra: &Map<String, Value>) {
    for (name, value) in extra {
        match all.get_mut(name) {
            None => {
                all.insert(name.clone(), value.clone());
            }
            Some(known) => complete(known, value),
        }
    }
}

fn complete(known: &mut Value, extra: &Value) {
    match (known, extra) {
        (Value::Object(known), Value::Object(extra)) => add_missing(known, extra),
        // A list that was changed has no places to put the rest back into.
        (Value::Array(known), Value::Array(extra)) if known.len() == extra.len() => {
            for (known, extra) in known.iter_mut().zip(extra) {
                complete(known, extra);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

fn knows<T: DeserializeOwned>(whole: &Map<String, Value>, name: &str) -> bool {
    let mut nonsense = whole.clone();
    nonsense.insert(name.to_owned(), serde_json::json!([[[[]]]]));
    T::deserialize(Value::Object(nonsense)).is_err()
}

/// What the server tells about a stream, a consumer or an account: the fields that are known, and the answer as it came.
///
/// It reads like the known part (`info.state.messages`); written as JSON it is the server's own document.
#[derive(Debug, Clone, PartialEq)]
pub struct Info<T> {
    known: T,
    raw: Map<String, Value>,
}

impl<T> Info<T> {
    /// The answer as the server wrote it, fields included that have no name here.
    pub fn raw(&self) -> &Map<String, Value> {
        &self.raw
    }
}

impl<T> Deref for Info<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.known
    }
}

impl<T> Serialize for Info<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Info<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Info<T>, D::Error> {
        let mut raw = Map::<String, Value>::deserialize(deserializer)?;
        raw.remove("type");
        raw.remove("did_create");
        let known = T::deserialize(Value::Object(raw.clone())).map_err(D::Error::custom)?;
        Ok(Info { known, raw })
    }
}

/// What the server tells about a stream.
pub type StreamInfo = Info<StreamFacts>;
/// What the server tells about a consumer.
pub type ConsumerInfo = Info<ConsumerFacts>;
/// What the server tells about the account: use and limits.
pub type AccountInfo = Info<async_nats::jetstream::account::Account>;

/// The known part of a stream's information.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StreamFacts {
    /// The configuration, ready to be changed and sent back.
    pub config: Document<StreamConfig>,
    /// When the stream was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: time::OffsetDateTime,
    /// Messages, bytes, sequences.
    pub state: State,
}

/// The known part of a consumer's information.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ConsumerFacts {
    /// The stream it reads.
    pub stream_name: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created: time::OffsetDateTime,
    /// The configuration, ready to be changed and sent back.
    pub config: Document<ConsumerConfig>,
    /// The last delivery.
    pub delivered: async_nats::jetstream::consumer::SequenceInfo,
    /// Everything up to here is acknowledged.
    pub ack_floor: async_nats::jetstream::consumer::SequenceInfo,
    /// Delivered and not acknowledged.
    #[serde(default)]
    pub num_ack_pending: u64,
    /// Delivered more than once and not acknowledged.
    #[serde(default)]
    pub num_redelivered: u64,
    /// Pull requests that wait.
    #[serde(default)]
    pub num_waiting: u64,
    /// Messages still to be delivered.
    #[serde(default)]
    pub num_pending: u64,
    /// Whether somebody receives from this push consumer.
    #[serde(default)]
    pub push_bound: bool,
    /// Whether it is paused.
    #[serde(default)]
    pub paused: bool,
}

#[cfg(test)]
#[path = "documents_tests.rs"]
mod tests;
