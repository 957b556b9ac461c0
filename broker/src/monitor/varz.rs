//! `/varz`: the server as a whole.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::server::Shared;

/// A time as the monitor writes it.
pub(super) fn stamp(time: SystemTime) -> String {
    OffsetDateTime::from(time).format(&Rfc3339).unwrap_or_default()
}

pub(super) fn now() -> String {
    stamp(SystemTime::now())
}

/// `1d2h3m4s`, as nats-server writes it.
pub(super) fn uptime(since: Duration) -> String {
    let seconds = since.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let mut text = String::new();
    for (value, unit) in [(days, 'd'), (hours, 'h'), (minutes, 'm')] {
        if value > 0 || !text.is_empty() {
            text.push_str(&format!("{value}{unit}"));
        }
    }
    text + &format!("{}s", seconds % 60)
}

pub(super) fn varz(shared: &Shared) -> Value {
    let config = shared.config();
    let info = shared.info();
    let totals = shared.totals();
    let subscriptions: usize = shared.router.accounts().iter().map(|account| account.subscriptions()).sum();
    let report = shared.report();
    let (http_host, http_port) = shared.monitor();
    let mut varz = json!({
        "server_id": shared.id,
        "server_name": shared.name,
        "version": info.version,
        "natsune": crate::VERSION,
        "proto": info.proto,
        "git_commit": info.git_commit,
        "go": info.go,
        "host": info.host,
        "port": info.port,
        "auth_required": info.auth_required,
        "tls_required": info.tls_required,
        "tls_verify": info.tls_verify,
        "max_connections": config.limits.max_connections,
        "max_subscriptions": config.limits.max_subscriptions.unwrap_or(0),
        "ping_interval": nanoseconds(config.ping_interval),
        "ping_max": config.ping_max,
        "http_host": http_host,
        "http_port": http_port,
        "http_base_path": "",
        "https_port": 0,
        "auth_timeout": config.auth.timeout().as_secs_f64(),
        "max_control_line": config.limits.max_control_line,
        "max_payload": config.limits.max_payload,
        "max_pending": config.limits.max_pending,
        "cluster": {}, "gateway": {}, "leaf": {}, "mqtt": {}, "websocket": {},
        "jetstream": report.map_or_else(|| json!({}), |report| report.varz()),
    });
    let more = json!({
        "tls_timeout": config.tls.as_ref().map_or(2.0, |tls| tls.timeout().as_secs_f64()),
        "write_deadline": nanoseconds(config.write_deadline),
        "start": stamp(shared.start),
        "now": now(),
        "uptime": uptime(Duration::from_millis(shared.now_ms())),
        "mem": memory(),
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
        "connections": shared.session_count(),
        "total_connections": totals.total_connections,
        "routes": 0, "remotes": 0, "leafnodes": 0,
        "in_msgs": totals.in_msgs,
        "in_bytes": totals.in_bytes,
        "out_msgs": totals.out_msgs,
        "out_bytes": totals.out_bytes,
        "slow_consumers": totals.slow_consumers,
        "stale_connections": totals.stale_connections,
        "stalled_clients": totals.stalled_clients,
        "auth_errors": totals.auth_failures,
        "subscriptions": subscriptions,
        "config_load_time": stamp(shared.config_loaded()),
        "system_account": config.auth.system_account.as_deref().unwrap_or(crate::router::SYSTEM_ACCOUNT),
        "slow_consumer_stats": { "clients": totals.slow_consumers, "routes": 0, "gateways": 0, "leafs": 0 },
        "stale_connection_stats": { "clients": totals.stale_connections, "routes": 0, "gateways": 0, "leafs": 0 },
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut varz, more) {
        fields.extend(more);
        if !config.server_tags.is_empty() {
            fields.insert("tags".into(), config.server_tags.clone().into());
        }
    }
    varz
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Resident memory in bytes; 0 where the system does not say.
fn memory() -> u64 {
    let page = 4096;
    let pages =
        std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_reads_like_nats_server() {
        assert_eq!(uptime(Duration::from_secs(9)), "9s");
        assert_eq!(uptime(Duration::from_secs(3_600)), "1h0m0s");
        assert_eq!(uptime(Duration::from_secs(90_061)), "1d1h1m1s");
    }
}
