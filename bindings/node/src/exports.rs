//! The hot functions as JavaScript calls them: each export decodes its arguments, catches panics and throws failures.
//!
//! By hand, because `#[napi]` sets up and frees a registry of borrowed objects in every call, which costs as much as a publish.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use napi::bindgen_prelude::{FromNapiValue, JsObjectValue, Object, ToNapiValue};
use napi::{Env, Error, JsError, Result, Status, sys};
use napi_derive::napi;

use crate::hot;

/// Runs the body of an export with its arguments; missing ones are undefined.
#[allow(unsafe_code, reason = "Node-API is a C interface")]
fn called<const N: usize>(
    env: sys::napi_env,
    info: sys::napi_callback_info,
    body: impl FnOnce([sys::napi_value; N]) -> Result<sys::napi_value>,
) -> sys::napi_value {
    let result = catch_unwind(AssertUnwindSafe(|| {
        let mut given = [ptr::null_mut(); N];
        let mut count = N;
        // SAFETY: `env` and `info` are those of this call; at most N values are written.
        let status = unsafe {
            sys::napi_get_cb_info(env, info, &mut count, given.as_mut_ptr(), ptr::null_mut(), ptr::null_mut())
        };
        if status == sys::Status::napi_ok { body(given) } else { Err(Error::from_status(Status::from(status))) }
    }));
    let error = match result {
        Ok(Ok(value)) => return value,
        Ok(Err(error)) => error,
        Err(_) => Error::new(Status::GenericFailure, "the native part panicked; this is a fault of natsune".to_owned()),
    };
    // SAFETY: `env` is that of this call, and no exception is pending.
    unsafe { JsError::from(error).throw_into(env) };
    ptr::null_mut()
}

/// For each function, an export of the same name, and `install`, which gives them all to JavaScript.
macro_rules! exports {
    ($($name:ident as $spelled:literal ($($argument:ident),*);)*) => {
        $(
            #[allow(unsafe_code, reason = "Node-API is a C interface")]
            unsafe extern "C" fn $name(env: sys::napi_env, info: sys::napi_callback_info) -> sys::napi_value {
                called(env, info, |[$($argument),*]| {
                    // SAFETY: the values are arguments of this call, and nothing made of them outlives it.
                    unsafe {
                        let result = hot::$name($(FromNapiValue::from_napi_value(env, $argument)?),*)?;
                        ToNapiValue::to_napi_value(env, result)
                    }
                })
            }
        )*

        fn install(env: Env, exports: &mut Object<'_>) -> Result<()> {
            $(exports.set_named_property($spelled, env.create_function::<(), ()>($spelled, $name)?)?;)*
            Ok(())
        }
    };
}

exports! {
    publish as "publish" (client, subject, payload);
    publish_text as "publishText" (client, subject, payload);
    publish_full as "publishFull" (client, subject, reply, headers, payload);
    respond as "respond" (client, slab, at, len, headers, payload);
    start_request as "startRequest" (queue, client, subject, headers, payload, timeout);
    start_js_publish as "startJsPublish" (queue, target, subject, headers, payload, options);
    finish_ack as "finishAck" (id, out);
    take as "take" (handle, max_messages, max_bytes, done, pool, at);
    finish_messages as "finishMessages" (id, pool, at);
    start_ready as "startReady" (queue, handle);
    settle as "settle" (client, slab, at, len, state, verb, argument);
    start_ack_sync as "startAckSync" (queue, client, slab, at, len, state, timeout);
}

/// Beside what `#[napi]` exports.
#[napi(module_exports)]
pub fn init(mut exports: Object<'_>, env: Env) -> Result<()> {
    install(env, &mut exports)
}
