//! Permissions and limits, shared by the claims.
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// "No limit". An absent number is 0, which is not the same: it forbids.
pub const NO_LIMIT: i64 = -1;

pub(super) fn is_zero(value: &i64) -> bool {
    *value == 0
}

pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

/// Allowed and denied subjects. Denial wins; an empty list of allowed ones allows all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permission {
    /// Subjects, for subscribing also `subject queue`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Subjects that are refused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
}

impl Permission {
    /// True when nothing is said.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}

/// The right to answer requests on their reply subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResponsePermission {
    /// How many answers per request.
    pub max: i64,
    /// For how long, in nanoseconds.
    pub ttl: i64,
}

/// What may be published and subscribed to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Publishing.
    #[serde(rename = "pub")]
    pub publish: Permission,
    /// Subscribing.
    #[serde(rename = "sub")]
    pub subscribe: Permission,
    /// Answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resp: Option<ResponsePermission>,
}

/// A part of the day, `15:04:05` each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TimeRange {
    /// From.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// To.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// A user's permissions and limits; also the template of a scoped signing key. The default forbids: all numbers are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserRights {
    /// Publishing.
    #[serde(rename = "pub")]
    pub publish: Permission,
    /// Subscribing.
    #[serde(rename = "sub")]
    pub subscribe: Permission,
    /// Answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resp: Option<ResponsePermission>,
    /// Networks the user may come from.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "networks")]
    pub src: Vec<String>,
    /// Times of day the user may be connected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// The time zone of `times`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub times_location: String,
    /// Subscriptions.
    #[serde(skip_serializing_if = "is_zero")]
    pub subs: i64,
    /// Bytes; servers do not enforce it.
    #[serde(skip_serializing_if = "is_zero")]
    pub data: i64,
    /// Largest payload.
    #[serde(skip_serializing_if = "is_zero")]
    pub payload: i64,
    /// The token alone lets in, without a signature.
    #[serde(skip_serializing_if = "is_false")]
    pub bearer_token: bool,
    /// Only through a trusted proxy.
    #[serde(skip_serializing_if = "is_false")]
    pub proxy_required: bool,
    /// `STANDARD`, `WEBSOCKET`, …; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_connection_types: Vec<String>,
}

impl UserRights {
    /// Everything allowed, nothing limited.
    pub fn unlimited() -> UserRights {
        UserRights { subs: NO_LIMIT, data: NO_LIMIT, payload: NO_LIMIT, ..UserRights::default() }
    }

    /// The permissions alone.
    pub fn permissions(&self) -> Permissions {
        Permissions { publish: self.publish.clone(), subscribe: self.subscribe.clone(), resp: self.resp.clone() }
    }
}

/// A list of networks, or one string with commas.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Form::deserialize(deserializer)? {
        Form::List(list) => list,
        Form::Text(text) => {
            text.split(',').map(|part| part.trim().to_lowercase()).filter(|part| !part.is_empty()).collect()
        }
    })
}

/// Limits on JetStream, of an account or of one tier of it. 0 bytes of a storage: not allowed; 0 of the counts: no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JetStreamLimits {
    /// Bytes in memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub mem_storage: i64,
    /// Bytes on disk.
    #[serde(skip_serializing_if = "is_zero")]
    pub disk_storage: i64,
    /// Streams.
    #[serde(skip_serializing_if = "is_zero")]
    pub streams: i64,
    /// Consumers.
    #[serde(skip_serializing_if = "is_zero")]
    pub consumer: i64,
    /// Unacknowledged messages of a consumer.
    #[serde(skip_serializing_if = "is_zero")]
    pub max_ack_pending: i64,
    /// Bytes of one stream in memory.
    #[serde(skip_serializing_if = "is_zero")]
    pub mem_max_stream_bytes: i64,
    /// Bytes of one stream on disk.
    #[serde(skip_serializing_if = "is_zero")]
    pub disk_max_stream_bytes: i64,
    /// Every stream must have a limit of bytes.
    #[serde(skip_serializing_if = "is_false")]
    pub max_bytes_required: bool,
}

/// What the operator allows an account. The default forbids: all numbers are 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccountLimits {
    /// Subscriptions of a connection.
    #[serde(skip_serializing_if = "is_zero")]
    pub subs: i64,
    /// Bytes; servers do not enforce it.
    #[serde(skip_serializing_if = "is_zero")]
    pub data: i64,
    /// Largest payload.
    #[serde(skip_serializing_if = "is_zero")]
    pub payload: i64,
    /// Imports.
    #[serde(skip_serializing_if = "is_zero")]
    pub imports: i64,
    /// Exports.
    #[serde(skip_serializing_if = "is_zero")]
    pub exports: i64,
    /// Exports may have wildcards.
    #[serde(skip_serializing_if = "is_false")]
    pub wildcards: bool,
    /// Users must not have bearer tokens.
    #[serde(skip_serializing_if = "is_false")]
    pub disallow_bearer: bool,
    /// Connections.
    #[serde(skip_serializing_if = "is_zero")]
    pub conn: i64,
    /// Leaf node connections.
    #[serde(skip_serializing_if = "is_zero")]
    pub leaf: i64,
    /// JetStream; without storage it is off.
    #[serde(flatten)]
    pub jetstream: JetStreamLimits,
    /// JetStream by tier (`R1`, `R3`); excludes the limits in `jetstream`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tiered_limits: BTreeMap<String, JetStreamLimits>,
    /// Fields this crate does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl AccountLimits {
    /// No limits, JetStream off: what the official tools start with.
    pub fn unlimited() -> AccountLimits {
        AccountLimits {
            subs: NO_LIMIT,
            data: NO_LIMIT,
            payload: NO_LIMIT,
            imports: NO_LIMIT,
            exports: NO_LIMIT,
            wildcards: true,
            conn: NO_LIMIT,
            leaf: NO_LIMIT,
            ..AccountLimits::default()
        }
    }

    /// Whether the account may use JetStream.
    pub fn jetstream_enabled(&self) -> bool {
        let enabled = |limits: &JetStreamLimits| limits.mem_storage != 0 || limits.disk_storage != 0;
        if self.tiered_limits.is_empty() { enabled(&self.jetstream) } else { self.tiered_limits.values().any(enabled) }
    }
}

/// A key that signs users for an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningKey {
    /// May sign anything.
    Plain(String),
    /// May only sign users without rights of their own; they get the template's.
    Scoped(Box<UserScope>),
}

/// What users of a scoped signing key may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserScope {
    /// `user_scope`.
    pub kind: String,
    /// The public signing key.
    pub key: String,
    /// A name for people.
    pub role: String,
    /// The users' rights.
    pub template: UserRights,
    /// A text for people.
    pub description: String,
}

impl UserScope {
    /// A scope without limits.
    pub fn new(key: impl Into<String>, role: impl Into<String>) -> UserScope {
        UserScope {
            kind: SCOPE.to_owned(),
            key: key.into(),
            role: role.into(),
            template: UserRights::unlimited(),
            description: String::new(),
        }
    }
}

const SCOPE: &str = "user_scope";

impl SigningKey {
    /// The public key.
    pub fn key(&self) -> &str {
        match self {
            SigningKey::Plain(key) => key,
            SigningKey::Scoped(scope) => &scope.key,
        }
    }
}

impl Serialize for SigningKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SigningKey::Plain(key) => serializer.serialize_str(key),
            SigningKey::Scoped(scope) => scope.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SigningKey, D::Error> {
        use serde::de::Error;
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Plain(String),
            Scoped(Map<String, Value>),
        }
        let mut scope = match Form::deserialize(deserializer)? {
            Form::Plain(key) => return Ok(SigningKey::Plain(key)),
            Form::Scoped(scope) => scope,
        };
        if scope.get("kind").and_then(Value::as_str) != Some(SCOPE) {
            return Err(D::Error::custom("unknown kind of scope"));
        }
        // Only here an absent limit means that there is none.
        let template = scope.entry("template").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(template) = template {
            for limit in ["subs", "data", "payload"] {
                template.entry(limit).or_insert(Value::from(NO_LIMIT));
            }
        }
        let scope = serde_json::from_value(Value::Object(scope)).map_err(|_| D::Error::custom("malformed scope"))?;
        Ok(SigningKey::Scoped(Box::new(scope)))
    }
}
