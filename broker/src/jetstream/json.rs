//! Strict JSON requests: unknown fields are refused, `null` means absent, as the API's documents are read elsewhere.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::errors::{self, ApiError};

/// Parses a request body; an empty one is the empty document.
pub fn value(body: &[u8]) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    let mut value: Value = serde_json::from_slice(body).map_err(errors::invalid_json)?;
    drop_nulls(&mut value);
    Ok(value)
}

/// Reads a document strictly.
pub fn decode<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|e| {
        let text = e.to_string();
        let unknown = text.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        match unknown {
            Some(field) => errors::invalid_json(format_args!("json: unknown field \"{field}\"")),
            None => errors::invalid_json(text),
        }
    })
}

/// Parses and reads a request body strictly.
pub fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    decode(value(body)?)
}

/// For members of hot requests: `null` is the default.
pub fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Takes one member out of a document, `false` when it is absent.
pub fn take_flag(value: &mut Value, name: &str) -> Result<bool, ApiError> {
    match value.as_object_mut().and_then(|map| map.remove(name)) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(errors::invalid_json(format_args!("{name} must be true or false"))),
    }
}

/// Whether a body says nothing: empty, blank or `{}`.
pub fn is_empty_request(body: &[u8]) -> bool {
    match value(body) {
        Ok(Value::Object(map)) => map.is_empty(),
        _ => false,
    }
}

/// Whether a body begins like a JSON object or array.
pub fn looks_like_document(body: &[u8]) -> bool {
    matches!(body.iter().find(|b| !b.is_ascii_whitespace()), Some(b'{' | b'['))
}

/// Writes a response document.
pub fn encode<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Appends a JSON string literal, for the answers that are written by hand.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= 0x20 && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(&encode(&text));
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, member| !member.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug, Default, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Doc {
        seq: u64,
        name: String,
    }

    #[test]
    fn unknown_fields_are_named_and_nulls_are_absent() {
        let error = request::<Doc>(br#"{"foo":1}"#).unwrap_err();
        assert_eq!((error.err_code, error.description.as_ref()), (10025, "invalid JSON: json: unknown field \"foo\""));
        assert_eq!(request::<Doc>(br#"{"seq":null,"name":"a"}"#).unwrap().name, "a");
        assert_eq!(request::<Doc>(b" ").unwrap(), Doc::default());
        assert!(request::<Doc>(b"{").is_err());
        assert!(is_empty_request(b"{ }") && is_empty_request(b"") && !is_empty_request(b"[]"));
        assert!(looks_like_document(b" {") && !looks_like_document(b"12"));
        let mut out = Vec::new();
        push_string(&mut out, "a\"b");
        assert_eq!(out, br#""a\"b""#);
    }
}
