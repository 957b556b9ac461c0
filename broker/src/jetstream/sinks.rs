//! What the router delivers to JetStream: publishes to streams, API calls, acknowledgements.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::api::{self, Address, Call, Verb};
use super::errors::{self, ApiError};
use super::host::{Handle, Host};
use super::mailbox::{Ack, Item, Published, Refused};
use crate::router::{Delivery, Sink, Sub};

/// Takes what is published to a stream's subjects.
pub struct Ingest {
    /// The account.
    pub host: Arc<Host>,
    /// The stream.
    pub stream: Arc<Handle>,
}

impl Sink for Ingest {
    fn deliver(&self, _sub: &Sub, msg: &Delivery<'_>) -> bool {
        if self.stream.mailbox.publish(Published::of(msg)) {
            return true;
        }
        if let Some(reply) = msg.reply
            && !self.stream.config().no_ack
        {
            self.host.send(reply, &super::puback::refusal(&self.stream.name, &errors::TOO_MANY_REQUESTS));
        }
        true
    }
}

/// Takes `$JS.API.>` of an account.
pub struct Api {
    /// The account.
    pub host: Arc<Host>,
    /// What comes before the verbs, with its dot.
    pub prefix: String,
}

impl Sink for Api {
    fn deliver(&self, _sub: &Sub, msg: &Delivery<'_>) -> bool {
        let Some(tail) = msg.subject.strip_prefix(self.prefix.as_str()) else { return false };
        // An API subject that does not exist is met with silence, not with "no responders".
        let Some(address) = api::parse(tail) else { return true };
        if address.verb == Verb::Next {
            return self.next(&address, msg);
        }
        if address.verb == Verb::DirectGet {
            return self.direct_get(&address, msg);
        }
        self.host.api.0.fetch_add(1, Ordering::Relaxed);
        self.host.server.api_total.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = self.dispatch(&address, msg) {
            self.host.answer(address.verb, msg.reply.unwrap_or_default(), Err(error));
        }
        true
    }
}

impl Api {
    fn call(address: &Address<'_>, msg: &Delivery<'_>) -> Box<Call> {
        Box::new(Call {
            verb: address.verb,
            stream: address.stream.to_owned(),
            consumer: address.consumer.to_owned(),
            rest: address.rest.to_owned(),
            reply: msg.reply.unwrap_or_default().to_owned(),
            body: Bytes::copy_from_slice(msg.payload),
            too_new: api::is_too_new(msg.headers),
        })
    }

    fn dispatch(&self, address: &Address<'_>, msg: &Delivery<'_>) -> Result<(), ApiError> {
        if let Verb::Unserved(kind) = address.verb {
            // Snapshots belong to one server; everything else unserved belongs to clusters.
            return Err(match kind {
                "stream_snapshot" | "stream_restore" => {
                    errors::stream_general("snapshots are not supported by this server")
                }
                _ => errors::CLUSTER_REQUIRED,
            });
        }
        if api::is_too_new(msg.headers) {
            return Err(errors::REQUIRED_API_LEVEL);
        }
        if !self.host.account.jetstream().enabled {
            return Err(errors::NOT_ENABLED_FOR_ACCOUNT);
        }
        let call = Api::call(address, msg);
        match address.verb {
            Verb::Info
            | Verb::StreamNames
            | Verb::StreamList
            | Verb::StreamCreate
            | Verb::StreamUpdate
            | Verb::StreamDelete => {
                // The manager ends only with the account: what is not taken is too much.
                self.host.calls.try_send(call).map_err(|_| errors::TOO_MANY_REQUESTS)
            }
            // Checked by its task in the order the documents say: subject against document, then the stream.
            Verb::ConsumerCreate | Verb::ConsumerDurableCreate => match super::consumer_request::precheck(&call) {
                Ok(()) => self.forward(address.stream, call),
                Err(error) => Err(error),
            },
            Verb::StreamPurge | Verb::MsgGet | Verb::MsgDelete | Verb::StreamInfo => {
                super::stream::precheck(&call)?;
                self.forward(address.stream, call)
            }
            _ => self.forward(address.stream, call),
        }
    }

    fn forward(&self, stream: &str, call: Box<Call>) -> Result<(), ApiError> {
        let stream = self.host.stream(stream).ok_or(errors::STREAM_NOT_FOUND)?;
        stream.mailbox.call(call).map_err(|refused| match refused {
            Refused::Closed => errors::STREAM_NOT_FOUND,
            Refused::Busy => errors::TOO_MANY_REQUESTS,
        })
    }

    /// A pull request. Nobody there: say so like any subject without a responder.
    fn next(&self, address: &Address<'_>, msg: &Delivery<'_>) -> bool {
        let Some(stream) = self.host.stream(address.stream) else { return false };
        let Some(consumer) = stream.consumer(address.consumer) else { return false };
        let Some(reply) = msg.reply else { return true };
        if api::is_too_new(msg.headers) {
            self.host.send_head(reply, "NATS/1.0 412 Required Api Level\r\n\r\n");
            return true;
        }
        let body = Bytes::copy_from_slice(msg.payload);
        stream.mailbox.offer(Item::Next { consumer, reply: reply.to_owned(), body })
    }

    fn direct_get(&self, address: &Address<'_>, msg: &Delivery<'_>) -> bool {
        let Some(stream) = self.host.stream(address.stream) else { return false };
        if !stream.config().allow_direct {
            return false;
        }
        let Some(reply) = msg.reply else { return true };
        match stream.mailbox.call(Api::call(address, msg)) {
            Ok(()) => true,
            Err(Refused::Closed) => false,
            Err(Refused::Busy) => {
                self.host.send_head(reply, "NATS/1.0 429 Too Many Requests\r\n\r\n");
                true
            }
        }
    }
}

/// Takes `$JS.ACK.>` and `$JS.FC.>` of an account.
pub struct Acks {
    /// The account.
    pub host: Arc<Host>,
}

impl Sink for Acks {
    fn deliver(&self, _sub: &Sub, msg: &Delivery<'_>) -> bool {
        if let Some(tail) = msg.subject.strip_prefix("$JS.FC.") {
            return self.flow(tail, msg.subject);
        }
        let Some(tail) = msg.subject.strip_prefix("$JS.ACK.") else { return false };
        self.ack(tail, msg).unwrap_or(false)
    }
}

impl Acks {
    fn ack(&self, tail: &str, msg: &Delivery<'_>) -> Option<bool> {
        let mut tokens = tail.split('.');
        // stream.consumer.deliveries.seq.dseq.time.pending, or domain.account before it and perhaps more behind it.
        if tail.bytes().filter(|byte| *byte == b'.').count() >= 8 {
            tokens.nth(1)?;
        }
        let (stream, consumer) = (tokens.next()?, tokens.next()?);
        let mut number = || tokens.next()?.parse::<u64>().ok();
        let (deliveries, seq, dseq) = (number()?, number()?, number()?);
        let stream = self.host.stream(stream)?;
        let consumer = stream.consumer(consumer)?;
        let copy = |text: &[u8]| if text.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(text) };
        let body = match msg.payload {
            b"+ACK" => Bytes::new(),
            body => copy(body),
        };
        let reply = copy(msg.reply.unwrap_or_default().as_bytes());
        Some(stream.mailbox.offer(Item::Ack(Ack { consumer, seq, dseq, deliveries, body, reply })))
    }

    fn flow(&self, tail: &str, subject: &str) -> bool {
        let mut tokens = tail.rsplitn(3, '.');
        let (_, consumer, stream) = (tokens.next(), tokens.next(), tokens.next());
        let stream = stream.map(|stream| stream.rsplit('.').next().unwrap_or(stream));
        let Some(stream) = stream.and_then(|stream| self.host.stream(stream)) else { return false };
        let Some(consumer) = consumer.and_then(|consumer| stream.consumer(consumer)) else { return false };
        stream.mailbox.offer(Item::Flow { consumer, subject: subject.to_owned() })
    }
}
