//! What a status message of a pull request means: one table from the server's words to what the client does.

use crate::error::{Code, Error};

/// What the client does about a status message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A sign of life, nothing else.
    Heartbeat,
    /// The request is over (answered in full, expired, or cut by its byte limit); ask again.
    Ended,
    /// The next message alone is bigger than what is left of the request's bytes.
    TooBig,
    /// The request did not want to wait, and nothing is there.
    NoMessages,
    /// Nobody listens on the pull subject: the consumer is gone, or JetStream is not there for the moment.
    NoResponders,
    /// The request is lost for a reason that passes (a new leader, a server that stops, too many requests): ask again later.
    Later,
    /// The pin of a priority group was taken away: forget it and ask again.
    Unpinned,
    /// The consumer was deleted.
    Gone,
    /// The request will never be answered.
    Refused(Code),
}

/// Reads a status. Words count without case, and only their beginning: servers append detail.
pub(crate) fn classify(code: u16, text: &str) -> Verdict {
    let starts = |words: &str| text.get(..words.len()).is_some_and(|t| t.eq_ignore_ascii_case(words));
    match code {
        100 => Verdict::Heartbeat,
        404 => Verdict::NoMessages,
        408 => Verdict::Ended,
        423 => Verdict::Unpinned,
        429 => Verdict::Later,
        503 => Verdict::NoResponders,
        409 if starts("Batch Completed") => Verdict::Ended,
        409 if starts("Message Size Exceeds MaxBytes") => Verdict::TooBig,
        409 if starts("Consumer Deleted") => Verdict::Gone,
        409 if starts("Consumer is push based") => Verdict::Refused(Code::InvalidArgument),
        409 if starts("Exceeded MaxWaiting") => Verdict::Later,
        409 if starts("Exceeded MaxRequest") => Verdict::Refused(Code::LimitExceeded),
        // Server Shutdown, Leadership Change, and words that this version does not know.
        409 => Verdict::Later,
        400 | 412 => Verdict::Refused(if code == 412 { Code::Unsupported } else { Code::InvalidArgument }),
        _ => Verdict::Later,
    }
}

/// The failure that a verdict becomes when it ends a consumption or a fetch.
pub(crate) fn failure(code: Code, status: u16, text: &str, consumer: &str) -> Error {
    let text = text.trim();
    let words = match code {
        Code::NotFound => format!("the consumer {consumer} is gone ({text})"),
        Code::LimitExceeded => {
            format!("the consumer {consumer} refuses this pull ({text}): ask for less, or raise the consumer's limit")
        }
        _ => format!("the consumer {consumer} refuses pull requests ({text})"),
    };
    Error::new(code, words).with_status(status).with_description(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_server_has_a_meaning() {
        for (code, text, verdict) in [
            (100, "Idle Heartbeat", Verdict::Heartbeat),
            (404, "No Messages", Verdict::NoMessages),
            (408, "Request Timeout", Verdict::Ended),
            (408, "Interest Expired", Verdict::Ended),
            (409, "Batch Completed", Verdict::Ended),
            (409, "message size exceeds maxbytes", Verdict::TooBig),
            (409, "Consumer Deleted", Verdict::Gone),
            (409, "Consumer is push based", Verdict::Refused(Code::InvalidArgument)),
            (409, "Exceeded MaxRequestBatch of 10", Verdict::Refused(Code::LimitExceeded)),
            (409, "Exceeded MaxRequestExpires of 1s", Verdict::Refused(Code::LimitExceeded)),
            (409, "Exceeded MaxRequestMaxBytes of 10", Verdict::Refused(Code::LimitExceeded)),
            (409, "Exceeded MaxWaiting", Verdict::Later),
            (409, "Server Shutdown", Verdict::Later),
            (409, "Leadership Change", Verdict::Later),
            (409, "Something New", Verdict::Later),
            (400, "Bad Request - heartbeat value too large", Verdict::Refused(Code::InvalidArgument)),
            (412, "Required Api Level", Verdict::Refused(Code::Unsupported)),
            (423, "Nats-Wrong-Pin-Id", Verdict::Unpinned),
            (503, "", Verdict::NoResponders),
            (777, "é", Verdict::Later),
        ] {
            assert_eq!(classify(code, text), verdict, "{code} {text}");
        }
    }
}
