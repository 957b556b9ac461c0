//! Variables in scenarios and the matching of answers against expectations.
use data_encoding::BASE64;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Variables of one run: `${name}` in any string of a scenario.
pub type Variables = BTreeMap<String, Value>;

/// Replaces `${name}` in every string. A string that is one variable only becomes its value with its type.
pub fn fill(value: &Value, variables: &Variables) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => fill_text(text, variables)?,
        Value::Array(items) => Value::Array(items.iter().map(|item| fill(item, variables)).collect::<Result<_, _>>()?),
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, field) in fields {
                let field = fill(field, variables)?;
                // `text` is written for people; on the wire a payload is base64 in `data`.
                match (name.as_str(), &field) {
                    ("text", Value::String(text)) => out.insert("data".into(), BASE64.encode(text.as_bytes()).into()),
                    _ => out.insert(name.clone(), field),
                };
            }
            Value::Object(out)
        }
        other => other.clone(),
    })
}

fn fill_text(text: &str, variables: &Variables) -> Result<Value, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        let end = after.find('}').ok_or_else(|| format!("unclosed variable in {text:?}"))?;
        let name = &after[2..end];
        let value = variables.get(name).ok_or_else(|| format!("unknown variable {name:?} in {text:?}"))?;
        if before.is_empty() && end + 1 == after.len() && out.is_empty() {
            return Ok(value.clone());
        }
        out.push_str(before);
        match value {
            Value::String(inner) => out.push_str(inner),
            other => out.push_str(&other.to_string()),
        }
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(Value::String(out))
}

/// Says where `actual` differs from `expected`. Objects may have more fields than expected; arrays have the same length.
/// Strings with a meaning: `<any>` `<string>` `<number>` `<absent>` `>=N` `<=N` `~part`.
pub fn mismatch(expected: &Value, actual: Option<&Value>, path: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("{path}: expected {what}, got {}", actual.map_or("nothing".into(), short)));
    if expected == "<absent>" || expected.is_null() {
        return if actual.is_none_or(Value::is_null) { None } else { wrong("nothing") };
    }
    let Some(found) = actual else { return wrong(&short(expected)) };
    match (expected, found) {
        (Value::Object(fields), Value::Object(have)) => {
            fields.iter().find_map(|(name, field)| mismatch(field, have.get(name), &format!("{path}.{name}")))
        }
        (Value::Array(items), Value::Array(have)) if items.len() == have.len() => items
            .iter()
            .zip(have)
            .enumerate()
            .find_map(|(at, (item, got))| mismatch(item, Some(got), &format!("{path}[{at}]"))),
        (Value::String(rule), found) => {
            let number = |text: &str| text.parse::<f64>().ok();
            let fine = match rule.as_str() {
                "<any>" => true,
                "<string>" => found.is_string(),
                "<number>" => found.is_number(),
                rule if rule.starts_with(">=") => found.as_f64().zip(number(&rule[2..])).is_some_and(|(a, b)| a >= b),
                rule if rule.starts_with("<=") => found.as_f64().zip(number(&rule[2..])).is_some_and(|(a, b)| a <= b),
                rule if rule.starts_with('~') => found.as_str().is_some_and(|text| text.contains(&rule[1..])),
                rule => found == rule,
            };
            if fine { None } else { wrong(&format!("{rule:?}")) }
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        (a, b) if a == b => None,
        _ => wrong(&short(expected)),
    }
}

/// A value that satisfies `expected`: what a liar would say.
pub fn pretend(expected: &Value) -> Value {
    match expected {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, field)| *field != "<absent>")
                .map(|(name, field)| (name.clone(), pretend(field)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(pretend).collect()),
        Value::String(rule) => match rule.as_str() {
            "<any>" | "<string>" => "x".into(),
            "<number>" => 1.into(),
            rule if rule.starts_with(">=") || rule.starts_with("<=") => {
                rule[2..].parse::<f64>().map_or(Value::Null, |number| {
                    if number.fract() == 0.0 { (number as i64).into() } else { number.into() }
                })
            }
            rule => rule.trim_start_matches('~').into(),
        },
        other => other.clone(),
    }
}

/// The value at a dotted path such as `message.data` or `messages.0.as`.
pub fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|part| !part.is_empty()).try_fold(value, |value, part| match value {
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        other => other.get(part),
    })
}

/// A value as text, cut to a readable length.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 300 {
        text
    } else {
        format!("{}... ({} bytes)", text.chars().take(300).collect::<String>(), text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fills_and_matches() {
        let variables = Variables::from([("n".to_owned(), json!(7)), ("s".to_owned(), json!("x"))]);
        assert_eq!(
            fill(&json!({"a": "${n}", "b": "${s}-${n}", "text": "hi"}), &variables),
            Ok(json!({"a": 7, "b": "x-7", "data": "aGk="}))
        );
        assert!(fill(&json!("${none}"), &variables).is_err());
        assert_eq!(mismatch(&json!({"a": ">=3"}), Some(&json!({"a": 3, "b": 1})), ""), None);
        assert!(mismatch(&json!({"a": ">=4"}), Some(&json!({"a": 3})), "").is_some());
        assert!(mismatch(&json!([1]), Some(&json!([1, 2])), "").is_some());
        assert!(mismatch(&json!({"a": "<absent>"}), Some(&json!({"a": 1})), "").is_some());
        assert!(mismatch(&json!("~ell"), Some(&json!("hello")), "").is_none());
    }

    #[test]
    fn a_pretence_matches() {
        let expected = json!({"a": ">=3", "b": [{"c": "~x"}], "d": "<number>", "e": "<absent>"});
        assert_eq!(mismatch(&expected, Some(&pretend(&expected)), ""), None);
    }
}
