//! Between our documents and the server's JSON: names, durations in nanoseconds, unknown fields kept. Tables, not code.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::documents::refused;
use crate::failure::{Failure, R};

/// How a field differs from the server's.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// Only the name, if that.
    Plain,
    /// Float seconds here, nanoseconds there; a negative one there is absence here.
    Nanos,
    /// A list of those.
    NanosList,
    /// A number here, a text there.
    Percent,
    /// A document of its own.
    Doc(&'static Table),
    /// A list of documents.
    Docs(&'static Table),
    /// Documents by name.
    DocMap(&'static Table),
}

/// The fields of one document: our name, the server's name, the difference.
pub(crate) struct Table {
    pub(crate) fields: &'static [(&'static str, &'static str, Kind)],
    /// Fields of the server's answer that say nothing about the object.
    pub(crate) dropped: &'static [&'static str],
}

/// Our document as the server's JSON.
pub(crate) fn to_wire(document: &impl Serialize, table: &Table) -> R<Map<String, Value>> {
    match serde_json::to_value(document).map_err(|error| refused(&error))? {
        Value::Object(map) => Ok(map_to_wire(map, table)),
        _ => Err(Failure::internal("a document is not an object")),
    }
}

/// The server's JSON as our document.
pub(crate) fn from_wire<T: DeserializeOwned>(value: Value, table: &Table) -> R<T> {
    let Value::Object(map) = value else {
        return Err(Failure::new("server", "the server's answer is not an object"));
    };
    serde_json::from_value(Value::Object(map_from_wire(map, table))).map_err(|error| {
        Failure::new("server", format!("the server's answer does not have the expected form: {error}"))
    })
}

fn map_to_wire(mut map: Map<String, Value>, table: &Table) -> Map<String, Value> {
    let mut out = match map.remove("extra") {
        Some(Value::Object(extra)) => extra,
        _ => Map::new(),
    };
    for (name, value) in map {
        match table.fields.iter().find(|(ours, _, _)| *ours == name) {
            Some((_, theirs, kind)) => out.insert((*theirs).to_owned(), value_to_wire(value, *kind)),
            None => out.insert(name, value),
        };
    }
    out
}

fn value_to_wire(value: Value, kind: Kind) -> Value {
    match (kind, value) {
        (Kind::Nanos, Value::Number(seconds)) => nanos(&seconds),
        (Kind::NanosList, Value::Array(list)) => {
            list.into_iter().map(|value| value_to_wire(value, Kind::Nanos)).collect()
        }
        (Kind::Percent, Value::Number(number)) => Value::String(number.to_string()),
        (Kind::Doc(table), Value::Object(map)) => Value::Object(map_to_wire(map, table)),
        (Kind::Docs(table), Value::Array(list)) => {
            list.into_iter().map(|value| value_to_wire(value, Kind::Doc(table))).collect()
        }
        (Kind::DocMap(table), Value::Object(map)) => {
            Value::Object(map.into_iter().map(|(name, value)| (name, value_to_wire(value, Kind::Doc(table)))).collect())
        }
        (_, value) => value,
    }
}

fn nanos(seconds: &serde_json::Number) -> Value {
    let nanos = (seconds.as_f64().unwrap_or_default() * 1e9).round();
    // A cast from float saturates.
    Value::from(nanos as i64)
}

fn map_from_wire(map: Map<String, Value>, table: &Table) -> Map<String, Value> {
    let mut out = Map::new();
    let mut extra = Map::new();
    for (name, value) in map {
        match table.fields.iter().find(|(_, theirs, _)| *theirs == name) {
            Some((ours, _, kind)) => {
                if let Some(value) = value_from_wire(value, *kind) {
                    out.insert((*ours).to_owned(), value);
                }
            }
            None if table.dropped.contains(&name.as_str()) => {}
            None => {
                extra.insert(name, value);
            }
        }
    }
    if !extra.is_empty() {
        out.insert("extra".to_owned(), Value::Object(extra));
    }
    out
}

fn value_from_wire(value: Value, kind: Kind) -> Option<Value> {
    match (kind, value) {
        (_, Value::Null) => None,
        (Kind::Nanos, Value::Number(number)) => {
            let nanos = number.as_i64()?;
            (nanos >= 0).then(|| Value::from(nanos as f64 / 1e9))
        }
        (Kind::NanosList, Value::Array(list)) => {
            Some(list.into_iter().filter_map(|value| value_from_wire(value, Kind::Nanos)).collect())
        }
        (Kind::Percent, Value::String(text)) => text.trim_end_matches('%').parse::<u32>().ok().map(Value::from),
        (Kind::Doc(table), Value::Object(map)) => Some(Value::Object(map_from_wire(map, table))),
        (Kind::Docs(table), Value::Array(list)) => {
            Some(list.into_iter().filter_map(|value| value_from_wire(value, Kind::Doc(table))).collect())
        }
        (Kind::DocMap(table), Value::Object(map)) => {
            let entries =
                map.into_iter().filter_map(|(name, value)| Some((name, value_from_wire(value, Kind::Doc(table))?)));
            Some(Value::Object(entries.collect()))
        }
        (_, value) => Some(value),
    }
}
