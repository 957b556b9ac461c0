//! The life of a client: connect, drive, and after a break connect again, until it is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use natsune_protocol::{Limits, Parser, ServerOp};
use tokio::sync::oneshot;

use super::control::parse_info;
use super::driver::{Driver, Stop, read_info, shut};
use super::info::ServerInfo;
use super::pool::Server;
use super::{ClientState, Engine};
use crate::auth::Proof;
use crate::error::{Applied, Code, Error, Result};
use crate::events::Event;
use crate::stats::Counters;
use crate::transport::{Transport, dial, tune, wrap};

/// How long a closing socket may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Whatever ends the task (also a runtime that goes away) closes the client: nobody waits for ever.
struct Guard(Arc<Engine>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close(Some(Error::new(Code::Closed, "the runtime of the client was shut down")));
        self.0.wire.settle(&[], 0, &self.0.requests);
        self.0.finished.send_replace(true);
    }
}

/// The supervisor's task. `first` is told when the first pass over the pool succeeded or failed.
pub(crate) async fn run(engine: Arc<Engine>, first: oneshot::Sender<Result<()>>) {
    let guard = Guard(Arc::clone(&engine));
    let mut life = Life { engine, first: Some(first), attempt: 0, short: 0, tried: 0, refusal: None };
    life.run().await;
    drop(guard);
}

struct Life {
    engine: Arc<Engine>,
    first: Option<oneshot::Sender<Result<()>>>,
    /// Since the last break.
    attempt: u64,
    /// Connections in a row that ended before the longest delay between attempts was over.
    short: u64,
    /// In the first pass.
    tried: usize,
    /// The refusal to report for the first pass.
    refusal: Option<Error>,
}

impl Life {
    async fn run(&mut self) {
        let engine = Arc::clone(&self.engine);
        while !engine.wire.is_closed() {
            let server = engine.lock_pool().take();
            let made = tokio::select! {
                made = attempt(&engine, &server) => made,
                () = engine.closing.notified() => {
                    self.not_made();
                    continue;
                }
            };
            let error = match made {
                Ok(driver) => match self.drive(driver, &server).await {
                    Some(error) => error,
                    None => return,
                },
                Err(error) => {
                    self.not_made();
                    if self.is_final(&error, &server) {
                        self.give_up(error);
                        return;
                    }
                    if self.first.is_some() && !self.first_pass(error.clone()) {
                        continue;
                    }
                    error
                }
            };
            if !self.pause(error).await {
                return;
            }
        }
    }

    /// An attempt ended early: nothing was sent but its handshake.
    fn not_made(&self) {
        if let Some(broken) = self.engine.wire.on_break(&[], 0, &self.engine.requests) {
            self.engine.end_drained(broken.drained);
        }
    }

    /// Runs a live connection to its end. None: the client is closed.
    async fn drive(&mut self, mut driver: Driver, server: &Server) -> Option<Error> {
        let engine = &self.engine;
        self.attempt = 0;
        engine.lock_pool().accepted(server);
        Counters::add(&engine.counters.connects, 1);
        engine.set_state(ClientState::Connected);
        engine.linked(true);
        engine.events.send(Event::Connected { server: server.address() });
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        let since = Instant::now();
        let stop = driver.run().await;
        self.short = if since.elapsed() < engine.options.reconnect_delay_max { self.short + 1 } else { 0 };
        let broken = engine.wire.on_break(&driver.chunk, driver.written, &engine.requests);
        let (Stop::Broken(error), Some(broken)) = (stop, broken) else {
            engine.wire.settle(&driver.chunk, driver.written, &engine.requests);
            shut(&mut driver, GOODBYE).await;
            return None;
        };
        let reason = Error::new(Code::Connection, format!("the connection broke: {}", error.message()));
        engine.end_drained(broken.drained);
        for id in broken.unsent {
            engine.requests.fail(id, &reason.clone().with_applied(Applied::No));
        }
        engine.requests.fail_all(&reason);
        engine.set_state(ClientState::Reconnecting);
        engine.linked(false);
        engine.events.send(Event::Disconnected {
            reason: error.message().to_owned(),
            unknown: broken.unknown,
            pending: broken.pending,
        });
        drop(driver);
        if !engine.options.reconnect {
            engine.close(Some(error));
            return None;
        }
        Some(error)
    }

    /// Whether trying again is pointless.
    fn is_final(&self, error: &Error, server: &Server) -> bool {
        if error.code() == Code::InvalidArgument && self.first.is_some() {
            return true;
        }
        let text = error.detail().description.as_deref().unwrap_or(error.message());
        let again = error.code() == Code::Auth && self.engine.lock_pool().refused(server, text);
        // A file can hold other credentials by the next time.
        again && self.engine.options.creds_file.is_none()
    }

    fn give_up(&mut self, error: Error) {
        if let Some(first) = self.first.take() {
            let _ = first.send(Err(error.clone()));
        }
        self.engine.close(Some(error));
    }

    /// One failure of the first pass. True: the pass is over, and the client goes on in the background (or is closed).
    fn first_pass(&mut self, error: Error) -> bool {
        self.tried += 1;
        if self.refusal.is_none() || error.code() == Code::Auth {
            self.refusal = Some(error.clone());
        }
        if self.tried < self.engine.lock_pool().len() {
            return false;
        }
        if self.engine.options.retry_on_failed_connect {
            if let Some(first) = self.first.take() {
                let _ = first.send(Ok(()));
            }
        } else {
            let error = self.refusal.take().unwrap_or(error);
            self.give_up(error);
        }
        true
    }

    /// Waits before the next attempt. False: the client is closed.
    async fn pause(&mut self, error: Error) -> bool {
        let engine = Arc::clone(&self.engine);
        self.attempt += 1;
        if engine.options.max_reconnects.is_some_and(|most| self.attempt > most) {
            self.give_up(error);
        }
        if engine.wire.is_closed() {
            return false;
        }
        let delay = self.delay();
        engine.events.send(Event::Reconnecting { attempt: self.attempt, delay });
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = engine.closing.notified() => {}
        }
        !engine.wire.is_closed()
    }

    /// Doubles with each pass over the pool; full jitter, so that clients that lost one server do not come back together.
    /// A connection that ends at once is no better than none: the delay starts anew only after one that lasted.
    fn delay(&self) -> Duration {
        let options = &self.engine.options;
        let passes = (self.attempt - 1 + self.short) / (self.engine.lock_pool().len().max(1) as u64);
        let most = options.reconnect_delay.saturating_mul(1 << passes.min(16)).min(options.reconnect_delay_max);
        most.mul_f64(rand::random_range(0.0..=1.0))
    }
}

/// One attempt: name, TCP, TLS and handshake within the connect timeout.
async fn attempt(engine: &Arc<Engine>, server: &Server) -> Result<Driver> {
    let limit = engine.options.connect_timeout;
    match tokio::time::timeout(limit, establish(engine, server)).await {
        Ok(made) => made,
        Err(_) => {
            let address = server.address();
            Err(Error::new(Code::Timeout, format!("no answer from {address} within {limit:?}"))
                .with_applied(Applied::No)
                .with_server(address))
        }
    }
}

async fn establish(engine: &Arc<Engine>, server: &Server) -> Result<Driver> {
    let options = &engine.options;
    let proof = Proof::read(options).await?;
    let stream = dial(server, options.connect_timeout).await?;
    tune(&stream, options.ping_interval.saturating_mul(options.max_pings_out + 1));
    let (transport, info, already) = if options.tls.handshake_first {
        let mut transport = wrap(stream, server, &options.tls).await?;
        let (info, already) = greet(&mut transport).await?;
        (transport, info, already)
    } else {
        let mut transport = Transport::Plain(stream);
        let (info, already) = greet(&mut transport).await?;
        if server.tls && !info.tls_required && !info.tls_available {
            return Err(Error::new(
                Code::Connection,
                format!("{} offers no TLS, and TLS was asked for: nothing was sent to it", server.address()),
            )
            .with_server(server.address())
            .with_retryable(false));
        }
        if server.tls || info.tls_required {
            let Transport::Plain(stream) = transport else {
                return Err(Error::new(Code::Internal, "TLS inside TLS"));
            };
            if !already.is_empty() {
                return Err(Error::new(Code::Connection, "the server spoke in clear where TLS must begin"));
            }
            (wrap(stream, server, &options.tls).await?, info, Vec::new())
        } else {
            (transport, info, already)
        }
    };
    let over_tls = matches!(transport, Transport::Tls(_));
    let connect = proof.connect(options, server, &info, over_tls)?;
    engine.learn(info, server);
    let Some(first) = engine.wire.begin_handshake(&connect, transport.direct()) else {
        return Err(engine.wire.closed_error());
    };
    let mut driver = Driver::new(Arc::clone(engine), transport, server.clone(), already, first);
    match driver.handshake().await {
        Stop::Live => Ok(driver),
        Stop::Broken(error) => Err(error),
        Stop::Closed => Err(engine.wire.closed_error()),
    }
}

/// The server speaks first.
async fn greet(transport: &mut Transport) -> Result<(ServerInfo, Vec<u8>)> {
    let (line, already) = read_info(transport).await?;
    match Parser::new(Limits::client()).server_op(&line) {
        Ok(Some((ServerOp::Info(json), _))) => Ok((parse_info(json)?, already)),
        Ok(Some((ServerOp::Err(text), _))) => {
            Err(Error::new(Code::Connection, format!("the server refused the connection: {text}"))
                .with_description(text))
        }
        _ => Err(Error::new(Code::Connection, "what answers there is no NATS server: its first line is no INFO")),
    }
}
