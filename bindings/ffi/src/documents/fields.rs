//! How single fields look in JSON: seconds, instants, kept unknown fields.

use std::collections::HashMap;
use std::time::Duration;

/// Whether a field of an options document is left out.
pub(crate) trait Absent {
    fn absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Absent for HashMap<K, V> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for bool {
    fn absent(&self) -> bool {
        !*self
    }
}

fn to_duration<E: serde::de::Error>(seconds: f64) -> Result<Duration, E> {
    Duration::try_from_secs_f64(seconds).map_err(|_| E::custom("invalid value: a duration, expected seconds from 0 on"))
}

/// A duration as float seconds.
pub(crate) mod seconds {
    use super::*;
    use serde::{Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        duration.as_secs_f64().serialize(serializer)
    }
}

/// A duration as float seconds, or null.
pub(crate) mod seconds_option {
    use super::*;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(deserializer)?.map(to_duration).transpose()
    }
}

/// A list of durations as float seconds.
pub(crate) mod seconds_list {
    use super::*;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(list: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(Duration::as_secs_f64))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Vec::<f64>::deserialize(deserializer)?.into_iter().map(to_duration).collect()
    }
}

/// An instant as an RFC 3339 text, or null. The server's "never" (year 1) is null too.
pub(crate) mod instant_option {
    use std::time::SystemTime;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    pub(crate) fn serialize<S: Serializer>(instant: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
        let text = instant.map(|instant| OffsetDateTime::from(instant).format(&Rfc3339));
        text.transpose().map_err(serde::ser::Error::custom)?.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SystemTime>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let instant = OffsetDateTime::parse(&text, &Rfc3339)
            .map_err(|_| D::Error::custom("invalid value: an instant, expected RFC 3339 (2026-01-31T12:00:00Z)"))?;
        Ok((instant.year() > 1).then(|| instant.into()))
    }
}

/// Unknown fields: JSON texts by name here, plain JSON outside.
pub(crate) mod extra {
    use super::*;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::{Map, Value};

    pub(crate) fn serialize<S: Serializer>(extra: &HashMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = Map::new();
        for (name, text) in extra {
            let value: Value = serde_json::from_str(text)
                .map_err(|_| serde::ser::Error::custom("invalid value: a field of `extra`, expected JSON texts"))?;
            map.insert(name.clone(), value);
        }
        map.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashMap<String, String>, D::Error> {
        let map = Option::<Map<String, Value>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(map.into_iter().map(|(name, value)| (name, value.to_string())).collect())
    }
}
