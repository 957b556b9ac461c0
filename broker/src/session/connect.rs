//! CONNECT: who the client is, and how it wants to be served.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use natsune_protocol::encode;

use super::reader::Reader;
use super::reason::Reason;
use super::replies::Replies;
use super::{About, Session};
use crate::auth::{AuthError, ConnectDoc, Identity, PeerContext};

type Refusal = (Reason, Option<String>);

/// Newest protocol of clients.
const PROTOCOL: i64 = 1;

impl Reader {
    /// Looks at CONNECT; `None` stands for a client that did not send one and may do without.
    pub(super) async fn connect(&mut self, text: Option<Vec<u8>>) -> Result<(), Refusal> {
        let said = text.is_some();
        let doc = match text {
            None => ConnectDoc::default(),
            Some(text) => parse(&text).ok_or((Reason::ProtocolViolation, None))?,
        };
        let session = self.session.clone();
        if self.account.is_none() {
            let identity = if said { session.authenticate(&doc).await? } else { session.anonymous()? };
            self.admit(identity.clone());
            // A change between the check and the moment this session could be found by who rechecks all sessions.
            if let Some(text) = session.shared.auth.still_valid(&identity) {
                return Err((Reason::of_revocation(text), Some(text.to_owned())));
            }
        }
        if !(0..=PROTOCOL).contains(&doc.protocol) {
            return Err((Reason::BadClientProtocolVersion, Some("invalid client protocol".into())));
        }
        let config = session.shared.config();
        let headers = doc.headers && !config.no_header_support;
        if doc.no_responders && !headers {
            let text = "no responders requires headers support".into();
            return Err((Reason::NoRespondersRequiresHeaders, Some(text)));
        }
        self.verbose = doc.verbose;
        self.pedantic = doc.pedantic;
        self.no_responders = doc.no_responders;
        self.headers = headers;
        {
            let mut outbox = session.outbox();
            outbox.echo = doc.echo;
            outbox.headers = headers;
        }
        if said {
            let _ = session.about.set(About::new(&doc));
            self.info_due = doc.protocol >= 1 && !session.async_info.swap(doc.protocol >= 1, Ordering::Relaxed);
            if self.verbose {
                session.send(encode::ok);
            }
        }
        Ok(())
    }

    /// From here on the client is somebody.
    fn admit(&mut self, identity: Arc<Identity>) {
        let session = &self.session;
        let config = session.shared.config();
        let account = identity.account.settings();
        let of_account = |limit: i64| u64::try_from(limit).ok();
        self.max_subscriptions = [
            config.limits.max_subscriptions.map(|max| max as u64),
            identity.limits.max_subscriptions,
            of_account(account.max_subscriptions),
        ]
        .into_iter()
        .flatten()
        .min();
        let payload = [identity.limits.max_payload, of_account(account.max_payload)];
        let smallest =
            payload.into_iter().flatten().min().map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
        self.parser.limits_mut().payload = config.limits.max_payload.min(smallest);
        self.account = Some(identity.account.clone());
        self.permissions = identity.permissions.clone();
        self.restricted = !identity.permissions.is_unrestricted();
        {
            let mut outbox = session.outbox();
            outbox.filter = identity.permissions.filters_delivery().then(|| identity.permissions.clone());
            outbox.replies = identity.permissions.responses().map(|rule| Box::new(Replies::new(rule)));
        }
        session.become_known(identity);
    }
}

/// nats-server takes bytes that are no UTF-8 inside texts, and `null` for an empty document.
fn parse(text: &[u8]) -> Option<ConnectDoc> {
    match text.first()? {
        b'{' => serde_json::from_str(&String::from_utf8_lossy(text)).ok(),
        _ => (text == b"null").then(ConnectDoc::default),
    }
}

/// Accounts have a number of connections, too.
fn counted(identity: Identity) -> Result<Arc<Identity>, AuthError> {
    if identity.account.connection_opened() { Ok(Arc::new(identity)) } else { Err(AuthError::AccountConnections) }
}

impl Session {
    async fn authenticate(&self, doc: &ConnectDoc) -> Result<Arc<Identity>, Refusal> {
        let shared = &self.shared;
        let context = self.context();
        let left = Duration::from_millis(self.auth_deadline().saturating_sub(shared.now_ms()));
        let answer = match tokio::time::timeout(left, shared.auth.authenticate(doc, &context)).await {
            Ok(answer) => answer,
            Err(_) => Err(AuthError::Timeout),
        };
        answer.and_then(counted).map_err(|error| {
            shared.auth_failed(self, doc, error);
            (Reason::of_auth(error), Some(error.to_string()))
        })
    }

    fn anonymous(&self) -> Result<Arc<Identity>, Refusal> {
        let identity =
            self.shared.auth.anonymous(&self.context()).ok_or(AuthError::Violation("a client must begin with CONNECT"));
        identity.and_then(counted).map_err(|error| (Reason::of_auth(error), Some(error.to_string())))
    }

    fn context(&self) -> PeerContext {
        PeerContext { nonce: self.nonce.clone(), tls_subject: None, addr: Some(self.addr), kind: "STANDARD" }
    }

    fn become_known(&self, identity: Arc<Identity>) {
        let expires = identity.expires_at.is_some();
        *self.identity.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(identity);
        self.authenticated.store(true, Ordering::Release);
        if expires {
            self.watch_expiry();
        }
    }
}
