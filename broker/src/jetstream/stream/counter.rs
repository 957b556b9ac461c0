//! Counters: a publish says how much to add, the stored message says the sum (ADR-49).

use bytes::Bytes;
use serde::Deserialize;

use super::super::decimal;
use super::super::errors::{self, ApiError};
use super::super::headers::Marks;
use super::Stream;
use super::batch::Batch;

#[derive(Deserialize)]
struct Body {
    val: String,
}

impl Stream {
    /// What headers and payload of a publish may say, depending on whether the stream counts.
    pub(super) fn check_counter(&self, marks: &Marks<'_>, payload: &[u8]) -> Result<(), ApiError> {
        let Some(step) = marks.incr else {
            return if self.config.allow_msg_counter { Err(errors::INCR_MISSING) } else { Ok(()) };
        };
        if !decimal::is_number(step) {
            return Err(errors::INCR_INVALID);
        }
        if !self.config.allow_msg_counter {
            return Err(errors::INCR_DISABLED);
        }
        if !payload.is_empty() {
            return Err(errors::INCR_PAYLOAD);
        }
        let expects = [
            marks.rollup,
            marks.expected_stream,
            marks.expected_last_msg_id,
            marks.expected_last_sequence,
            marks.expected_last_subject_sequence,
            marks.expected_last_subject_sequence_subject,
        ];
        if expects.iter().any(Option::is_some) { Err(errors::INCR_INVALID) } else { Ok(()) }
    }

    /// The new value of a counter.
    pub(super) fn count(&self, batch: &mut Batch, subject: &Bytes, step: &str) -> Result<String, ApiError> {
        let before = match batch.counters.get(subject) {
            Some(value) => value.clone(),
            None => self.counter(subject)?,
        };
        let value = decimal::add(&before, step).ok_or(errors::COUNTER_BROKEN)?;
        batch.counters.insert(subject.clone(), value.clone());
        Ok(value)
    }

    fn counter(&self, subject: &[u8]) -> Result<String, ApiError> {
        let name = std::str::from_utf8(subject).unwrap_or_default();
        let Some(last) = self.index.last_for(name) else { return Ok("0".into()) };
        let stored = self.read(last).ok_or(errors::COUNTER_BROKEN)?;
        let body: Body = serde_json::from_slice(&stored.payload).map_err(|_| errors::COUNTER_BROKEN)?;
        Ok(body.val)
    }
}
