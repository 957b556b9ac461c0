//! Permissions: as a string, a list, or a block with allow and deny.

use natsune_protocol::subject;

use super::Read;
use crate::config::syntax::{Node, Value};
use crate::config::{PermissionsConfig, ResponsesConfig, SubjectRule};

pub(super) fn permissions(node: &Node) -> Read<PermissionsConfig> {
    let mut permissions = PermissionsConfig::default();
    for entry in node.map()? {
        match entry.name().as_str() {
            "pub" | "publish" | "import" => permissions.publish = rule(&entry.node, false)?,
            "sub" | "subscribe" | "export" => permissions.subscribe = rule(&entry.node, true)?,
            "allow_responses" | "publish_allow_responses" => permissions.allow_responses = responses(&entry.node)?,
            _ => entry.unknown()?,
        }
    }
    Ok(permissions)
}

fn rule(node: &Node, queues: bool) -> Read<SubjectRule> {
    let Value::Map(entries) = &node.value else {
        return Ok(SubjectRule { allow: Some(subjects(node, queues)?), deny: Vec::new() });
    };
    let mut rule = SubjectRule::default();
    for entry in entries {
        match entry.name().as_str() {
            "allow" => rule.allow = Some(subjects(&entry.node, queues)?),
            "deny" => rule.deny = subjects(&entry.node, queues)?,
            _ => entry.unknown()?,
        }
    }
    Ok(rule)
}

fn subjects(node: &Node, queues: bool) -> Read<Vec<String>> {
    let check = |node: &Node| {
        let text = node.text()?;
        let mut words = text.split_ascii_whitespace();
        let valid = match (words.next(), words.next(), words.next()) {
            (Some(filter), None, None) => subject::is_valid_filter(filter),
            (Some(filter), Some(queue), None) => {
                queues && subject::is_valid_filter(filter) && subject::is_valid_queue(queue)
            }
            _ => false,
        };
        if valid { Ok(words_joined(text)) } else { Err(node.error(format!("{text:?} is not a valid subject"))) }
    };
    match &node.value {
        Value::Array(nodes) => nodes.iter().map(check).collect(),
        _ => Ok(vec![check(node)?]),
    }
}

fn words_joined(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

fn responses(node: &Node) -> Read<Option<ResponsesConfig>> {
    let Value::Map(entries) = &node.value else {
        return Ok(node.bool()?.then(ResponsesConfig::default));
    };
    let mut responses = ResponsesConfig::default();
    for entry in entries {
        let node = &entry.node;
        match entry.name().as_str() {
            // As nats-server: 0 means the default, less means no limit.
            "max" | "max_msgs" | "max_messages" | "max_responses" => match node.int()? {
                0 => {}
                count => responses.max = u64::try_from(count).ok(),
            },
            "expires" | "expiration" | "ttl" => {
                let endless = matches!(&node.value, Value::Text(text) if text.trim_start().starts_with('-'))
                    || matches!(node.value, Value::Int(seconds) if seconds < 0);
                if endless {
                    responses.expires = None;
                } else {
                    let time = node.duration()?;
                    responses.expires = if time.is_zero() { responses.expires } else { Some(time) };
                }
            }
            _ => entry.unknown()?,
        }
    }
    Ok(Some(responses))
}
