//! What the C ABI and the JNI natives share: the thread's last failure, numbers for codes, packed options and acks.

use std::cell::RefCell;

use bytes::BufMut;

use crate::batch::{NONE, pack_failure, unpack_fields};
use crate::documents::{PublishAck, PublishOptions};
use crate::failure::{Failure, R, guard};

thread_local! {
    static LAST: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// What a failed call returns is minus the place of its code here, from 1 on. The order never changes.
pub(crate) const CODES: [&str; 17] = [
    "invalid_argument",
    "auth",
    "permission",
    "connection",
    "closed",
    "timeout",
    "no_responders",
    "not_found",
    "already_exists",
    "conflict",
    "limit_exceeded",
    "busy",
    "unavailable",
    "unsupported",
    "integrity",
    "server",
    "internal",
];

/// The negative number of a failure, which is kept for `last_failure` on this thread.
pub(crate) fn fail(failure: Failure) -> i64 {
    let place = CODES.iter().position(|code| *code == failure.code).unwrap_or(CODES.len() - 1);
    LAST.with(|last| *last.borrow_mut() = Some(failure));
    -(place as i64) - 1
}

/// Runs the body of an export and gives its number, or the negative one of its failure.
pub(crate) fn number(body: impl FnOnce() -> R<i64>) -> i64 {
    guard(body).unwrap_or_else(fail)
}

/// An id or handle as the signed number that crosses.
pub(crate) fn signed(id: u64) -> i64 {
    // All our numbers are below 2^53.
    id as i64
}

/// Takes the last failure of this thread, packed.
pub(crate) fn last_failure() -> Option<Vec<u8>> {
    let failure = LAST.with(|last| last.borrow_mut().take())?;
    let mut out = Vec::new();
    pack_failure(&failure, &mut out);
    Some(out)
}

/// Publish options as packed fields (like headers): the document's names, the values as texts.
pub(crate) fn publish_options(packed: &[u8]) -> R<Option<PublishOptions>> {
    if packed.is_empty() {
        return Ok(None);
    }
    let mut options = PublishOptions::default();
    unpack_fields(packed, |name, value| options.set(name, value))?;
    Ok(Some(options))
}

/// A packed ack, see [`batch`](crate::batch).
pub(crate) fn pack_ack(ack: &PublishAck) -> Vec<u8> {
    let domain = ack.domain.as_deref().unwrap_or_default();
    let value = ack.value.as_deref();
    let mut out = Vec::with_capacity(24 + ack.stream.len() + domain.len() + value.map_or(0, str::len));
    out.put_u64_le(ack.sequence);
    out.put_u32_le(u32::from(ack.duplicate));
    out.put_u32_le(ack.stream.len() as u32);
    out.put_u32_le(domain.len() as u32);
    out.put_u32_le(value.map_or(NONE, |value| value.len() as u32));
    for text in [ack.stream.as_str(), domain, value.unwrap_or_default()] {
        out.put_slice(text.as_bytes());
    }
    out
}
