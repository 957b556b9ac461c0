//! The client: how to connect, what it counts, what it tells.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::documents::{fields, info, options, refused};
use crate::failure::{Failure, R};

options! {
    /// Everything that connect can be told. Absent fields get core's defaults, see the documentation of each language.
    ConnectOptions {
        ;
        /// The server pool, `nats://host:port`, `tls://`, `ws://`, `wss://` or `unix://`; none means `nats://localhost:4222`.
        servers: Vec<String>,
        /// The name that the server shows for this connection.
        name: Option<String>,
        /// User name, with `password`.
        user: Option<String>,
        /// Password of `user`.
        password: Option<String>,
        /// A token instead of user and password.
        token: Option<String>,
        /// The seed of a user NKey (`SU...`).
        nkey_seed: Option<String>,
        /// Path of a credentials file, read again at each connect.
        creds_file: Option<String>,
        /// The text of a credentials file.
        creds_text: Option<String>,
        /// How TLS is done.
        tls: Option<TlsOptions>,
        /// For each attempt: name lookup, TCP, TLS and handshake together.
        #[serde(with = "fields::seconds_option")]
        connect_timeout: Option<Duration>,
        /// False: the client closes when its connection breaks.
        reconnect: Option<bool>,
        /// The first delay between attempts; doubles with full jitter.
        #[serde(with = "fields::seconds_option")]
        reconnect_delay: Option<Duration>,
        /// The longest delay between attempts.
        #[serde(with = "fields::seconds_option")]
        reconnect_delay_max: Option<Duration>,
        /// Attempts after a break before the client closes; none means for ever.
        max_reconnects: Option<u64>,
        /// How often a silent server is pinged.
        #[serde(with = "fields::seconds_option")]
        ping_interval: Option<Duration>,
        /// Unanswered intervals before the connection counts as broken.
        max_pings_out: Option<u32>,
        /// A write that makes no progress for this long breaks the connection.
        #[serde(with = "fields::seconds_option")]
        write_timeout: Option<Duration>,
        /// Bytes of the outbound buffer from which publishing waits.
        outbound_mark: Option<u64>,
        /// Bytes of the outbound buffer from which publishing is refused with `busy`.
        outbound_limit: Option<u64>,
        /// How long publishing waits for room.
        #[serde(with = "fields::seconds_option")]
        publish_timeout: Option<Duration>,
        /// How long a request waits for its answer, and `flush` for its PONG.
        #[serde(with = "fields::seconds_option")]
        request_timeout: Option<Duration>,
        /// How long `subscribe` waits for the server's confirmation.
        #[serde(with = "fields::seconds_option")]
        subscribe_timeout: Option<Duration>,
        /// How long `drain` may take.
        #[serde(with = "fields::seconds_option")]
        drain_timeout: Option<Duration>,
        /// False: publishing while disconnected fails with `connection` at once.
        buffer_while_disconnected: Option<bool>,
        /// Connect gives a client even when no server answered, and goes on in the background.
        retry_on_failed_connect: bool,
        /// The server does not send us what we published ourselves.
        no_echo: bool,
        /// Where reply subjects begin.
        inbox_prefix: Option<String>,
        /// Servers that the cluster tells about are not added to the pool.
        ignore_discovered_servers: bool,
        /// Servers are tried in the order given instead of a random one.
        keep_server_order: bool,
        /// Messages that each subscription keeps unless it says otherwise.
        pending_messages: Option<u64>,
        /// Bytes that each subscription keeps unless it says otherwise.
        pending_bytes: Option<u64>,
    }
}

options! {
    /// How TLS is done.
    TlsOptions {
        ;
        /// TLS or nothing, also for `nats://` and for discovered servers.
        required: bool,
        /// Certificates to trust instead of the system's, as PEM text.
        ca_pem: Option<String>,
        /// Certificates to trust instead of the system's, as a PEM file.
        ca_file: Option<String>,
        /// Our own certificate chain, as a PEM file.
        cert_file: Option<String>,
        /// The key of our certificate, as a PEM file.
        key_file: Option<String>,
        /// Our own certificate chain, as PEM text.
        cert_pem: Option<String>,
        /// The key of our certificate, as PEM text.
        key_pem: Option<String>,
        /// TLS from the first byte; the server must be configured for it.
        handshake_first: bool,
        /// The name to expect in the server's certificate instead of the URL's host.
        server_name: Option<String>,
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions").field("name", &self.name).field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").field("required", &self.required).finish_non_exhaustive()
    }
}

#[cfg(feature = "mobile")]
impl ConnectOptions {
    /// As core's own document: its defaults, its checks.
    pub(crate) fn into_core(self) -> R<natsune::ConnectOptions> {
        let value = serde_json::to_value(&self).map_err(|error| refused(&error))?;
        connect_options(value)
    }
}

/// Core's options from a facade's JSON.
pub(crate) fn connect_options(value: Value) -> R<natsune::ConnectOptions> {
    serde_json::from_value(value).map_err(|error| refused(&error))
}

options! {
    #[derive(Debug)]
    /// How to subscribe.
    SubscribeOptions {
        /// The subject; wildcards allowed.
        subject: String,
        ;
        /// Queue group: each message goes to one member.
        queue: Option<String>,
        /// Messages kept before some are dropped.
        pending_messages: Option<u64>,
        /// Bytes kept before some are dropped.
        pending_bytes: Option<u64>,
        /// What is dropped then: `drop_new` or `drop_old`.
        when_full: Option<String>,
        /// Ends by itself after so many messages.
        max_messages: Option<u64>,
        /// False: do not wait for the server's confirmation.
        confirm: Option<bool>,
    }
}

info! {
    #[derive(Debug)]
    /// What became of everything published: `published = flushed + unknown + dropped + pending`.
    PublishCounts {
        /// Accepted.
        published: u64,
        /// Processed by the server.
        flushed: u64,
        /// Written, then the connection broke: the server may have it.
        unknown: u64,
        /// Given up.
        dropped: u64,
        /// Still ours or not confirmed yet.
        pending: u64,
        /// Refused by the server for lack of permission (these count as flushed as well).
        rejected: u64,
    }
}

info! {
    #[derive(Debug)]
    /// Counters of a client since it was made.
    Stats {
        /// Messages received, also those that an inbox had no room for.
        in_messages: u64,
        /// Bytes read from the connection, as plain text.
        in_bytes: u64,
        /// Messages published.
        out_messages: u64,
        /// Bytes written to the connection, as plain text.
        out_bytes: u64,
        /// Messages dropped because an inbox was full.
        dropped_messages: u64,
        /// Frames skipped because their subject was not readable text.
        unreadable: u64,
        /// Successful connects, the first one included.
        connects: u64,
        /// Bytes that wait in the outbound buffer.
        buffered_bytes: u64,
        /// Requests that wait for their answer.
        requests_waiting: u64,
        /// Open subscriptions.
        subscriptions: u64,
        /// What became of what was published.
        publishes: PublishCounts,
    }
}

info! {
    #[derive(Debug)]
    /// Counters of one subscription since it was made.
    SubscriptionStats {
        /// Messages that wait to be taken.
        pending: u64,
        /// Bytes that wait to be taken.
        pending_bytes: u64,
        /// Messages that came from the server.
        received: u64,
        /// Messages handed out.
        delivered: u64,
        /// Messages handed out and not yet reported as handled.
        unhandled: u64,
        /// Messages dropped because there was no room.
        dropped: u64,
    }
}

/// One of core's documents as ours, which has the same fields.
pub(crate) fn same_fields<T: serde::de::DeserializeOwned>(document: &impl serde::Serialize) -> R<T> {
    serde_json::to_value(document)
        .and_then(serde_json::from_value)
        .map_err(|error| Failure::internal(format!("two definitions of a document differ: {error}")))
}

info! {
    #[derive(Debug)]
    /// What the server said of itself last.
    ServerInfo {
        /// The server's id.
        server_id: String,
        /// The server's name.
        server_name: String,
        /// The server's version.
        version: String,
        /// The protocol version.
        proto: i64,
        /// Where it listens, as it sees itself.
        host: String,
        /// The port it listens on.
        port: u32,
        /// Whether it takes message headers.
        headers: bool,
        /// The largest message, headers included.
        max_payload: u64,
        /// Whether JetStream is on.
        jetstream: bool,
        /// This connection's number.
        client_id: u64,
        /// Our address as the server sees it.
        client_ip: String,
        /// The name of its cluster; empty without one.
        cluster: String,
        /// The JetStream domain; empty without one.
        domain: String,
        /// Whether credentials are needed.
        auth_required: bool,
        /// Whether TLS is needed.
        tls_required: bool,
        /// Whether TLS is possible.
        tls_available: bool,
        /// Whether a client certificate is needed.
        tls_verify: bool,
        /// Other servers of the cluster.
        connect_urls: Vec<String>,
        /// Whether it will go away soon.
        lame_duck: bool,
    }
}

impl ServerInfo {
    pub(crate) fn from_core(info: &natsune::ServerInfo) -> R<ServerInfo> {
        let mut ours: ServerInfo = same_fields(info)?;
        // The one field that the wire calls otherwise.
        ours.lame_duck = info.lame_duck;
        Ok(ours)
    }
}

info! {
    #[derive(Debug)]
    /// Something that happened to a client. `kind` says what; the other fields are there when they belong to it.
    Event {
        /// `connected` `disconnected` `reconnecting` `lame_duck` `slow_consumer` `permission_denied` `auth_expired`
        /// `server_error` `servers_changed` `closed`, or what a newer version knows.
        kind: String,
        /// Why: `disconnected`, `closed` (absent when it was asked for).
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The server, `host:port`: `connected`.
        #[serde(skip_serializing_if = "Option::is_none")]
        server: Option<String>,
        /// Publishes that were written and not confirmed: `disconnected`.
        #[serde(skip_serializing_if = "Option::is_none")]
        unknown: Option<u64>,
        /// Publishes that are kept for the next connection: `disconnected`.
        #[serde(skip_serializing_if = "Option::is_none")]
        pending: Option<u64>,
        /// Counted from 1 since the break: `reconnecting`.
        #[serde(skip_serializing_if = "Option::is_none")]
        attempt: Option<u64>,
        /// How long until the attempt begins: `reconnecting`.
        #[serde(with = "fields::seconds_option", skip_serializing_if = "Option::is_none")]
        delay: Option<Duration>,
        /// The subject: `slow_consumer`, `permission_denied`.
        #[serde(skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        /// Messages dropped so far: `slow_consumer`.
        #[serde(skip_serializing_if = "Option::is_none")]
        dropped: Option<u64>,
        /// `publish` or `subscribe`: `permission_denied`.
        #[serde(skip_serializing_if = "Option::is_none")]
        operation: Option<String>,
        /// The server's words: `server_error`.
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
        /// The servers of the cluster: `servers_changed`.
        #[serde(skip_serializing_if = "Option::is_none")]
        servers: Option<Vec<String>>,
    }
}

impl Event {
    pub(crate) fn from_core(event: &natsune::Event) -> R<Event> {
        let mut value = serde_json::to_value(event)
            .map_err(|error| Failure::internal(format!("cannot write an event: {error}")))?;
        if let Some(map) = value.as_object_mut()
            && let Some(kind) = map.remove("event")
        {
            map.insert("kind".to_owned(), kind);
        }
        serde_json::from_value(value).map_err(|error| Failure::internal(format!("cannot read an event: {error}")))
    }
}
