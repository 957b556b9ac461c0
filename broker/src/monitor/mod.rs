//! The monitor: a small HTTP server that shows what goes on. Off unless a port is configured; only reads.
//!
//! It has no logins, so it answers who can reach its address; a browser page of another site cannot, because requests with a
//! host name that is not this machine's are refused and no answer allows other origins.

mod connz;
mod query;
mod varz;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::server::Shared;
use query::Query;

/// Connections at a time; more are dropped.
const CONNECTIONS: usize = 64;
/// How long a request may take to arrive, and an idle connection to ask again.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one connection may live in all.
const LIFETIME: Duration = Duration::from_secs(600);

/// What JetStream tells the monitor.
pub(crate) trait Report: Send + Sync {
    /// `Err`: what is wrong.
    fn health(&self) -> Result<(), String>;
    /// The `jetstream` block of `/varz`.
    fn varz(&self) -> Value;
    /// The answer of `/jsz`, without what the server adds.
    fn jsz(&self) -> Value;
}

/// Answers until the server is over.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut phase = shared.phase();
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| phase.is_over()) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (shared, open) = (shared.clone(), open.clone());
        tokio::spawn(async move {
            let mut phase = shared.phase();
            tokio::select! {
                _ = phase.wait_for(|phase| phase.is_over()) => {}
                _ = tokio::time::timeout(LIFETIME, connection(shared, stream)) => {}
            }
            open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let local = stream.local_addr().ok();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let answer = answer(&shared, local, &request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

type Answer = Response<Full<Bytes>>;

fn answer<B>(shared: &Shared, local: Option<SocketAddr>, request: &Request<B>) -> Answer {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    if !host_is_ours(local, request.headers().get(HOST)) {
        return text(StatusCode::FORBIDDEN, "this host name is not served here\n");
    }
    let query = Query::new(request.uri().query().unwrap_or_default());
    match request.uri().path() {
        "/" => index(),
        "/varz" => document(&varz::varz(shared)),
        "/connz" => match connz::connz(shared, &query) {
            Ok(connz) => document(&connz),
            Err(error) => text(StatusCode::BAD_REQUEST, &format!("{error}\n")),
        },
        "/subsz" | "/subscriptionsz" => document(&subsz(shared)),
        "/accstatz" => document(&accstatz(shared)),
        "/jsz" => document(&jsz(shared)),
        "/healthz" => healthz(shared, &query),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// A page of another site can make a browser ask a local port under a name that it lets point here; never under an address.
fn host_is_ours(local: Option<SocketAddr>, host: Option<&HeaderValue>) -> bool {
    if !local.is_some_and(|local| local.ip().to_canonical().is_loopback()) {
        return true;
    }
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
}

fn text(status: StatusCode, body: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body.to_owned())
}

fn with_type(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("default-src 'none'"));
    answer
}

fn document(value: &impl Serialize) -> Answer {
    match serde_json::to_vec_pretty(value) {
        Ok(body) => with_type(StatusCode::OK, "application/json", body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn index() -> Answer {
    const PAGE: &str = "<!doctype html><title>natsune-broker</title><ul><li><a href=varz>varz</a><li><a href=connz>connz</a>\
        <li><a href=subsz>subsz</a><li><a href=accstatz>accstatz</a><li><a href=jsz>jsz</a><li><a href=healthz>healthz</a></ul>\n";
    with_type(StatusCode::OK, "text/html; charset=utf-8", PAGE)
}

fn subsz(shared: &Shared) -> Value {
    let count: usize = shared.router.accounts().iter().map(|account| account.subscriptions()).sum();
    json!({ "server_id": shared.id, "now": varz::now(), "num_subscriptions": count, "total": count, "offset": 0, "limit": 1024 })
}

fn accstatz(shared: &Shared) -> Value {
    let mut accounts = shared.router.accounts();
    accounts.sort_by(|a, b| a.name.cmp(&b.name));
    let stats: Vec<Value> = accounts
        .iter()
        .map(|account| {
            json!({
                "acc": account.name,
                "conns": account.connections(),
                "total_conns": account.connections(),
                "num_subscriptions": account.subscriptions(),
            })
        })
        .collect();
    json!({ "server_id": shared.id, "now": varz::now(), "account_statz": stats })
}

fn jsz(shared: &Shared) -> Value {
    let mut answer = match shared.report() {
        Some(report) => report.jsz(),
        None => json!({ "disabled": true }),
    };
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("server_id".into(), shared.id.clone().into());
        fields.insert("now".into(), varz::now().into());
    }
    answer
}

fn healthz(shared: &Shared, query: &Query) -> Answer {
    // Better no answer than "ok" about something nobody looked at.
    if ["account", "stream", "consumer"].iter().any(|name| query.get(name).is_some_and(|value| !value.is_empty())) {
        return text(StatusCode::BAD_REQUEST, "only the health of the whole server is known here\n");
    }
    let health = match shared.report() {
        _ if shared.is_over() => Err("the server is shutting down".to_owned()),
        Some(report) => report.health(),
        None if shared.config().jetstream.is_some() => Err("JetStream is reading its store".to_owned()),
        None => Ok(()),
    };
    match health {
        Ok(()) => document(&json!({ "status": "ok" })),
        Err(error) => {
            let mut answer = document(&json!({ "status": "unavailable", "status_code": 503, "error": error }));
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine() {
        let local = Some("127.0.0.1:8222".parse().unwrap());
        let ours = |host: &str| host_is_ours(local, Some(&HeaderValue::from_str(host).unwrap()));
        assert!(ours("localhost:8222") && ours("127.0.0.1:8222") && ours("[::1]:8222") && ours("LOCALHOST"));
        assert!(!ours("evil.example:8222") && !ours("localhost.evil.example"));
        assert!(host_is_ours(local, None));
        assert!(host_is_ours(
            Some("192.0.2.1:8222".parse().unwrap()),
            Some(&HeaderValue::from_static("broker.example"))
        ));
    }
}
