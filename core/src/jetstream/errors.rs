//! JetStream's numeric error codes and what they mean to a caller: the one table.

use serde::Deserialize;

use crate::error::{Applied, Code, Error};

/// The `error` object of an answer.
#[derive(Debug, Clone, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub code: u16,
    #[serde(default)]
    pub err_code: u64,
    #[serde(default)]
    pub description: String,
}

/// Codes that the client itself acts on.
pub(crate) mod number {
    pub const NO_MESSAGE_FOUND: u64 = 10037;
    pub const SEQUENCE_NOT_FOUND: u64 = 10043;
}

/// What an error of the JetStream API is for the caller: by its number, else by its HTTP-like class.
pub(crate) fn code_of(error: &ApiError) -> Code {
    match error.err_code {
        // Accounts and the whole system.
        10002 | 10023 | 10026 | 10027 | 10028 | 10047 | 10054 | 10097 | 10113 | 10120 | 10122 => Code::LimitExceeded,
        10004 | 10005 | 10006 | 10007 | 10008 | 10009 | 10010 | 10011 | 10036 | 10041 | 10118 | 10119 | 10194
        | 10195 => Code::Unavailable,
        10035 | 10039 | 10076 => Code::Unavailable,
        10185 => Code::Unsupported,
        // Not there.
        10014 | 10037 | 10040 | 10043 | 10044 | 10059 | 10068 | 10149 => Code::NotFound,
        // Already there, with another configuration.
        10013 | 10058 | 10065 | 10105 | 10130 | 10148 => Code::AlreadyExists,
        // An expectation does not hold, or somebody else is at it.
        10060 | 10063 | 10070 | 10071 | 10123 | 10124 | 10129 | 10158 | 10163 | 10164 | 10180 | 10202 => Code::Conflict,
        // Full, or too much at once.
        10077 | 10117 | 10121 | 10125 | 10153 | 10167 | 10199 | 10210 | 10211 => Code::LimitExceeded,
        // Deleting by sequence: the server says 500 and "no message found".
        10057 if error.description.contains("no message found") => Code::NotFound,
        // A configuration that cannot be had, for some of which the server says 500; and what is switched off for the stream.
        10052 | 10055 | 10061 | 10074 | 10109 | 10166 | 10168 | 10174 | 10188 | 10205 => Code::InvalidArgument,
        _ => match error.code {
            400 => Code::InvalidArgument,
            401 | 403 => Code::Permission,
            404 => Code::NotFound,
            408 => Code::Timeout,
            409 => Code::Conflict,
            412 => Code::Unsupported,
            413 | 429 => Code::LimitExceeded,
            503 => Code::Unavailable,
            _ => Code::Server,
        },
    }
}

impl ApiError {
    /// The failure of an operation on `what` ("stream ORDERS").
    pub fn into_error(self, what: &str) -> Error {
        let code = code_of(&self);
        let advice = match code {
            Code::AlreadyExists => ", with another configuration: update it, or choose another name",
            Code::Unavailable if matches!(self.err_code, 10035 | 10039 | 10076) => {
                ": turn JetStream on for this account or server"
            }
            Code::Unsupported => ": the server is too old for this",
            _ => "",
        };
        let ApiError { code: status, err_code, description } = self;
        // Answered by the server: nothing was done. A passing state of the server can be tried again.
        let again = code == Code::Unavailable || err_code == 10167;
        Error::new(code, format!("{what}: {description}{advice}"))
            .with_err_code(err_code)
            .with_status(status)
            .with_description(description)
            .with_applied(Applied::No)
            .with_retryable(again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: u16, err_code: u64, description: &str) -> ApiError {
        ApiError { code, err_code, description: description.into() }
    }

    #[test]
    fn numbers_have_meanings() {
        for (err_code, code) in [
            (10014, Code::NotFound),
            (10037, Code::NotFound),
            (10059, Code::NotFound),
            (10149, Code::NotFound),
            (10013, Code::AlreadyExists),
            (10058, Code::AlreadyExists),
            (10065, Code::AlreadyExists),
            (10148, Code::AlreadyExists),
            (10071, Code::Conflict),
            (10060, Code::Conflict),
            (10077, Code::LimitExceeded),
            (10054, Code::LimitExceeded),
            (10039, Code::Unavailable),
            (10008, Code::Unavailable),
            (10185, Code::Unsupported),
            (10052, Code::InvalidArgument),
        ] {
            assert_eq!(code_of(&error(599, err_code, "")), code, "{err_code}");
        }
    }

    #[test]
    fn an_unknown_number_falls_back_to_its_class() {
        for (class, code) in [
            (400, Code::InvalidArgument),
            (404, Code::NotFound),
            (409, Code::Conflict),
            (503, Code::Unavailable),
            (500, Code::Server),
            (0, Code::Server),
        ] {
            assert_eq!(code_of(&error(class, 19_999, "")), code, "{class}");
        }
        assert_eq!(code_of(&error(500, 10057, "no message found")), Code::NotFound);
        assert_eq!(code_of(&error(500, 10057, "disk")), Code::Server);
    }

    #[test]
    fn the_failure_says_what_it_was_about() {
        let failure =
            error(400, 10058, "stream name already in use with a different configuration").into_error("stream ORDERS");
        assert_eq!(failure.code(), Code::AlreadyExists);
        assert!(failure.message().starts_with("stream ORDERS: stream name already in use"), "{failure}");
        assert_eq!(failure.detail().err_code, Some(10058));
        assert!(!failure.retryable());
    }
}
