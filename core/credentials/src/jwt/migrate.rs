//! Version 1 tokens: type, tags and issuer account stood beside `nats`, and absent user limits meant none.
use serde_json::{Map, Value};

use super::claims::{AccountClaims, OperatorClaims, OtherClaims, UserClaims};
use super::limits::{JetStreamLimits, NO_LIMIT};
use super::read;
use crate::error::Error;

pub(super) fn operator(json: Value) -> Result<OperatorClaims, Error> {
    read(moved(json, &[]))
}

pub(super) fn account(json: Value) -> Result<AccountClaims, Error> {
    let mut account: AccountClaims = read(moved(json, &[]))?;
    // JetStream came with version 2: whatever stands there was never meant.
    account.nats.limits.jetstream = JetStreamLimits::default();
    account.nats.limits.tiered_limits.clear();
    Ok(account)
}

pub(super) fn user(json: Value) -> Result<UserClaims, Error> {
    let mut user: UserClaims = read(moved(json, &["subs", "data", "payload"]))?;
    user.nats.extra.remove("max");
    Ok(user)
}

pub(super) fn other(json: Value) -> Result<OtherClaims, Error> {
    read(moved(json, &[]))
}

/// Moves what moved, and fills in the limits that were unlimited when absent.
fn moved(mut json: Value, unlimited: &[&str]) -> Value {
    let Value::Object(top) = &mut json else { return json };
    let fields: Vec<_> =
        ["type", "tags", "issuer_account"].into_iter().filter_map(|name| Some((name, top.remove(name)?))).collect();
    let nats = top.entry("nats").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(nats) = nats {
        // An activation's own type is what is called its kind today.
        if let Some(kind) = nats.remove("type") {
            nats.insert("kind".to_owned(), kind);
        }
        for (name, value) in fields {
            nats.insert(name.to_owned(), value);
        }
        for &name in unlimited {
            nats.entry(name).or_insert(Value::from(NO_LIMIT));
        }
        nats.insert("version".to_owned(), Value::from(1));
    }
    json
}
