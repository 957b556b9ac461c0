//! The failure shape and the wall: what goes wrong crosses as data, and nothing ever unwinds across.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::{Map, Value, json};

/// What every export gives: a value or a [`Failure`].
pub type R<T> = Result<T, Failure>;

/// One failure as every language sees it: a code to act on, a text to read.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The code, one of the list in `bindings/api.toml`.
    pub code: &'static str,
    /// What was wrong and what to do. Never part of the API, never a secret.
    pub message: String,
    /// Facts beside the code: `err_code`, `status`, `subject`, `field`. An object, often empty.
    pub detail: Value,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether the call had an effect: `no`, `maybe` or `yes`.
    pub applied: &'static str,
}

impl Failure {
    /// A failure that changed nothing.
    pub fn new(code: &'static str, message: impl Into<String>) -> Failure {
        let retryable = matches!(code, "busy" | "timeout" | "unavailable");
        Failure { code, message: message.into(), detail: Value::Object(Map::new()), retryable, applied: "no" }
    }

    /// The caller gave something that can never work.
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new("invalid_argument", message)
    }

    /// The caller gave a field that can never work; the field is named in the detail too.
    pub fn field(field: &str, message: impl Into<String>) -> Failure {
        let mut failure = Failure::invalid(message);
        failure.detail = json!({ "field": field });
        failure
    }

    /// The handle, id or queue is not open (any more).
    pub fn closed(message: impl Into<String>) -> Failure {
        Failure::new("closed", message)
    }

    /// A fault of ours.
    pub fn internal(message: impl Into<String>) -> Failure {
        Failure::new("internal", message)
    }

    /// What a handle, id or queue from before a `fork` gives in the child.
    pub fn forked() -> Failure {
        Failure::closed("used in a forked child: connect again in the child")
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Failure {}

impl From<natsune::Error> for Failure {
    fn from(error: natsune::Error) -> Failure {
        Failure {
            code: error.code().as_str(),
            message: error.message().to_owned(),
            detail: serde_json::to_value(error.detail()).unwrap_or_else(|_| Value::Object(Map::new())),
            retryable: error.retryable(),
            applied: error.applied().as_str(),
        }
    }
}

thread_local! {
    static PANIC_NEXT: Cell<bool> = const { Cell::new(false) };
}

/// Makes the next export called on this thread panic inside its guard. For tests of the wall, in every language.
#[doc(hidden)]
pub fn inject_panic() {
    PANIC_NEXT.with(|flag| flag.set(true));
}

/// Runs the body of an export. A panic becomes the failure `internal`; it never unwinds into foreign frames.
pub fn guard<T>(body: impl FnOnce() -> R<T>) -> R<T> {
    let caught = catch_unwind(AssertUnwindSafe(|| {
        if PANIC_NEXT.with(|flag| flag.replace(false)) {
            panic!("injected by a test");
        }
        body()
    }));
    match caught {
        Ok(result) => result,
        Err(payload) => Err(panicked(payload.as_ref())),
    }
}

/// [`guard`] for exports that cannot fail.
pub fn guard_quiet(body: impl FnOnce()) {
    let _ = guard(|| {
        body();
        Ok(())
    });
}

/// Only literal texts are repeated: a formatted one could hold data of the user.
fn panicked(payload: &(dyn std::any::Any + Send)) -> Failure {
    let what = payload.downcast_ref::<&'static str>().copied().unwrap_or("see the process's error output");
    let mut failure = Failure::internal(format!("the native library panicked ({what}); this is a fault of natsune"));
    failure.applied = "maybe";
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_internal_and_only_once() {
        inject_panic();
        let failure = guard(|| Ok(1)).expect_err("panics");
        assert_eq!((failure.code, failure.applied), ("internal", "maybe"));
        assert_eq!(guard(|| Ok(1)), Ok(1));
    }

    #[test]
    fn formatted_panics_do_not_tell_their_data() {
        let secret = "SUA123";
        let failure = guard::<()>(|| panic!("bad seed {secret}")).expect_err("panics");
        assert!(!failure.message.contains(secret));
    }
}
