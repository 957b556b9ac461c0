//! The hot lane as static natives of `io.natsune.internal.Native`, straight on the JNI table.
//!
//! The same functions as the C ABI in camelCase. A negative number or a null array is a failure that waits for `lastFailure`.
//! Nothing calls up: a thread of the facade waits in `queueWait`, which is one change of threads less than waking it.
#![allow(unsafe_code, reason = "JNI is a table of C functions")]
#![allow(non_snake_case, reason = "JNI finds its functions by their names")]
#![allow(clippy::too_many_arguments, reason = "flat arguments are what crosses for a few nanoseconds")]
#![allow(
    clippy::missing_safety_doc,
    reason = "only the JVM calls these, with what it promises: its own env, class and references"
)]

mod env;
mod waiting;

use jni_sys::{jbyteArray, jclass, jint, jlong, jlongArray, jobject, jsize, jstring};

use self::env::{
    Env, Scratch, array, copy_bytes, copy_text, jni, new_bytes, packed, text_of, with_bytes, with_scratch,
};
use crate::failure::{Failure, R, inject_panic};
use crate::lane::{self, number, pack_ack, publish_options, signed};
use crate::{control, handles, hot, hub};

/// `static native long queueNew()`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_queueNew(_env: Env, _class: jclass) -> jlong {
    number(|| waiting::queue_new().map(signed))
}

/// `static native int queueWait(long queue)`: blocks until the queue has something to drain
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_queueWait(
    _env: Env,
    _class: jclass,
    queue: jlong,
) -> jint {
    number(|| waiting::queue_wait(queue as u64).map(|()| 0)) as jint
}

/// `static native int queueDrain(long queue, long[] ids)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_queueDrain(
    env: Env,
    _class: jclass,
    queue: jlong,
    ids: jlongArray,
) -> jint {
    number(|| {
        if ids.is_null() {
            return Err(Failure::invalid("no place was given for the ids"));
        }
        let mut some = [0u64; 256];
        let room = (jni!(env, GetArrayLength, ids) as usize).min(some.len());
        let (some, _) = some.split_at_mut(room);
        let count = hub::queue_drain_some(queue as u64, some)?;
        jni!(env, SetLongArrayRegion, ids, 0, count as jsize, some.as_ptr().cast());
        Ok(count as i64)
    }) as jint
}

/// `static native void queueClose(long queue)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_queueClose(_env: Env, _class: jclass, queue: jlong) {
    waiting::queue_close(queue as u64);
}

/// `static native void cancel(long id)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_cancel(_env: Env, _class: jclass, id: jlong) {
    hub::cancel(id as u64);
}

/// `static native void closeHandle(long handle)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_closeHandle(_env: Env, _class: jclass, handle: jlong) {
    handles::close_handle(handle as u64);
}

/// `static native int publish(long client, String subject, String reply, byte[] headers, byte[] payload)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_publish(
    env: Env,
    _class: jclass,
    client: jlong,
    subject: jstring,
    reply: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
) -> jint {
    number(|| {
        with_message(env, subject, reply, headers, payload, |subject, reply, headers, payload| {
            hot::publish_unguarded(client as u64, subject, reply, headers, payload)
        })
        .map(i64::from)
    }) as jint
}

/// What a publish is made of, copied out of the JVM.
#[inline]
fn with_message<T>(
    env: Env,
    subject: jstring,
    reply: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
    then: impl FnOnce(&[u8], Option<&[u8]>, &[u8], &[u8]) -> R<T>,
) -> R<T> {
    with_scratch(|scratch| {
        copy_text(env, subject, &mut scratch.subject)?;
        let has_reply = !reply.is_null();
        if has_reply {
            copy_text(env, reply, &mut scratch.reply)?;
        }
        copy_bytes(env, headers, &mut scratch.headers);
        let Scratch { subject, reply, headers, payload: copy } = scratch;
        with_bytes(env, payload, copy, |payload| then(subject, has_reply.then_some(reply.as_slice()), headers, payload))
    })
}

/// `static native int offer(long client, String subject, String reply, byte[] headers, byte[] payload)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_offer(
    env: Env,
    _class: jclass,
    client: jlong,
    subject: jstring,
    reply: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
) -> jint {
    number(|| {
        with_message(env, subject, reply, headers, payload, |subject, reply, headers, payload| {
            hot::offer_unguarded(client as u64, subject, reply, headers, payload)
        })
        .map(|accepted| i64::from(!accepted))
    }) as jint
}

/// `static native long startPublish(long queue, long client, String subject, String reply, byte[] headers, byte[] payload)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startPublish(
    env: Env,
    _class: jclass,
    queue: jlong,
    client: jlong,
    subject: jstring,
    reply: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
) -> jlong {
    number(|| {
        with_message(env, subject, reply, headers, payload, |subject, reply, headers, payload| {
            hot::start_publish(queue as u64, client as u64, subject, reply, headers, payload)
        })
        .map(signed)
    })
}

/// `static native long startWaitWritable(long queue, long client)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startWaitWritable(
    _env: Env,
    _class: jclass,
    queue: jlong,
    client: jlong,
) -> jlong {
    number(|| control::wait_writable(queue as u64, client as u64).map(signed))
}

/// `static native long startRequest(long queue, long client, String subject, byte[] headers, byte[] payload, long timeoutMs)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startRequest(
    env: Env,
    _class: jclass,
    queue: jlong,
    client: jlong,
    subject: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
    timeout_ms: jlong,
) -> jlong {
    number(|| {
        let timeout = u64::try_from(timeout_ms).map_err(|_| Failure::field("timeout", "a time-out is not negative"))?;
        with_scratch(|scratch| {
            copy_text(env, subject, &mut scratch.subject)?;
            copy_bytes(env, headers, &mut scratch.headers);
            let Scratch { subject, headers, payload: copy, .. } = scratch;
            with_bytes(env, payload, copy, |payload| {
                hot::start_request(queue as u64, client as u64, subject, headers, payload, timeout)
            })
        })
        .map(signed)
    })
}

/// `static native long startJsPublish(long queue, long jetstream, String subject, byte[] headers, byte[] payload, byte[] options)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startJsPublish(
    env: Env,
    _class: jclass,
    queue: jlong,
    jetstream: jlong,
    subject: jstring,
    headers: jbyteArray,
    payload: jbyteArray,
    options: jbyteArray,
) -> jlong {
    number(|| {
        let mut packed = Vec::new();
        copy_bytes(env, options, &mut packed);
        let options = publish_options(&packed)?;
        with_scratch(|scratch| {
            copy_text(env, subject, &mut scratch.subject)?;
            copy_bytes(env, headers, &mut scratch.headers);
            let Scratch { subject, headers, payload: copy, .. } = scratch;
            with_bytes(env, payload, copy, |payload| {
                hot::js_publish(queue as u64, jetstream as u64, subject, headers, payload, options)
            })
        })
        .map(signed)
    })
}

/// `static native byte[] take(long handle, int maxMessages, int maxBytes, int done)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_take(
    env: Env,
    _class: jclass,
    handle: jlong,
    max_messages: jint,
    max_bytes: jint,
    done: jint,
) -> jbyteArray {
    array(|| {
        let [messages, bytes, done] = [max_messages, max_bytes, done].map(|number| number.max(0) as u32);
        packed(env, &hot::take_from(handle as u64, messages, bytes, done)?)
    })
}

/// `static native long startReady(long queue, long handle)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startReady(
    _env: Env,
    _class: jclass,
    queue: jlong,
    handle: jlong,
) -> jlong {
    number(|| hot::start_ready(queue as u64, handle as u64).map(signed))
}

/// `static native int settle(long client, byte[] ackSubject, int state, int verb, String argument)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_settle(
    env: Env,
    _class: jclass,
    client: jlong,
    ack_subject: jbyteArray,
    state: jint,
    verb: jint,
    argument: jstring,
) -> jint {
    number(|| {
        let argument = if argument.is_null() { None } else { Some(text_of(env, argument)?) };
        with_scratch(|scratch| {
            copy_bytes(env, ack_subject, &mut scratch.subject);
            hot::settle(client as u64, &scratch.subject, state as u8, verb as u8, argument.as_deref())
        })
        .map(i64::from)
    }) as jint
}

/// `static native long startAckSync(long queue, long client, byte[] ackSubject, int state, long timeoutMs)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_startAckSync(
    env: Env,
    _class: jclass,
    queue: jlong,
    client: jlong,
    ack_subject: jbyteArray,
    state: jint,
    timeout_ms: jlong,
) -> jlong {
    number(|| {
        let timeout = u64::try_from(timeout_ms).map_err(|_| Failure::field("timeout", "a time-out is not negative"))?;
        with_scratch(|scratch| {
            copy_bytes(env, ack_subject, &mut scratch.subject);
            hot::start_ack_sync(queue as u64, client as u64, &scratch.subject, state as u8, timeout)
        })
        .map(signed)
    })
}

/// `static native long finishNumber(long id)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_finishNumber(
    _env: Env,
    _class: jclass,
    id: jlong,
) -> jlong {
    number(|| hub::finish_done(id as u64)?.into_number().map(signed))
}

/// `static native byte[] finishMessages(long id)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_finishMessages(
    env: Env,
    _class: jclass,
    id: jlong,
) -> jbyteArray {
    array(|| packed(env, &hub::finish_done(id as u64)?.into_taken()?))
}

/// `static native byte[] finishAck(long id)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_finishAck(
    env: Env,
    _class: jclass,
    id: jlong,
) -> jbyteArray {
    array(|| new_bytes(env, &pack_ack(&hub::finish_done(id as u64)?.into_ack()?)))
}

/// `static native byte[] finishDocument(long id)` (JSON)
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_finishDocument(
    env: Env,
    _class: jclass,
    id: jlong,
) -> jbyteArray {
    array(|| new_bytes(env, hub::finish_done(id as u64)?.into_json()?.as_bytes()))
}

/// `static native long start(long queue, long target, String verb, String document)`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_start(
    env: Env,
    _class: jclass,
    queue: jlong,
    target: jlong,
    verb: jstring,
    document: jstring,
) -> jlong {
    number(|| {
        let (verb, document) = (text_of(env, verb)?, text_of(env, document)?);
        control::start(queue as u64, target as u64, &verb, &document).map(signed)
    })
}

/// `static native byte[] info(long handle, String what)` (JSON)
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_info(
    env: Env,
    _class: jclass,
    handle: jlong,
    what: jstring,
) -> jbyteArray {
    array(|| new_bytes(env, control::info(handle as u64, &text_of(env, what)?)?.as_bytes()))
}

/// `static native byte[] lastFailure()`; null when there was none
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_lastFailure(env: Env, _class: jclass) -> jobject {
    match lane::last_failure() {
        Some(packed) => array(|| new_bytes(env, &packed)),
        None => std::ptr::null_mut(),
    }
}

/// `static native long openHandles()`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_openHandles(_env: Env, _class: jclass) -> jlong {
    handles::open_handles() as jlong
}

/// `static native void injectPanic()`
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_io_natsune_internal_Native_injectPanic(_env: Env, _class: jclass) {
    inject_panic();
}
