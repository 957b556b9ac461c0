//! Strings and bytes as JavaScript gives them, read with one call and without an allocation when they are short.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::{ptr, slice};

use napi::bindgen_prelude::{FromNapiValue, ToNapiValue, TypeName, ValidateNapiValue};
use napi::{Env, Error, Result, Status, ValueType, sys};

/// Strings up to about this many bytes are kept on the stack.
const SHORT: usize = 256;

fn checked(status: sys::napi_status, what: &str) -> Result<()> {
    if status == sys::Status::napi_ok { Ok(()) } else { Err(Error::new(Status::from(status), what.to_owned())) }
}

/// A string as UTF-8.
pub(crate) struct Text {
    short: [u8; SHORT],
    len: usize,
    long: Option<Vec<u8>>,
}

impl Text {
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.long {
            Some(long) => long,
            None => self.short.get(..self.len).unwrap_or_default(),
        }
    }
}

impl FromNapiValue for Text {
    #[allow(unsafe_code, reason = "Node-API is a C interface")]
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Text> {
        // What users give as text: subjects, and strings as payloads, which say so themselves.
        let expected = "a subject is a string";
        let mut text = Text { short: [0; SHORT], len: 0, long: None };
        // SAFETY: `env` and `value` are the caller's and valid during this call; at most SHORT bytes are written.
        let status = unsafe {
            sys::napi_get_value_string_utf8(env, value, text.short.as_mut_ptr().cast(), SHORT, &mut text.len)
        };
        checked(status, expected)?;
        // A character that does not fit is left out with all after it, so a whole string leaves 4 bytes free.
        if text.len + 4 < SHORT {
            return Ok(text);
        }
        let mut len = 0;
        // SAFETY: as above; without a buffer only the length is written.
        let status = unsafe { sys::napi_get_value_string_utf8(env, value, ptr::null_mut(), 0, &mut len) };
        checked(status, expected)?;
        let mut long = vec![0; len + 1];
        // SAFETY: as above; at most `long.len()` bytes are written, the last one is the terminating zero.
        let status =
            unsafe { sys::napi_get_value_string_utf8(env, value, long.as_mut_ptr().cast(), long.len(), &mut text.len) };
        checked(status, expected)?;
        long.truncate(text.len);
        text.long = Some(long);
        Ok(text)
    }
}

/// The bytes of a Uint8Array or Buffer, borrowed for the length of one call: no JavaScript runs during it, so nothing can
/// move or free them.
pub(crate) struct Bytes<'call> {
    env: Env,
    start: *mut u8,
    len: usize,
    _call: PhantomData<&'call [u8]>,
}

impl<'call> Bytes<'call> {
    #[allow(unsafe_code, reason = "memory of the JavaScript engine")]
    pub(crate) fn get(&self) -> &[u8] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the engine gave start and length of live memory; it stays live during this call, see the type.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// A part of it.
    pub(crate) fn part(&self, at: u32, len: u32) -> Result<&[u8]> {
        let (at, len) = (at as usize, len as usize);
        let part = at.checked_add(len).and_then(|end| self.get().get(at..end));
        part.ok_or_else(|| Error::new(Status::InvalidArg, "a part beyond the end of its buffer".to_owned()))
    }

    /// Where it lives.
    pub(crate) fn env(&self) -> Env {
        self.env
    }

    /// What is after `at`, to write to.
    #[allow(unsafe_code, reason = "memory of the JavaScript engine")]
    pub(crate) fn room(self, at: u32) -> &'call mut [MaybeUninit<u8>] {
        let at = at as usize;
        if at >= self.len {
            return &mut [];
        }
        // SAFETY: `at` is inside; the memory is live and nobody else reads or writes it during this call, see the type.
        unsafe { slice::from_raw_parts_mut(self.start.add(at).cast(), self.len - at) }
    }
}

impl TypeName for Bytes<'_> {
    fn type_name() -> &'static str {
        "Uint8Array"
    }

    fn value_type() -> ValueType {
        ValueType::Object
    }
}

impl ValidateNapiValue for Bytes<'_> {}

impl FromNapiValue for Bytes<'_> {
    #[allow(unsafe_code, reason = "Node-API is a C interface")]
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        let mut start = ptr::null_mut();
        let mut len = 0;
        // SAFETY: `env` and `value` are the caller's and valid during this call.
        let status = unsafe { sys::napi_get_buffer_info(env, value, &mut start, &mut len) };
        // All other bytes are our own.
        checked(status, "a payload is a string or a Uint8Array")?;
        Ok(Bytes { env: Env::from_raw(env), start: start.cast(), len, _call: PhantomData })
    }
}

/// What may be published: bytes, or a string as UTF-8.
#[allow(clippy::large_enum_variant, reason = "lives on the stack for one call")]
pub(crate) enum Payload<'call> {
    Bytes(Bytes<'call>),
    Text(Text),
}

impl Payload<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Payload::Bytes(bytes) => bytes.get(),
            Payload::Text(text) => text.bytes(),
        }
    }
}

impl FromNapiValue for Payload<'_> {
    #[allow(unsafe_code, reason = "Node-API is a C interface")]
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: `env` and `value` are the caller's and valid during this call.
        if let Ok(bytes) = unsafe { Bytes::from_napi_value(env, value) } {
            return Ok(Payload::Bytes(bytes));
        }
        // SAFETY: as above.
        let text = unsafe { Text::from_napi_value(env, value) };
        text.map(Payload::Text)
            .map_err(|error| Error::new(error.status, "a payload is a string or a Uint8Array".to_owned()))
    }
}

/// A new Buffer on its way to JavaScript.
pub(crate) struct Made<'call> {
    value: sys::napi_value,
    _call: PhantomData<&'call [u8]>,
}

impl<'call> Made<'call> {
    /// A Buffer of `len` bytes; `fill` must write all of them.
    #[allow(unsafe_code, reason = "Node-API is a C interface")]
    pub(crate) fn filled(env: Env, len: usize, fill: impl FnOnce(&'call mut [MaybeUninit<u8>])) -> Result<Made<'call>> {
        let mut value = ptr::null_mut();
        let mut start = ptr::null_mut();
        // SAFETY: the environment is the caller's; both pointers are ours.
        let status = unsafe { sys::napi_create_buffer(env.raw(), len, &mut start, &mut value) };
        checked(status, "no memory for a buffer")?;
        if len > 0 {
            // SAFETY: the engine just gave `len` bytes at `start`, which nobody else knows yet.
            fill(unsafe { slice::from_raw_parts_mut(start.cast(), len) });
        }
        Ok(Made { value, _call: PhantomData })
    }
}

impl ToNapiValue for Made<'_> {
    #[allow(unsafe_code, reason = "Node-API is a C interface")]
    unsafe fn to_napi_value(_env: sys::napi_env, made: Self) -> Result<sys::napi_value> {
        Ok(made.value)
    }
}
