//! What happens to a client, taken like messages: `start_ready`, then `take_events`.

use crate::batch::{STATE_ENDED, STATE_IDLE};
use crate::documents::{Document, Event};
use crate::failure::{Failure, R, guard};
use crate::hub::hub_of;
use crate::object::Object;

/// Events that were there.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "mobile", derive(uniffi::Record))]
pub struct EventsTaken {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// Nothing will come after them.
    pub ended: bool,
}

/// Takes at most `max` events of an events handle as JSON documents, without waiting; then the state as of a batch
/// ([`STATE_IDLE`] or [`STATE_ENDED`]).
pub fn take_events(handle: u64, max: u32) -> R<(Vec<String>, u32)> {
    guard(|| {
        let taken = take_typed(handle, max)?;
        let texts = taken.events.iter().map(Document::to_json).collect::<R<Vec<String>>>()?;
        Ok((texts, if taken.ended { STATE_ENDED } else { STATE_IDLE }))
    })
}

/// The same, typed.
pub(crate) fn take_typed(handle: u64, max: u32) -> R<EventsTaken> {
    let Object::Events(source) = hub_of(handle)?.handles.get(handle)? else {
        return Err(Failure::invalid("events are not taken from this object"));
    };
    let (events, ended) = source.events.take(max.max(1) as usize);
    let events = events.iter().map(Event::from_core).collect::<R<Vec<Event>>>()?;
    Ok(EventsTaken { events, ended })
}
