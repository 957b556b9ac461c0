//! Whether claims make sense, and whether they hold now.
use std::net::IpAddr;

use super::claims::{AccountClaims, Claims, ClaimsData, OperatorClaims, UserClaims};
use super::limits::{JetStreamLimits, Permission, UserRights};
use crate::error::Error;
use crate::nkey::KeyKind;

/// Checks the times against `now` (seconds since 1970) and the document against the rules servers enforce. The signature
/// was checked by decoding; trust in the issuer is a question of the chain (`did_sign`).
pub fn validate(claims: &Claims, now: i64) -> Result<(), Error> {
    times(claims.data(), now)?;
    match claims {
        Claims::Operator(claims) => operator(claims),
        Claims::Account(claims) => account(claims),
        Claims::User(claims) => user(claims),
        Claims::Other(_) => Ok(()),
    }
}

fn times(data: &ClaimsData, now: i64) -> Result<(), Error> {
    if data.exp > 0 && now > data.exp {
        return Err(Error::Expired);
    }
    if data.nbf > 0 && data.nbf > now {
        return Err(Error::NotYetValid);
    }
    Ok(())
}

fn refuse<T>(why: impl Into<String>) -> Result<T, Error> {
    Err(Error::Claims(why.into()))
}

fn key(text: &str, kind: KeyKind, what: &str) -> Result<(), Error> {
    if KeyKind::of(text) == Some(kind) { Ok(()) } else { refuse(format!("{what} is not {kind}")) }
}

fn operator(claims: &OperatorClaims) -> Result<(), Error> {
    key(&claims.claims.sub, KeyKind::Operator, "the subject")?;
    for signing in &claims.nats.signing_keys {
        key(signing, KeyKind::Operator, "a signing key")?;
    }
    if !claims.nats.system_account.is_empty() {
        key(&claims.nats.system_account, KeyKind::Account, "the system account")?;
    }
    let version = &claims.nats.assert_server_version;
    let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
    if !version.is_empty() && (numbers != 3 || version.split('.').count() != 3) {
        return refuse("the asserted server version is not of the form 1.2.3");
    }
    Ok(())
}

fn account(claims: &AccountClaims) -> Result<(), Error> {
    let (nats, limits) = (&claims.nats, &claims.nats.limits);
    key(&claims.claims.sub, KeyKind::Account, "the subject")?;
    for signing in &nats.signing_keys {
        key(signing.key(), KeyKind::Account, "a signing key")?;
    }
    for subject in nats.revocations.keys().filter(|subject| *subject != "*") {
        key(subject, KeyKind::User, "a revoked user")?;
    }
    if !limits.tiered_limits.is_empty() && limits.jetstream != JetStreamLimits::default() {
        return refuse("limits of JetStream are given both flat and by tier");
    }
    if limits.tiered_limits.contains_key("") {
        return refuse("a tier has no name");
    }
    let over = |limit: i64, have: usize| limit >= 0 && i64::try_from(have).is_ok_and(|have| have > limit);
    if over(limits.imports, nats.imports.len()) || over(limits.exports, nats.exports.len()) {
        return refuse("more imports or exports than the operator allows");
    }
    let permissions = &nats.default_permissions;
    permission(&permissions.publish, false)?;
    permission(&permissions.subscribe, true)?;
    let authorization = &nats.authorization;
    if authorization.auth_users.is_empty() && !authorization.allowed_accounts.is_empty() {
        return refuse("external authorization names accounts but no users");
    }
    for auth_user in &authorization.auth_users {
        key(auth_user, KeyKind::User, "a user of external authorization")?;
    }
    let any = authorization.allowed_accounts.iter().any(|account| account == "*");
    if any && authorization.allowed_accounts.len() > 1 {
        return refuse("allowed accounts are a list or *");
    }
    for account in authorization.allowed_accounts.iter().filter(|account| *account != "*") {
        key(account, KeyKind::Account, "an allowed account")?;
    }
    if !authorization.xkey.is_empty() {
        key(&authorization.xkey, KeyKind::Curve, "the key of external authorization")?;
    }
    if !matches!(nats.cluster_traffic.as_str(), "" | "system" | "owner") {
        return refuse("unknown cluster traffic option");
    }
    Ok(())
}

fn user(claims: &UserClaims) -> Result<(), Error> {
    key(&claims.claims.sub, KeyKind::User, "the subject")?;
    if !claims.nats.issuer_account.is_empty() {
        key(&claims.nats.issuer_account, KeyKind::Account, "the issuer account")?;
    }
    rights(&claims.nats.rights)
}

fn rights(rights: &UserRights) -> Result<(), Error> {
    permission(&rights.publish, false)?;
    permission(&rights.subscribe, true)?;
    if !rights.src.iter().all(|network| is_network(network)) {
        return refuse("a source is not a network");
    }
    if !rights.times.iter().all(|range| is_time(&range.start) && is_time(&range.end)) {
        return refuse("a time range is not of the form 15:04:05");
    }
    Ok(())
}

/// Subjects; for subscribing each may be followed by a queue.
fn permission(permission: &Permission, queues: bool) -> Result<(), Error> {
    for entry in permission.allow.iter().chain(&permission.deny) {
        let mut words = entry.split(' ');
        let (subject, queue) = (words.next().unwrap_or_default(), words.next());
        if !is_subject(subject) || queue.is_some_and(|queue| !queues || !is_subject(queue)) || words.next().is_some() {
            return refuse("a permission is not a subject");
        }
    }
    Ok(())
}

fn is_subject(subject: &str) -> bool {
    !subject.is_empty() && !subject.contains([' ', '\t', '\r', '\n']) && !subject.split('.').any(str::is_empty)
}

fn is_network(network: &str) -> bool {
    let Some((address, bits)) = network.split_once('/') else { return false };
    let most = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    bits.bytes().all(|byte| byte.is_ascii_digit()) && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

fn is_time(text: &str) -> bool {
    let mut parts = text.split(':').map(|part| (part.len() == 2).then(|| part.parse::<u8>().ok()).flatten());
    let mut next = |most: u8| parts.next().flatten().is_some_and(|value| value <= most);
    next(23) && next(59) && next(59) && parts.next().is_none()
}
