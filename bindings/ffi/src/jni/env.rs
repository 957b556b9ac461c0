//! Between Java's references and Rust's slices: texts, arrays, results.

use std::cell::RefCell;

use jni_sys::{JNIEnv, jbyteArray, jsize, jstring};

use crate::failure::{Failure, R, guard};
use crate::lane;
use crate::outcome::Taken;

pub(super) type Env = *mut JNIEnv;

/// Calls a function of the JNI table.
macro_rules! jni {
    ($env:expr, $name:ident $(, $argument:expr)*) => {
        // SAFETY: `env` is the JVM's own for this thread, its table has every function of version 1.4, and the arguments are
        // live references or memory of the sizes given with them.
        unsafe { ((**$env).v1_4.$name)($env $(, $argument)*) }
    };
}

pub(super) use jni;

thread_local! {
    /// Where arguments are copied; kept, so that a publish does not allocate.
    static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch { subject: Vec::new(), reply: Vec::new(), headers: Vec::new(), payload: Vec::new() }) };
}

pub(super) struct Scratch {
    pub(super) subject: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) headers: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

/// Payloads up to here are copied first; longer ones are read in place while the collector waits.
pub(super) const COPIED: usize = 4096;
/// Scratch space that is kept between calls.
pub(super) const KEPT: usize = 64 << 10;

pub(super) fn with_scratch<T>(body: impl FnOnce(&mut Scratch) -> R<T>) -> R<T> {
    SCRATCH.with(|cell| {
        let mut scratch = cell.try_borrow_mut().map_err(|_| Failure::internal("the argument buffer is in use"))?;
        let result = body(&mut scratch);
        let Scratch { headers, payload, .. } = &mut *scratch;
        for buffer in [headers, payload] {
            if buffer.capacity() > KEPT {
                *buffer = Vec::new();
            }
        }
        result
    })
}

/// The text of a Java string as UTF-8. Its own form of UTF-8 differs beyond the basic plane, so only pure ASCII is taken fast.
pub(super) fn copy_text(env: Env, text: jstring, out: &mut Vec<u8>) -> R<()> {
    out.clear();
    if text.is_null() {
        return Err(Failure::invalid("a text is missing"));
    }
    let units = jni!(env, GetStringLength, text);
    let bytes = jni!(env, GetStringUTFLength, text);
    if units == bytes {
        // One byte more: some JVMs write a NUL behind the text.
        out.resize(bytes as usize + 1, 0);
        jni!(env, GetStringUTFRegion, text, 0, units, out.as_mut_ptr().cast());
        out.truncate(bytes as usize);
        return Ok(());
    }
    let mut wide = vec![0u16; units as usize];
    jni!(env, GetStringRegion, text, 0, units, wide.as_mut_ptr());
    for unit in char::decode_utf16(wide) {
        let unit = unit.map_err(|_| Failure::invalid("a text has half a surrogate pair"))?;
        out.extend_from_slice(unit.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
}

pub(super) fn text_of(env: Env, text: jstring) -> R<String> {
    let mut bytes = Vec::new();
    copy_text(env, text, &mut bytes)?;
    String::from_utf8(bytes).map_err(|_| Failure::invalid("a text is not UTF-8"))
}

/// The bytes of a Java array; null is none.
pub(super) fn copy_bytes(env: Env, array: jbyteArray, out: &mut Vec<u8>) {
    out.clear();
    if array.is_null() {
        return;
    }
    let len = jni!(env, GetArrayLength, array);
    out.resize(len as usize, 0);
    jni!(env, GetByteArrayRegion, array, 0, len, out.as_mut_ptr().cast());
}

/// Gives the bytes of an array to `body`, copied or in place. `body` calls no JNI function and does not wait for the JVM.
pub(super) fn with_bytes<T>(env: Env, array: jbyteArray, copy: &mut Vec<u8>, body: impl FnOnce(&[u8]) -> R<T>) -> R<T> {
    if array.is_null() {
        return body(&[]);
    }
    let len = jni!(env, GetArrayLength, array) as usize;
    if len <= COPIED {
        copy_bytes(env, array, copy);
        return body(copy);
    }
    let place = jni!(env, GetPrimitiveArrayCritical, array, std::ptr::null_mut());
    if place.is_null() {
        return Err(Failure::internal("the JVM gave no access to an array"));
    }
    // SAFETY: the array has `len` bytes, which stay in place until they are released below.
    let bytes = unsafe { std::slice::from_raw_parts(place.cast::<u8>().cast_const(), len) };
    // A panic must not leave the collector stopped.
    let result = guard(|| body(bytes));
    jni!(env, ReleasePrimitiveArrayCritical, array, place, jni_sys::JNI_ABORT);
    result
}

/// A new Java array with these bytes.
pub(super) fn new_bytes(env: Env, bytes: &[u8]) -> R<jbyteArray> {
    let len =
        jsize::try_from(bytes.len()).map_err(|_| Failure::new("limit_exceeded", "a result is longer than an array"))?;
    let array = jni!(env, NewByteArray, len);
    if array.is_null() {
        jni!(env, ExceptionClear);
        return Err(Failure::new("limit_exceeded", "the JVM has no memory for a result"));
    }
    jni!(env, SetByteArrayRegion, array, 0, len, bytes.as_ptr().cast());
    Ok(array)
}

pub(super) fn array(body: impl FnOnce() -> R<jbyteArray>) -> jbyteArray {
    guard(body).unwrap_or_else(|failure| {
        lane::fail(failure);
        std::ptr::null_mut()
    })
}

/// Packs messages straight into a new Java array.
pub(super) fn packed(env: Env, taken: &Taken) -> R<jbyteArray> {
    taken.pack_into(|len, write| {
        let size =
            jsize::try_from(len).map_err(|_| Failure::new("limit_exceeded", "a batch is longer than an array"))?;
        let array = jni!(env, NewByteArray, size);
        if array.is_null() {
            jni!(env, ExceptionClear);
            return Err(Failure::new("limit_exceeded", "the JVM has no memory for a batch"));
        }
        let place = jni!(env, GetPrimitiveArrayCritical, array, std::ptr::null_mut());
        if place.is_null() {
            return Err(Failure::internal("the JVM gave no access to an array"));
        }
        // SAFETY: a fresh array of `len` bytes, in place until it is released below.
        let mut bytes: &mut [u8] = unsafe { std::slice::from_raw_parts_mut(place.cast::<u8>(), len) };
        let result = guard(|| {
            write(&mut bytes);
            Ok(())
        });
        jni!(env, ReleasePrimitiveArrayCritical, array, place, 0);
        result.map(|()| array)
    })
}
