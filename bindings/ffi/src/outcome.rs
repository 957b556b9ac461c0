//! What an id finishes with, and what `take` gives.

use std::sync::Arc;

use bytes::BufMut;
use natsune::Message;
use natsune::jetstream::{Consumer, JsMessage, Metadata, StreamMessage, StreamReader};

use crate::batch::{self, STATE_IDLE, View};
use crate::documents::{Document, PublishAck};
use crate::failure::{Failure, R};

/// A finished operation's result, as the generic lane gives it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing to tell.
    Unit,
    /// A new handle.
    Handle(u64),
    /// A JSON document.
    Document(String),
    /// At most one message (`messages` is empty: there is none).
    Message(Taken),
    /// Messages.
    Batch(Taken),
    /// Yes or no.
    Bool(bool),
    /// A number: the new settle state of `start_ack_sync`.
    Number(u64),
    /// What a stream said of a publish.
    Ack(PublishAck),
}

/// The same before anybody asked: documents are still typed.
pub(crate) enum Done {
    Unit,
    Handle(u64),
    Document(Box<dyn Document>),
    Message(Option<Box<Received>>),
    Fetched(Vec<JsMessage>, Consumer),
    Number(u64),
    Ack(Box<PublishAck>),
}

/// One message and what kind it is.
pub(crate) enum Received {
    Core(Message),
    /// With the consumer that it goes back to when nobody wants it.
    Consumer(JsMessage, Consumer),
    Stored(StoredMessage),
}

/// A stream that is being read, and its name for the messages.
pub(crate) struct Reader {
    pub(crate) reader: StreamReader,
    pub(crate) stream: Arc<str>,
}

/// A message read from a stream, without a consumer.
#[derive(Debug, Clone)]
pub struct StoredMessage {
    /// The message.
    pub message: Message,
    /// The stream it was read from.
    pub stream: Arc<str>,
    /// Its sequence there.
    pub sequence: u64,
    /// When the stream stored it, nanoseconds since 1970.
    pub timestamp_ns: i64,
}

impl StoredMessage {
    pub(crate) fn new(message: StreamMessage, stream: &Arc<str>) -> StoredMessage {
        StoredMessage {
            sequence: message.sequence(),
            timestamp_ns: message.timestamp_nanos(),
            message: message.into_message(),
            stream: Arc::clone(stream),
        }
    }
}

/// Messages of one kind.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Messages {
    /// Of a subscription, or the reply of a request.
    Core(Vec<Message>),
    /// Delivered by a consumer: their reply subject settles them and tells their place (see [`metadata`]).
    Consumer(Vec<Message>),
    /// Read from a stream.
    Stored(Vec<StoredMessage>),
}

/// What one `take` (or fetch) gives.
#[derive(Debug, Clone)]
pub struct Taken {
    /// The messages, oldest first.
    pub messages: Messages,
    /// What comes after them: [`STATE_MORE`](batch::STATE_MORE), [`STATE_IDLE`] or [`STATE_ENDED`](batch::STATE_ENDED).
    /// An end with a failure is the failure of the `take` after the last message.
    pub state: u32,
}

impl Taken {
    pub(crate) fn one(received: Option<Received>) -> Taken {
        let messages = match received {
            None => Messages::Core(Vec::new()),
            Some(Received::Core(message)) => Messages::Core(vec![message]),
            Some(Received::Consumer(message, _)) => Messages::Consumer(vec![message.into_message()]),
            Some(Received::Stored(message)) => Messages::Stored(vec![message]),
        };
        Taken { messages, state: STATE_IDLE }
    }

    fn fetched(messages: Vec<JsMessage>) -> Taken {
        let messages = Messages::Consumer(messages.into_iter().map(JsMessage::into_message).collect());
        Taken { messages, state: STATE_IDLE }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        match &self.messages {
            Messages::Core(list) | Messages::Consumer(list) => list.len(),
            Messages::Stored(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `with` with how many bytes the packed batch has, then packs it into the buffer that gave.
    pub fn pack_into<B: BufMut, T>(&self, with: impl FnOnce(usize, &mut dyn FnMut(&mut B)) -> T) -> T {
        match &self.messages {
            Messages::Core(list) => pack_into(self.state, list.iter().map(core_view), with),
            Messages::Consumer(list) => {
                // The metadata is read from the reply subject: once, not in each of the packer's passes.
                let views: Vec<View<'_>> = list.iter().map(consumer_view).collect();
                pack_into(self.state, views.iter().copied(), with)
            }
            Messages::Stored(list) => pack_into(self.state, list.iter().map(stored_view), with),
        }
    }

    /// The packed batch, see [`batch`].
    pub fn pack(&self) -> Vec<u8> {
        self.pack_into(|len, write| {
            let mut out = Vec::with_capacity(len);
            write(&mut out);
            out
        })
    }
}

fn pack_into<'a, B: BufMut, T>(
    state: u32,
    views: impl ExactSizeIterator<Item = View<'a>> + Clone,
    with: impl FnOnce(usize, &mut dyn FnMut(&mut B)) -> T,
) -> T {
    let len = batch::packed_len(views.clone());
    with(len, &mut |out| batch::pack(state, views.clone(), out))
}

fn core_view(message: &Message) -> View<'_> {
    View {
        subject: message.subject_bytes(),
        reply: message.reply().map(str::as_bytes),
        block: message.header_block(),
        payload: message.payload(),
        metadata: None,
    }
}

fn consumer_view(message: &Message) -> View<'_> {
    View { metadata: Some(metadata(message).unwrap_or_default()), ..core_view(message) }
}

fn stored_view(stored: &StoredMessage) -> View<'_> {
    let metadata = batch::Metadata {
        stream: &stored.stream,
        stream_sequence: stored.sequence,
        timestamp_ns: stored.timestamp_ns,
        ..batch::Metadata::default()
    };
    View { metadata: Some(metadata), ..core_view(&stored.message) }
}

/// Where a consumer's message stands: read from its reply subject, without allocation.
pub fn metadata(message: &Message) -> R<batch::Metadata<'_>> {
    let of = message
        .reply()
        .and_then(Metadata::parse)
        .ok_or_else(|| Failure::invalid("the message was not delivered by a consumer, so it has no metadata"))?;
    Ok(batch::Metadata {
        stream: of.stream,
        consumer: of.consumer,
        domain: of.domain.unwrap_or_default(),
        stream_sequence: of.stream_sequence,
        consumer_sequence: of.consumer_sequence,
        delivered: of.num_delivered,
        pending: of.num_pending,
        timestamp_ns: of.timestamp_nanos,
    })
}

impl Done {
    pub(crate) fn document(document: impl Document) -> Done {
        Done::Document(Box::new(document))
    }

    pub(crate) fn message(received: Option<Received>) -> Done {
        Done::Message(received.map(Box::new))
    }

    pub(crate) fn into_outcome(self) -> R<Outcome> {
        Ok(match self {
            Done::Unit => Outcome::Unit,
            Done::Handle(handle) => Outcome::Handle(handle),
            Done::Document(document) => Outcome::Document(document.to_json()?),
            Done::Message(message) => Outcome::Message(Taken::one(message.map(|message| *message))),
            Done::Fetched(messages, _) => Outcome::Batch(Taken::fetched(messages)),
            Done::Number(number) => Outcome::Number(number),
            Done::Ack(ack) => Outcome::Ack(*ack),
        })
    }

    /// The typed document; asking for another one than the operation gives is a fault of the facade.
    #[cfg(feature = "mobile")]
    pub(crate) fn into_document<T: 'static>(self) -> R<T> {
        if let Done::Document(document) = self
            && let Ok(document) = document.into_any().downcast::<T>()
        {
            return Ok(*document);
        }
        Err(wrong_finish())
    }

    /// The document of an operation that gives one, as JSON.
    #[cfg(feature = "mobile")]
    pub(crate) fn into_json(self) -> R<String> {
        match self {
            Done::Document(document) => document.to_json(),
            _ => Err(wrong_finish()),
        }
    }

    /// The messages of an operation that gives some.
    #[cfg(feature = "mobile")]
    pub(crate) fn into_taken(self) -> R<Taken> {
        match self {
            Done::Message(message) => Ok(Taken::one(message.map(|message| *message))),
            Done::Fetched(messages, _) => Ok(Taken::fetched(messages)),
            _ => Err(wrong_finish()),
        }
    }

    #[cfg(feature = "mobile")]
    pub(crate) fn into_handle(self) -> R<u64> {
        match self {
            Done::Handle(handle) => Ok(handle),
            _ => Err(wrong_finish()),
        }
    }

    #[cfg(feature = "mobile")]
    pub(crate) fn into_number(self) -> R<u64> {
        match self {
            Done::Unit => Ok(0),
            Done::Number(number) | Done::Handle(number) => Ok(number),
            _ => Err(wrong_finish()),
        }
    }

    pub(crate) fn into_ack(self) -> R<PublishAck> {
        match self {
            Done::Ack(ack) => Ok(*ack),
            _ => Err(wrong_finish()),
        }
    }

    /// The id was cancelled after the work was done: what it made must not stay open, what it received goes to the next call.
    pub(crate) fn give_back(self) {
        match self {
            Done::Handle(handle) => crate::handles::close_handle(handle),
            Done::Fetched(messages, consumer) => consumer.give_back(messages),
            Done::Message(Some(received)) => {
                if let Received::Consumer(message, consumer) = *received {
                    consumer.give_back(vec![message]);
                }
            }
            _ => {}
        }
    }
}

fn wrong_finish() -> Failure {
    Failure::internal("the operation gives something else than this finish asks for")
}
