//! What a server says beside messages: PING, PONG, INFO and -ERR, and what follows from it.

use std::sync::Arc;
use std::time::Instant;

use super::Engine;
use super::info::ServerInfo;
use super::pool::Server;
use super::reader::Control;
use super::wire::Then;
use crate::error::{Applied, Code, Error, Result};
use crate::events::Event;

/// Acts on the control operations of one connection.
pub(crate) struct Handler {
    engine: Arc<Engine>,
    server: Server,
    /// The handshake's PONG came and was not reported yet.
    fresh: bool,
    live: bool,
    /// Something was acted on since the last look.
    acted: bool,
    lame_duck: bool,
    /// The server's last words: the reason, should it close now.
    parting: Option<Error>,
}

impl Handler {
    pub(crate) fn new(engine: Arc<Engine>, server: Server) -> Handler {
        Handler { engine, server, fresh: false, live: false, acted: false, lame_duck: false, parting: None }
    }

    /// Whether the connection became live since the last call.
    pub(crate) fn take_live(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// Whether anything was acted on since the last call.
    pub(crate) fn take_acted(&mut self) -> bool {
        std::mem::take(&mut self.acted)
    }

    pub(crate) fn was_live(&self) -> bool {
        self.live
    }

    /// Why the server closed, if it said so.
    pub(crate) fn parting(&self) -> Option<Error> {
        self.parting.clone()
    }

    /// An error breaks the connection.
    pub(crate) fn control(&mut self, op: Control<'_>) -> Result<()> {
        self.acted = true;
        if !matches!(op, Control::Err(_)) {
            // It goes on: what it complained about was no farewell.
            self.parting = None;
        }
        match op {
            Control::Ping => {
                self.engine.wire.pong();
                Ok(())
            }
            Control::Pong => {
                self.pong();
                Ok(())
            }
            Control::Info(json) => self.info(json),
            Control::Err(text) => self.complaint(text),
        }
    }

    fn pong(&mut self) {
        let Some(ponged) = self.engine.wire.on_pong() else { return };
        for then in ponged.then {
            match then {
                Then::Live => {
                    let engine = &self.engine;
                    let alive = engine.wire.has_idle_requests().then(|| engine.requests.alive());
                    let too_large = engine.wire.go_live(&engine.requests, alive.as_ref());
                    engine.tell_too_large(&too_large);
                    (self.live, self.fresh) = (true, true);
                }
                Then::Flush(send) => drop(send.send(Ok(ponged.counts))),
                Then::Confirm(_, send) => drop(send.send(Ok(()))),
                Then::Rtt(since, send) => drop(send.send(Ok(Instant::now() - since))),
                Then::Drained(inbox) => {
                    self.engine.forget_inbox(inbox.sid);
                    inbox.end(None, false);
                }
            }
        }
    }

    fn info(&mut self, json: &[u8]) -> Result<()> {
        let info = parse_info(json)?;
        let lame_duck = info.lame_duck;
        self.engine.learn(info, &self.server);
        if lame_duck && !std::mem::replace(&mut self.lame_duck, true) {
            self.engine.events.send(Event::LameDuck);
        }
        Ok(())
    }

    fn complaint(&mut self, text: &str) -> Result<()> {
        let lower = text.to_ascii_lowercase();
        if lower.starts_with("permissions violation") {
            self.refusal(text, &lower);
            return Ok(());
        }
        if lower.starts_with("maximum subscriptions exceeded") {
            self.no_more_subscriptions(text);
            return Ok(());
        }
        // That there is no room or that it took too long says nothing about the credentials: it passes.
        let passes = lower.starts_with("maximum") || lower.contains("timeout");
        let credentials = ["authorization", "authentication", "credentials", "account"];
        let refused = !passes && credentials.iter().any(|word| lower.contains(word));
        let code = if refused { Code::Auth } else { Code::Connection };
        let error = Error::new(code, format!("the server refused the connection: {text}"))
            .with_server(self.server.address())
            .with_description(text);
        if lower.contains("expired") || lower.contains("revoked") {
            self.engine.events.send(Event::AuthExpired);
        } else if self.live {
            self.engine.events.send(Event::ServerError { text: text.to_owned() });
        }
        if !self.live {
            return Err(error);
        }
        // Live: most complaints come before the server closes, some come alone.
        self.parting = Some(error);
        Ok(())
    }

    /// The connection goes on without the subscription, which the server does not name: it is the one whose PONG is next.
    fn no_more_subscriptions(&self, text: &str) {
        if let Some(send) = self.engine.wire.refuse_next() {
            let error = Error::new(Code::LimitExceeded, format!("the server takes no more subscriptions: {text}"))
                .with_server(self.server.address())
                .with_description(text);
            let _ = send.send(Err(error));
        }
        self.engine.events.send(Event::ServerError { text: text.to_owned() });
    }

    fn refusal(&mut self, text: &str, lower: &str) {
        let engine = &self.engine;
        let mut quoted = text.split('"').skip(1).step_by(2);
        let subject = quoted.next().unwrap_or_default().to_owned();
        let error = |what: &str| {
            Error::new(Code::Permission, format!("no permission to {what} {subject:?}"))
                .with_subject(subject.clone())
                .with_description(text)
                .with_applied(Applied::No)
        };
        let operation = if lower.contains("subscription") {
            let queue = lower.contains("using queue").then(|| quoted.next().unwrap_or_default());
            let error = error("subscribe to");
            let (inboxes, mux) = engine.wire.refused(&subject, queue);
            for inbox in inboxes {
                engine.forget_inbox(inbox.sid);
                inbox.end(Some(error.clone()), false);
            }
            if mux {
                engine.requests.fail_all(&error);
            }
            "subscribe"
        } else {
            engine.wire.rejected();
            if lower.contains("with reply of") {
                if let Some(id) = engine.requests.id_of(&subject) {
                    engine.requests.fail(id, &error("be answered at"));
                }
            } else {
                let error = error("publish to");
                engine.requests.fail_subject(&subject, &error);
                engine.pull_refused(&subject, &error);
            }
            "publish"
        };
        engine.events.send(Event::PermissionDenied { operation: operation.to_owned(), subject });
    }
}

/// The document of an INFO operation.
pub(crate) fn parse_info(json: &[u8]) -> Result<ServerInfo> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::new(Code::Connection, "the server's INFO is no JSON object"));
    }
    serde_json::from_slice(json)
        .map_err(|e| Error::new(Code::Connection, format!("the server's INFO cannot be read: {e}")).with_source(e))
}
