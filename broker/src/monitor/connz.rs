//! `/connz`: the connections.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::query::Query;
use super::varz::{now, stamp, uptime};
use crate::server::Shared;
use crate::session::Session;

/// The answer.
#[derive(Serialize)]
pub(super) struct Connz {
    server_id: String,
    now: String,
    num_connections: usize,
    total: usize,
    offset: usize,
    limit: usize,
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    cid: u64,
    kind: &'static str,
    #[serde(rename = "type")]
    kind_of: &'static str,
    ip: String,
    port: u16,
    start: String,
    last_activity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rtt: Option<String>,
    uptime: String,
    idle: String,
    pending_bytes: usize,
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
    subscriptions: usize,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    lang: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_cipher_suite: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscriptions_list_detail: Option<Vec<SubDetail>>,
}

#[derive(Serialize)]
struct SubDetail {
    account: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    qgroup: Option<String>,
    sid: String,
    msgs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    cid: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

pub(super) fn connz(shared: &Shared, query: &Query) -> Result<Connz, String> {
    let limit = query.number("limit")?.filter(|limit| *limit > 0).map_or(1024, |limit| limit as usize);
    let offset = query.number("offset")?.unwrap_or(0) as usize;
    let cid = query.number("cid")?;
    match query.get("state") {
        None | Some("" | "open" | "0" | "any" | "all" | "2") => {}
        Some("closed" | "1") => return Err("closed connections are not remembered".to_owned()),
        Some(_) => return Err("state must be open".to_owned()),
    }
    let detail = query.get("subs") == Some("detail");
    let with_subs = query.is_on("subs");
    let with_auth = query.is_on("auth");
    let mut sessions = shared.sessions();
    sessions.retain(|session| {
        let identity = session.identity();
        let of = |name: &str, value: Option<&str>| query.get(name).is_none_or(|wanted| value == Some(wanted));
        cid.is_none_or(|cid| session.cid == cid)
            && of("acc", identity.as_ref().map(|identity| identity.account.name.as_str()))
            && of("user", identity.as_ref().map(|identity| identity.user.as_str()))
    });
    sort(&mut sessions, query.get("sort").unwrap_or("cid"))?;
    let total = sessions.len();
    let connections: Vec<Connection> = sessions
        .iter()
        .skip(offset)
        .take(limit)
        .map(|session| connection(shared, session, with_auth, with_subs, detail))
        .collect();
    Ok(Connz {
        server_id: shared.id.clone(),
        now: now(),
        num_connections: connections.len(),
        total,
        offset,
        limit,
        connections,
    })
}

fn sort(sessions: &mut [Arc<Session>], by: &str) -> Result<(), String> {
    match by {
        "cid" | "start" | "" => {}
        "subs" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().subscriptions)),
        "pending" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().pending)),
        "msgs_to" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().out_msgs)),
        "msgs_from" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().in_msgs)),
        "bytes_to" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().out_bytes)),
        "bytes_from" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().in_bytes)),
        "idle" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().idle_ms)),
        "last" => sessions.sort_by_cached_key(|session| session.snapshot().idle_ms),
        "uptime" => sessions.reverse(),
        "rtt" => sessions.sort_by_cached_key(|session| Reverse(session.snapshot().rtt_us)),
        _ => return Err(format!("invalid sorting option: {by}")),
    }
    Ok(())
}

fn connection(shared: &Shared, session: &Session, with_auth: bool, with_subs: bool, detail: bool) -> Connection {
    let numbers = session.snapshot();
    let identity = session.identity();
    let idle = Duration::from_millis(numbers.idle_ms);
    let about = session.about();
    let text = |field: Option<&String>| field.cloned().unwrap_or_default();
    let account = identity.as_ref().map(|identity| identity.account.name.clone());
    let subs = if with_subs || detail { session.subscriptions() } else { Vec::new() };
    Connection {
        cid: session.cid,
        kind: "Client",
        kind_of: "nats",
        ip: session.addr.ip().to_string(),
        port: session.addr.port(),
        start: stamp(session.start),
        last_activity: stamp(SystemTime::now().checked_sub(idle).unwrap_or(session.start)),
        rtt: (numbers.rtt_us > 0).then(|| format!("{}µs", numbers.rtt_us)),
        uptime: uptime(session.start.elapsed().unwrap_or_default()),
        idle: uptime(idle),
        pending_bytes: numbers.pending,
        in_msgs: numbers.in_msgs,
        out_msgs: numbers.out_msgs,
        in_bytes: numbers.in_bytes,
        out_bytes: numbers.out_bytes,
        subscriptions: numbers.subscriptions,
        name: text(about.map(|about| &about.name)),
        lang: text(about.map(|about| &about.lang)),
        version: text(about.map(|about| &about.version)),
        tls_version: session.tls.get().map(|(version, _)| *version),
        tls_cipher_suite: session.tls.get().map(|(_, suite)| suite.clone()),
        authorized_user: identity
            .as_ref()
            .filter(|_| with_auth && shared.auth_required())
            .map(|identity| identity.user.clone()),
        subscriptions_list: with_subs.then(|| subs.iter().map(|sub| sub.subject.to_string()).collect()),
        subscriptions_list_detail: detail.then(|| {
            subs.iter()
                .map(|sub| SubDetail {
                    account: account.clone().unwrap_or_default(),
                    subject: sub.subject.to_string(),
                    qgroup: sub.queue.as_deref().map(str::to_owned),
                    sid: String::from_utf8_lossy(&sub.sid).into_owned(),
                    msgs: sub.delivered(),
                    max: sub.max(),
                    cid: session.cid,
                })
                .collect()
        }),
        account: account.filter(|_| with_auth),
    }
}
