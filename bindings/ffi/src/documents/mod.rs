//! The documents: cold data in and out, one definition for all languages. Names, types and checks live here; defaults do not
//! (absent fields get core's or the server's).
//!
//! In JSON (Python, Node) durations are float seconds and instants RFC 3339 texts; in generated code (Swift, Kotlin) they
//! are the language's own. `extra` keeps the fields of a server's answer that this version does not know, and sends them
//! back: in JSON as they are, in generated code as JSON texts.

mod account;
mod broker;
mod client;
mod consumer;
pub(crate) mod fields;
mod publish;
mod stream;
pub(crate) mod wire;

pub use account::{AccountInfo, AccountLimits, AccountTier, ApiStats};
pub use broker::{BrokerOptions, CredentialsInfo, NamespaceInfo};
pub use client::{
    ConnectOptions, Event, PublishCounts, ServerInfo, Stats, SubscribeOptions, SubscriptionStats, TlsOptions,
};
pub use consumer::{
    AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy, PriorityPolicy, ReplayPolicy, SequenceInfo,
};
pub use publish::{ConsumeOptions, FetchOptions, PriorityOptions, PublishAck, PublishOptions};
pub use stream::{
    ClusterInfo, Compression, ConsumerLimits, DiscardPolicy, ExternalStream, PeerInfo, PersistMode, Placement,
    Republish, RetentionPolicy, SourceInfo, StorageType, StreamConfig, StreamInfo, StreamSource, StreamState,
    SubjectTransform,
};

pub(crate) use account::ACCOUNT_INFO;
pub(crate) use client::{connect_options, same_fields};
pub(crate) use consumer::{CONSUMER_CONFIG, CONSUMER_INFO};
pub(crate) use stream::{STREAM_CONFIG, STREAM_INFO};

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, R};

/// A document that a caller gives: every field may be absent but those in front of the semicolon. `Debug` is left to the
/// caller of the macro, because some hold secrets.
macro_rules! options {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$needed_meta:meta])* $needed:ident: $needed_ty:ty,)*;
        $($(#[$field_meta:meta])* $field:ident: $ty:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[cfg_attr(feature = "mobile", derive(uniffi::Record))]
        pub struct $name {
            $($(#[$needed_meta])* pub $needed: $needed_ty,)*
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::documents::fields::Absent::absent")]
                #[cfg_attr(feature = "mobile", uniffi(default))]
                pub $field: $ty,
            )*
        }
    };
}

/// A document that we give: every field is there.
macro_rules! info {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        #[cfg_attr(feature = "mobile", derive(uniffi::Record))]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
    };
}

/// A word of NATS: the known ones have names, a newer server's word is kept as it came.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$word_meta:meta])* $word:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        #[cfg_attr(feature = "mobile", derive(uniffi::Enum))]
        pub enum $name {
            $($(#[$word_meta])* $word,)*
            /// A word that this version does not know.
            Other {
                /// The word.
                name: String,
            },
        }

        impl From<String> for $name {
            fn from(name: String) -> $name {
                match name.as_str() {
                    $($text => $name::$word,)*
                    _ => $name::Other { name },
                }
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                match word {
                    $($name::$word => $text.to_owned(),)*
                    $name::Other { name } => name,
                }
            }
        }
    };
}

pub(crate) use {info, options, words};

/// A finished document on its way out: JSON for the generic lane, itself for the typed one.
pub(crate) trait Document: Any + Send {
    fn to_json(&self) -> R<String>;
    #[cfg(feature = "mobile")]
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<T: Serialize + Any + Send> Document for T {
    fn to_json(&self) -> R<String> {
        serde_json::to_string(self).map_err(|error| Failure::internal(format!("cannot write the document: {error}")))
    }

    #[cfg(feature = "mobile")]
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// Reads a caller's document; an unknown or wrong field is `invalid_argument` and named in the detail.
pub(crate) fn parse<T: DeserializeOwned>(document: &str) -> R<T> {
    let document = if document.is_empty() { "{}" } else { document };
    let mut value: Value = serde_json::from_str(document).map_err(|error| refused(&error))?;
    // serde would take a list as a struct's fields in order.
    if !value.is_object() {
        return Err(Failure::invalid("the document must be an object"));
    }
    drop_nulls(&mut value);
    serde_json::from_value(value).map_err(|error| refused(&error))
}

/// Null is absence, in every field.
pub(crate) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The failure for a document that does not fit. Only the field's name is repeated, never a value.
pub(crate) fn refused(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let named = text.split('`').nth(1).filter(|_| text.contains("field `"));
    match named {
        Some(field) if text.starts_with("unknown field") => {
            Failure::field(field, format!("there is no field `{field}`"))
        }
        Some(field) if text.starts_with("missing field") => {
            Failure::field(field, format!("the field `{field}` is missing"))
        }
        _ if text.starts_with("invalid type") || text.starts_with("invalid value") => {
            let wanted = text.rsplit("expected ").next().unwrap_or("another type");
            let wanted = if wanted.starts_with("struct ") { "an object" } else { wanted };
            Failure::invalid(format!("a field of the document has the wrong type: expected {wanted}"))
        }
        _ => Failure::invalid(format!("the document cannot be read: {}", text.replace(['\n', '\r'], " "))),
    }
}

#[cfg(test)]
mod tests;
